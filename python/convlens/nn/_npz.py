"""Arrays and texts in one .npz that NumPy reads, never pickled, written whole or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]


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
    """Read what :func:`write_npz` wrote; a pickled object is an error."""
    arrays: Arrays = {}
    texts: dict[str, str] = {}
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                for member in archive.namelist():
                    data = archive.read(member)
                    if member.endswith(".npy"):
                        arrays[member[:-4]] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
                    else:
                        texts[member] = data.decode()
        # zipfile and the reader of headers let a broken file surface as any of these.
        except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, RuntimeError, MemoryError) as error:
            raise ValueError(f"`path` (={str(path)!r}) is not a whole .npz file: {error}") from error
    return arrays, texts


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file beside `path` that takes its place when all was written, and vanishes otherwise."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    # Not tempfile: its files stay private to the user, and this one becomes the result.
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
