"""Arrays in a temporary file: their memory is the system's to take back, and to fill again when they are read."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_SMALL = 1 << 12  # bytes of an array that stays where it is
_LINE = 64


class _Spilled(mmap.mmap):
    """The mapping of such a file, told from those of others."""


def spilled(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Move the large arrays into a file that has no name, and goes with the last of them; read-only.

    Raises
    ------
    OSError
        When there is no room where temporary files go.
    """
    moved = {id(a): a for a in arrays.values() if a.nbytes > _SMALL and not a.dtype.hasobject and not _mapping(a)}
    if not moved:
        return dict(arrays)
    places: dict[int, int] = {}
    with tempfile.TemporaryFile(prefix="convlens-") as file:
        for key, array in moved.items():
            places[key] = file.tell()
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            file.write(bytes(-array.nbytes % _LINE))
        file.flush()
        mapped = _Spilled(file.fileno(), 0, access=mmap.ACCESS_READ)
    made = {
        key: np.frombuffer(mapped, array.dtype, array.size, places[key]).reshape(array.shape)
        for key, array in moved.items()
    }
    return {name: made.get(id(array), array) for name, array in arrays.items()}


def let_go(arrays: Iterable[Array]) -> None:
    """Give back the memory of those that lie in a file: what reads them next reads the file."""
    for mapped in {id(m): m for m in map(_mapping, arrays) if m is not None}.values():
        if hasattr(mapped, "madvise"):
            mapped.madvise(mmap.MADV_DONTNEED)


def _mapping(array: Array) -> _Spilled | None:
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    owner = owner.obj if isinstance(owner, memoryview) else owner
    return owner if isinstance(owner, _Spilled) else None
