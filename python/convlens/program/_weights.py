"""The constants of a network, packed for the Programs that read them."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from .._spill import let_go
from ._expression import constants_of, evaluate
from ._pack import Bytes, Slab, pack, padded
from ._tensors import WeightKey

_versions = itertools.count(1)


class Weights:
    """An immutable set of constants, packed when a Program first asks and shared by all Programs.

    Parameters
    ----------
    arrays : mapping of name to ndarray
        A graph's constants. Writeable arrays are copied, so that later changes cannot tear a run.
    like : Weights, optional
        Of the same network for another size of images: what both pack of the same arrays is packed once.

    Attributes
    ----------
    version : int
        A number no other Weights has.

    Notes
    -----
    Any number of threads may use one. To change a weight, make new Weights; calls under way finish with the old ones.
    The memory of arrays that lie in a file is given back once they are packed.
    """

    def __init__(self, arrays: Mapping[str, npt.NDArray[Any]], *, like: Weights | None = None) -> None:
        self._arrays = {name: _frozen(np.asarray(array)) for name, array in arrays.items()}
        self.version = next(_versions)
        self._packed: dict[tuple[Hashable, str], Bytes] = {}
        self._by_content: dict[Hashable, Bytes] = {}
        self._slab = Slab()
        self._lock = threading.Lock()
        self._from_file = False
        self._like = like

    @property
    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """The constants by name, read-only."""
        return MappingProxyType(self._arrays)

    @property
    def nbytes(self) -> int:
        """Bytes of what is packed so far."""
        with self._lock:
            return sum(array.nbytes for array in {id(a): a for a in self._packed.values()}.values())

    def packed(self, key: Hashable, dtype: str) -> Bytes:
        """The bytes of a Program's weight slot.

        Raises
        ------
        ValueError
            When the key reads a constant that is not here; its name and the remedy are given.
        """
        with self._lock:
            found = self._packed.get((key, dtype))
            if found is None:
                found = self._packed[key, dtype] = self._pack(key, dtype)
            return found

    def _shared(self, key: WeightKey) -> bool:
        """Whether all that a slot is packed from lies in the arrays of both."""
        if self._like is None:
            return False
        mine, theirs = self._arrays, self._like._arrays
        read = {*constants_of(key.expression), *(() if key.scale is None else constants_of(key.scale))}
        return all(n in mine and n in theirs and _is_same(mine[n], theirs[n]) for n in read)

    def _pack(self, key: Hashable, dtype: str) -> Bytes:
        if not isinstance(key, WeightKey) or self._from_file:
            raise ValueError(
                "`weights` are of another Program: one read from a file runs with the Weights read beside it"
            )
        if self._like is not None and self._shared(key):
            return self._like.packed(key, dtype)
        packed = self._packed_of(key, dtype)
        read = constants_of(key.expression) | (set() if key.scale is None else constants_of(key.scale))
        let_go(self._arrays[name] for name in read)
        return packed

    def _packed_of(self, key: WeightKey, dtype: str) -> Bytes:
        try:
            value = evaluate(key.expression, self._arrays)
            scale = None if key.scale is None else evaluate(key.scale, self._arrays).reshape(-1)
        except KeyError as error:
            raise ValueError(
                f"`weights` lacks {error.args[0]!r}; make it from the constants of the graph that was compiled"
            ) from None
        if key.geometry is None:
            return padded(value, dtype, self._slab.take)
        # A forward and a backward step may fold the same scale from different nodes: they share one packing.
        digest = None if scale is None else hashlib.sha256(scale.astype(dtype).tobytes()).digest()
        content = (key.expression, key.geometry, digest, dtype)
        if content not in self._by_content:
            self._by_content[content] = pack(value, key.geometry, dtype, scale, self._slab.take)
        return self._by_content[content]

    @classmethod
    def _of_packed(cls, packed: Mapping[Hashable, Bytes], dtype: str) -> Weights:
        """Weights that exist packed only, as read from a compiled file."""
        made = cls({})
        made._from_file = True
        made._packed = {(key, dtype): array for key, array in packed.items()}
        return made


def _is_same(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    """Whether two read-only arrays are the same memory."""
    return a.dtype == b.dtype and a.__array_interface__ == b.__array_interface__


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    if array.flags.writeable or owner.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array
