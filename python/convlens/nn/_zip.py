"""Zip archives of unknown origin: what a member takes is bounded by its file."""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import IO

#: Bytes that deflated members may take for each byte of the file; pruned weights take 8.
MAX_INFLATION = 16

# zipfile lets a broken file surface as any of these.
_BROKEN = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, RuntimeError, struct.error, OverflowError)


class Archive:
    """The members of a zip archive, stored or deflated.

    Parameters
    ----------
    file : binary file
    size : int
        Its bytes.

    Raises
    ------
    ValueError
        Here and in `read`: the archive is broken, a name is in it twice, or members unpack to more than 16 times the
        file.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.size = size
        self._left = MAX_INFLATION * size
        try:
            self._archive = zipfile.ZipFile(file)
        except _BROKEN as error:
            raise ValueError(f"it is not a whole zip archive: {error}") from error
        self.names = self._archive.namelist()
        if len(set(self.names)) < len(self.names):
            raise ValueError("two members of its zip archive have the same name")

    def read(self, name: str, *, nbytes: int | None = None, at_most: int | None = None) -> bytes:
        """Return the bytes of a member: `nbytes` exactly, or not more than `at_most`, where these are given."""
        label = f"the member {name[:60]!r} of its zip archive"
        try:
            info = self._archive.getinfo(name)
        except KeyError:
            raise ValueError(f"{label} is missing") from None
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{label} is compressed by method {info.compress_type}, neither stored nor deflated")
        if nbytes is not None and info.file_size != nbytes:
            raise ValueError(f"{label} has {info.file_size} bytes, its pickle says {nbytes}")
        if at_most is not None and info.file_size > at_most:
            raise ValueError(f"{label} has {info.file_size} bytes, more than {at_most}")
        if info.compress_size > self.size or info.file_size > self._left:
            raise ValueError(f"{label} has {info.file_size} bytes, too many for a file of {self.size}")
        self._left -= info.file_size
        try:
            with self._archive.open(info) as member:
                data = member.read(info.file_size)
                whole = len(data) == info.file_size and not member.read(1)
        except _BROKEN as error:
            raise ValueError(f"{label} is broken: {error}") from error
        if not whole:
            raise ValueError(f"{label} does not have the {info.file_size} bytes it says")
        return data
