"""What a training Program updates in place: weights, moments, running statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from ._flow import Geometry
from ._pack import Bytes, pack, padded, unpack


@dataclass(frozen=True)
class StateSlot:
    """How a Program keeps one state: its logical shape, and its packing (None: plain)."""

    name: str
    shape: tuple[int, ...]
    geometry: Geometry | None
    dtype: str


class State(Mapping[str, npt.NDArray[Any]]):
    """Named arrays that a Program changes. Packed while it runs; NumPy arrays to everybody else.

    Parameters
    ----------
    arrays : mapping of name to ndarray
        Copied.

    Notes
    -----
    One run at a time: a State belongs to its caller. Reading an array unpacks it into a new one.

    Examples
    --------
    >>> state = State({"weight": np.zeros((2, 3), np.float32)})
    >>> state["weight"].shape
    (2, 3)
    """

    def __init__(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self._plain = {name: np.array(array) for name, array in arrays.items()}
        self._slots: dict[str, StateSlot] = {}
        self._bytes: dict[str, Bytes] = {}
        self._bound: tuple[Any, Any] = (None, None)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        if name not in self._bytes:
            return np.array(self._plain[name])
        slot, data = self._slots[name], self._bytes[name]
        if slot.geometry is not None:
            return unpack(data, slot.geometry, slot.dtype, slot.shape)
        count = int(np.prod(slot.shape, dtype=np.int64))
        return np.array(data.view(slot.dtype)[:count].reshape(slot.shape))

    def __iter__(self) -> Iterator[str]:
        return iter({**self._plain, **self._bytes})

    def __len__(self) -> int:
        return len({**self._plain, **self._bytes})

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Every array by name, logical, copied."""
        return {name: self[name] for name in self}

    def buffers(self, owner: object, slots: tuple[StateSlot, ...]) -> Any:
        """The memory a Program binds; arrays are packed the first time and whenever their form changes.

        Raises
        ------
        ValueError
            When a state is missing or has another shape.
        """
        if self._bound[0] is owner:
            return self._bound[1]
        for slot in slots:
            if self._slots.get(slot.name) == slot:
                continue
            if slot.name not in self:
                raise ValueError(f"`state` lacks {slot.name!r}; the Program updates {[s.name for s in slots]}")
            value = self[slot.name]
            if value.shape != slot.shape:
                raise ValueError(
                    f"`state` {slot.name!r} has shape {value.shape}; the Program was compiled for {slot.shape}"
                )
            if slot.geometry is not None:
                self._bytes[slot.name] = pack(value, slot.geometry, slot.dtype)
            else:
                self._bytes[slot.name] = padded(value, slot.dtype)
            self._slots[slot.name] = slot
            self._plain.pop(slot.name, None)
        made = _core.Buffers([self._bytes[slot.name] for slot in slots], True)
        self._bound = (owner, made)
        return made
