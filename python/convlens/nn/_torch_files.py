"""The two forms of PyTorch's checkpoints: a zip archive, and the stream of pickles before PyTorch 1.6."""

from __future__ import annotations

import os
from typing import IO, Any

from .._errors import UnsupportedError
from ._pickle import read_pickle
from ._torch_objects import FUNCTIONS, Storage, Storages
from ._zip import Archive

#: What a pickle may take of a file; that of a network of 100,000 tensors takes a quarter.
MAX_PICKLE_BYTES = 1 << 26

SAVE_AGAIN = "save model.state_dict() with PyTorch and read that file"

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001


def open_reader(file: IO[bytes]) -> ZipReader | LegacyReader:
    """Return the reader for what `file` holds."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(262)
    if head[:2] == b"PK":
        return ZipReader(file, size)
    if head[257:] == b"ustar":
        raise UnsupportedError(f"is a tar archive of PyTorch before 0.1.10: {SAVE_AGAIN}")
    return LegacyReader(file, size)


class ZipReader:
    """``top/data.pkl``, and each storage as ``top/data/key``, stored or deflated.

    Parameters
    ----------
    file : binary file
    size : int
        Its bytes.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.size = size
        self.storages = Storages()
        self.archive = Archive(file, size)
        names = self.archive.names
        if any(name.endswith("/constants.pkl") for name in names):
            raise UnsupportedError(f"is a TorchScript archive: {SAVE_AGAIN}")
        pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            arrays = any(name.endswith(".npy") for name in names)
            hint = ": an .npz is read by nn.load or np.load" if arrays else f": {SAVE_AGAIN}"
            raise ValueError(f"its zip archive has {len(pickles)} members data.pkl, not one{hint}")
        self.top = pickles[0].partition("/")[0]
        order = self._member("byteorder", at_most=10) if f"{self.top}/byteorder" in names else b"little"
        if order not in (b"little", b"big"):
            raise ValueError(f"its byteorder is {order!r}, neither little nor big")
        self.order = "<" if order == b"little" else ">"

    def contents(self) -> Any:
        """Interpret the pickle."""
        data = self._member("data.pkl", at_most=MAX_PICKLE_BYTES)
        return read_pickle(data, functions=FUNCTIONS, persistent=self.storages)[0]

    def read(self, storage: Storage) -> bytes:
        """Return the bytes of the whole storage."""
        return self._member(f"data/{storage.key}", nbytes=storage.root_count * storage.itemsize)

    def _member(self, name: str, *, nbytes: int | None = None, at_most: int | None = None) -> bytes:
        return self.archive.read(f"{self.top}/{name}", nbytes=nbytes, at_most=at_most)


class LegacyReader:
    """Five pickles (magic number, version, machine, contents, keys), then each storage as its length and its bytes.

    Parameters
    ----------
    file : binary file
    size : int
        Its bytes.
    """

    # PyTorch writes this form so on every machine.
    order = "<"

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file = file
        self.size = size
        self.storages = Storages()
        self.places: dict[str, int] = {}

    def contents(self) -> Any:
        """Interpret the pickles and find the storages behind them."""
        head = self._take(0, min(self.size, MAX_PICKLE_BYTES))
        magic, position = read_pickle(head)
        if type(magic) is not int or magic != _MAGIC:
            raise ValueError(f"it does not begin with PyTorch's magic number: {SAVE_AGAIN}")
        version, position = read_pickle(head, position)
        if type(version) is not int or version != _VERSION:
            raise ValueError(f"its version is not {_VERSION}")
        _, position = read_pickle(head, position)
        value, position = read_pickle(head, position, functions=FUNCTIONS, persistent=self.storages)
        keys, position = read_pickle(head, position)
        self._find(keys, position)
        return value

    def _find(self, keys: object, position: int) -> None:
        if type(keys) is not list:
            raise ValueError("its list of storages is not a list")
        for key in keys:
            storage = self.storages.by_key.get(key) if type(key) is str else None
            if storage is None or key in self.places:
                raise ValueError("its list of storages has one that its pickle does not name, or has one twice")
            count = int.from_bytes(self._take(position, 8), "little")
            if count != storage.count:
                raise ValueError(f"the storage {key[:40]!r} has {count} elements, its pickle says {storage.count}")
            self.places[key] = position + 8
            position += 8 + count * storage.itemsize
            if position > self.size:
                raise ValueError(f"it ends within the storage {key[:40]!r}")

    def read(self, storage: Storage) -> bytes:
        """Return the bytes of the whole storage."""
        if storage.key not in self.places:
            raise ValueError(f"the storage {storage.key[:40]!r} is missing")
        return self._take(self.places[storage.key], storage.root_count * storage.itemsize)

    def _take(self, position: int, count: int) -> bytes:
        if position + count <= self.size:
            self.file.seek(position)
            data = self.file.read(count)
            if len(data) == count:
                return data
        raise ValueError("it ends early")
