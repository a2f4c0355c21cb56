"""Arrays and texts in one .npz that NumPy reads, never pickled, written whole or not at all."""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ._zip import Archive

Arrays = dict[str, npt.NDArray[Any]]

_HEAD = re.compile(rb"\x93NUMPY(\x01\x00(?P<short>..)|[\x02\x03]\x00(?P<long>....))", re.DOTALL)
_FORM = re.compile(
    rb"\{'descr': '(?P<kind>[<>|](f[248]|[iu][1248]|b1))', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>(\d{1,18}, ?)*(\d{1,18})?)\), \} *\n"
)


def write_npz(file: IO[bytes], arrays: Mapping[str, npt.NDArray[Any]], texts: Mapping[str, str]) -> None:
    """Write an .npz that NumPy reads, with text members beside the arrays; equal content gives equal bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(name + ".npy"), member.getvalue())
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name), text.encode())


def read_npz(path: Path) -> tuple[Arrays, dict[str, str]]:
    """Read what :func:`write_npz` wrote; anything but numbers is an error, and so are sizes that the file lacks."""
    arrays: Arrays = {}
    texts: dict[str, str] = {}
    with path.open("rb") as file:
        try:
            archive = Archive(file, path.stat().st_size)
            for member in archive.names:
                data = archive.read(member)
                if member.endswith(".npy"):
                    arrays[member[:-4]] = _array(member, data)
                else:
                    texts[member] = data.decode()
        except (ValueError, MemoryError) as error:
            raise ValueError(f"`path` (={str(path)!r}) is not a whole .npz file: {error}") from error
    return arrays, texts


def _array(name: str, data: bytes) -> npt.NDArray[Any]:
    """An .npy, whose header must be as NumPy writes it for numbers: NumPy's reader would take any literal of Python."""
    head = _HEAD.match(data)
    form = _FORM.fullmatch(data, head.end(), head.end() + _header_bytes(head)) if head else None
    if form is None:
        raise ValueError(f"the member {name[:60]!r} is not an array of numbers as NumPy writes it")
    kind = np.dtype(form["kind"].decode())
    shape = tuple(int(size) for size in re.findall(rb"\d+", form["shape"]))
    start = form.end()
    if len(data) - start != math.prod(shape) * kind.itemsize:
        raise ValueError(f"the member {name[:60]!r} does not have the bytes of its shape {shape}")
    # A copy, so that the numbers are aligned.
    numbers = np.frombuffer(data[start:], kind)
    if kind.kind == "b":
        # Any other byte than 0 and 1 would be a bool that NumPy does not expect.
        numbers = np.not_equal(numbers.view(np.uint8), 0)
    return numbers.reshape(shape, order="F" if form["fortran"] == b"True" else "C")


def _header_bytes(head: re.Match[bytes]) -> int:
    return int.from_bytes(head["short"] or head["long"], "little")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file beside `path` that takes its place when all was written, and vanishes otherwise."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    # Not tempfile: its files stay private to the user, and this one becomes the result.
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    except OSError as error:
        error.filename = str(path)  # the file that was asked for
        raise
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
