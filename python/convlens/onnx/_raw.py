"""A file's bytes without its large weights, which are read straight into their arrays.

Protobuf copies every weight when it parses a file, and again when it is asked for one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9  # of ModelProto, GraphProto and TensorProto
_SMALL = 1 << 12  # bytes of a tensor that stays where it is
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5


class _UnusualError(Exception):
    """A file that is broken, or written in a way that only a whole parser joins together rightly."""


def read_apart(path: Path) -> tuple[bytes, dict[int, Bytes]] | None:
    """Read a ModelProto without the `raw_data` of its large initialisers.

    Returns
    -------
    rest : bytes
        The message without them.
    weights : dict of int to ndarray of uint8, read-only
        They, by the initialiser's number.
    None
        For a file that is to be parsed whole: a broken one, or a message whose fields lie in several pieces.
    """
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        weights: dict[int, Bytes] = {}
        try:
            rest = b"".join(_model(file, end, weights))
        except _UnusualError:
            return None
    return rest, weights


def _model(file: BinaryIO, end: int, weights: dict[int, Bytes]) -> list[bytes]:
    pieces: list[bytes] = []
    graphs = 0
    while file.tell() < end:
        tag, size, field, length = _head(file, end)
        if field == _GRAPH and length is not None:
            graphs += 1
            if graphs > 1:
                raise _UnusualError
            graph = b"".join(_graph(file, file.tell() + length, weights))
            pieces += [tag, _varint(len(graph)), graph]
        else:
            pieces += [tag, size, _body(file, length)]
    return pieces


def _graph(file: BinaryIO, end: int, weights: dict[int, Bytes]) -> list[bytes]:
    pieces: list[bytes] = []
    count = 0
    while file.tell() < end:
        tag, size, field, length = _head(file, end)
        if field == _INITIALIZER and length is not None:
            body = _body(file, length) if length <= _SMALL else _tensor(file, file.tell() + length, count, weights)
            pieces += [tag, _varint(len(body)), body]
            count += 1
        else:
            pieces += [tag, size, _body(file, length)]
    return pieces


def _tensor(file: BinaryIO, end: int, number: int, weights: dict[int, Bytes]) -> bytes:
    pieces: list[bytes] = []
    while file.tell() < end:
        tag, size, field, length = _head(file, end)
        if field == _RAW_DATA and length is not None:
            if number in weights:
                raise _UnusualError
            data = np.empty(length, np.uint8)
            if file.readinto(data) != length:  # type: ignore[attr-defined]  # a buffered reader has it
                raise _UnusualError
            data.flags.writeable = False
            weights[number] = data
        else:
            pieces += [tag, size, _body(file, length)]
    return b"".join(pieces)


def _head(file: BinaryIO, end: int) -> tuple[bytes, bytes, int, int | None]:
    """A field's tag (with its value, if that is a number), the bytes of its body's length, its number, the length."""
    tag = _bytes_of_varint(file)
    field, kind = _value(tag) >> 3, _value(tag) & 7
    if kind == _LENGTH:
        size = _bytes_of_varint(file)
        if _value(size) > end - file.tell():
            raise _UnusualError
        return tag, size, field, _value(size)
    if kind == _VARINT:
        return tag + _bytes_of_varint(file), b"", field, None
    if kind in (_EIGHT_BYTES, _FOUR_BYTES):
        return tag + _body(file, 8 if kind == _EIGHT_BYTES else 4), b"", field, None
    raise _UnusualError


def _body(file: BinaryIO, length: int | None) -> bytes:
    data = file.read(length or 0)
    if len(data) != (length or 0):
        raise _UnusualError
    return data


def _bytes_of_varint(file: BinaryIO) -> bytes:
    data = b""
    while len(data) < 10:
        byte = file.read(1)
        data += byte
        if not byte:
            break
        if byte[0] < 0x80:
            return data
    raise _UnusualError


def _value(varint: bytes) -> int:
    return sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(varint))


def _varint(value: int) -> bytes:
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])
