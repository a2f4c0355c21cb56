"""Last pass: the bytes of the file format (cpp/src/runtime/file.hpp)."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from ._target import Target, bits
from ._tensors import ALIGNMENT, Instruction, Port, Tensor

_MAGIC = b"convlens"
_HEADER = struct.Struct("<8sHHB3xQIIqqII")
_SECTION = struct.Struct("<QQ")
_INSTRUCTION = struct.Struct("<HHHHII")
_ENTRY = struct.Struct("<8I")
_PORT = struct.Struct("<II4BIq8qq")
_BUFFER = struct.Struct("<IIqqq")
_HEADER_BYTES, _SECTIONS, _DATA, _WEIGHTS = 256, 11, 10, 6
_NOT_IN_FILE = -1
_PORT_DTYPES = {"real": 0, "int64": 1, "uint8": 2}


@dataclass(frozen=True)
class Image:
    """A lowered graph whose tensors have their offsets: what becomes a file.

    `weights` and `states` are (name, bytes).
    """

    entries: list[list[Instruction]]
    labels: Sequence[str]
    ports: list[list[Port]]
    weights: list[tuple[str, int]]
    states: list[tuple[str, int]]
    fixed_bytes: int = 0
    image_bytes: int = 0
    metadata: dict[str, Any] | None = None


class _Names:
    def __init__(self) -> None:
        self.data = bytearray()
        self._known: dict[str, tuple[int, int]] = {}

    def add(self, name: str) -> tuple[int, int]:
        if name not in self._known:
            raw = name.replace("\0", "").encode()
            self._known[name] = (len(self.data), len(raw))
            self.data += raw + b"\0"
        return self._known[name]


def emit(image: Image, target: Target) -> npt.NDArray[np.uint8]:
    """Write a Program's bytes, weights bound at run; aligned to 64 bytes and sealed."""
    tensors: dict[Tensor, int] = {}
    instructions, entries, ports = bytearray(), bytearray(), bytearray()
    operands: list[int] = []
    attributes: list[int] = []
    names = _Names()
    count = n_ports = 0
    for label, code, own in zip(image.labels, image.entries, image.ports, strict=True):
        n_inputs = sum(not port.is_output for port in own)
        entries += _ENTRY.pack(*names.add(label), count, len(code), n_ports, n_inputs, len(own) - n_inputs, 0)
        count += len(code)
        n_ports += len(own)
        for port in own:
            ports += _port(port, names, target)
        for i in code:
            shape = (target.opcodes[i.op], len(i.inputs), len(i.outputs), len(i.attributes))
            instructions += _INSTRUCTION.pack(*shape, len(operands), len(attributes))
            for t in [*i.inputs, *i.outputs]:
                if t is not None and t.part is not None:
                    tensors.setdefault(t.part[0], len(tensors))
                operands.append(-1 if t is None else tensors.setdefault(t, len(tensors)))
            attributes += [bits(a) for a in i.attributes]
    sections = [
        b"".join(target.record(t) if t.part is None else target.record(t, tensors[t.part[0]]) for t in tensors),
        bytes(instructions),
        struct.pack(f"<{len(operands)}i", *operands),
        struct.pack(f"<{len(attributes)}q", *attributes),
        bytes(entries),
        bytes(ports),
        b"".join(_BUFFER.pack(*names.add(name), size, _NOT_IN_FILE, 0) for name, size in image.weights),
        b"".join(_BUFFER.pack(*names.add(name), size, _NOT_IN_FILE, 0) for name, size in image.states),
    ]
    metadata = json.dumps(image.metadata).encode() + b"\0" if image.metadata else b""
    sections += [bytes(names.data), metadata, b""]
    return _assemble(sections, image, target)


def _port(port: Port, names: _Names, target: Target) -> bytes:
    itemsize = {"real": target.itemsize, "int64": 8, "uint8": 1}[port.dtype]
    elements = 1
    for dim in port.dims[1:] if port.batched else port.dims:
        elements *= dim
    dims = (*port.dims, *(0,) * (8 - len(port.dims)))
    flags = (_PORT_DTYPES[port.dtype], int(port.batched), len(port.dims), int(port.is_output))
    return _PORT.pack(*names.add(port.name), *flags, 0, elements * itemsize, *dims, 0)


def _assemble(sections: list[bytes], image: Image, target: Target) -> npt.NDArray[np.uint8]:
    at, table = _HEADER_BYTES, bytearray()
    for section in sections:
        at = _up(at)
        table += _SECTION.pack(at, len(section))
        at += len(section)
    major, minor = _core.FILE_VERSION
    data: npt.NDArray[np.uint8] = _core.aligned_empty(at)
    data[:] = 0
    header = _HEADER.pack(
        _MAGIC, major, minor, int(target.float64), at, 0, 0, image.fixed_bytes, image.image_bytes, _SECTIONS, 0
    )
    data[: len(header)] = np.frombuffer(header, np.uint8)
    data[len(header) : len(header) + len(table)] = np.frombuffer(bytes(table), np.uint8)
    for section, (offset, size) in zip(sections, _SECTION.iter_unpack(bytes(table)), strict=True):
        data[offset : offset + size] = np.frombuffer(section, np.uint8)
    _core.seal(data)
    return data


def with_weights(program: npt.NDArray[np.uint8], weights: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """A Program's bytes with its packed weights in section `data`: a compiled file."""
    old = program.tobytes()
    table = [_SECTION.unpack_from(old, _HEADER.size + k * _SECTION.size) for k in range(_SECTIONS)]
    start = _up(table[_DATA - 1][0] + table[_DATA - 1][1])
    offsets, size = [], 0
    for weight in weights:
        offsets.append(size)
        size += _up(weight.nbytes)
    data: npt.NDArray[np.uint8] = _core.aligned_empty(start + size)
    data[:] = 0
    data[: len(old)] = program[: len(data)]
    view = data.data
    struct.pack_into("<Q", view, 16, start + size)
    _SECTION.pack_into(view, _HEADER.size + _DATA * _SECTION.size, start, size)
    for k, (offset, weight) in enumerate(zip(offsets, weights, strict=True)):
        at = table[_WEIGHTS][0] + k * _BUFFER.size
        name, name_bytes, size_k, _, _ = _BUFFER.unpack_from(old, at)
        _BUFFER.pack_into(view, at, name, name_bytes, size_k, offset, 0)
        data[start + offset : start + offset + weight.nbytes] = weight
    _core.seal(data)
    return data


def _up(value: int) -> int:
    return -(-value // ALIGNMENT) * ALIGNMENT
