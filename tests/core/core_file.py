"""The bytes of a Program, written plainly from the description in `cpp/src/runtime/file.hpp`."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from convlens import _core

REAL, INT64, UINT8, MASK = range(4)
PLAIN, BLOCKED, PACKED = range(3)
ARENA, WEIGHT, STATE, EXTERNAL = range(4)
NOT_IN_FILE = -1


def bits(value: float) -> int:
    return struct.unpack("<q", struct.pack("<d", value))[0]


@dataclass
class File:
    float64: bool = False
    metadata: bytes = b"{}"
    sizes: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})  # of the arena, by batched
    records: dict[str, list[bytes]] = field(default_factory=dict)
    names: bytes = b""
    data: bytes = b""
    instructions_done: int = 0
    ports_done: int = 0

    def _add(self, section: str, record: bytes) -> int:
        rows = self.records.setdefault(section, [])
        rows.append(record)
        return len(rows) - 1

    def _name(self, text: str) -> bytes:
        raw = text.encode()
        offset = len(self.names)
        self.names += raw + b"\0"
        return struct.pack("<II", offset, len(raw))

    def _record(
        self, shape, *, dtype=REAL, layout=PLAIN, place=ARENA, batched=True, halo=0, slot=-1, offset=0, nbytes=0
    ):
        head = struct.pack("<4B3i4Hi4x", dtype, layout, place, batched, *shape, *[halo] * 4, slot)
        return head + struct.pack("<qq16x", offset, nbytes)

    def tensor(self, shape: tuple[int, int, int], **fields) -> int:
        nbytes = _core.tensor_bytes(self._record(shape, **fields), self.float64)
        if fields.get("place", ARENA) == ARENA:
            batched = fields.get("batched", True)
            fields["offset"] = self.sizes[batched]
            self.sizes[batched] += nbytes
        return self._add("tensors", self._record(shape, nbytes=nbytes, **fields))

    def port(
        self, name: str, shape: tuple[int, int, int], *, output: bool, dtype: int = REAL, batched: bool = True
    ) -> int:
        slot = len(self.records.get("ports", []))
        tensor = self.tensor(shape, dtype=dtype, place=EXTERNAL, batched=batched, slot=slot)
        nbytes = _core.tensor_bytes(self._record(shape, dtype=dtype, place=EXTERNAL, batched=batched), self.float64)
        dims = ([-1] if batched else []) + list(shape)
        record = self._name(name) + struct.pack("<4B4xq", dtype, batched, len(dims), output, nbytes)
        self._add("ports", record + struct.pack("<8q8x", *dims, *[0] * (8 - len(dims))))
        return tensor

    def buffer(self, name: str, elements: int, *, state: bool = False, data: bytes | None = None) -> int:
        section = "states" if state else "weights"
        shape, place = (elements, 1, 1), STATE if state else WEIGHT
        nbytes = _core.tensor_bytes(self._record(shape, place=place, batched=False), self.float64)
        offset = NOT_IN_FILE
        if data is not None:
            offset = len(self.data)
            self.data += data.ljust(nbytes, b"\0")
        slot = self._add(section, self._name(name) + struct.pack("<qq8x", nbytes, offset))
        return self.tensor(shape, place=place, batched=False, slot=slot)

    def instruction(self, op: str, inputs: list[int], outputs: list[int], attributes: list[int]) -> None:
        operands, values = len(self.records.get("operands", [])), len(self.records.get("attributes", []))
        for operand in [*inputs, *outputs]:
            self._add("operands", struct.pack("<i", operand))
        for value in attributes:
            self._add("attributes", struct.pack("<q", value))
        counts = (len(inputs), len(outputs), len(attributes))
        self._add("instructions", struct.pack("<4H2I", _core.op_codes()[op], *counts, operands, values))

    def entry(self, name: str, inputs: int, outputs: int) -> None:
        count = len(self.records.get("instructions", [])) - self.instructions_done
        fields = (self.instructions_done, count, self.ports_done, inputs, outputs)
        self._add("entries", self._name(name) + struct.pack("<5I4x", *fields))
        self.instructions_done += count
        self.ports_done += inputs + outputs

    def build(self) -> bytes:
        order = ["tensors", "instructions", "operands", "attributes", "entries", "ports", "weights", "states"]
        parts = [b"".join(self.records.get(name, [])) for name in order]
        parts += [self.names, self.metadata + b"\0", self.data]
        body, table = b"", b""
        for part in parts:
            body += b"\0" * (-(256 + len(body)) % 64)
            table += struct.pack("<QQ", 256 + len(body), len(part))
            body += part
        head = struct.pack("<8sHHB3xQII", b"convlens", *_core.FILE_VERSION, self.float64, 256 + len(body), 0, 0)
        head += struct.pack("<qqI4x", self.sizes[False], self.sizes[True], len(parts))
        sealed = bytearray(head + table + b"\0" * 24 + body)
        _core.seal(sealed)
        return bytes(sealed)
