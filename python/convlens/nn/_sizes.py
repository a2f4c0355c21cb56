"""Networks for images of any size: one for each size, made when images of it come."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from ._network import Network

#: Networks kept of one file; their Programs are bounded in bytes, together with those of the first size.
MOST_SIZES = 8
Sizes = tuple[int, ...]


class Source(Protocol):
    """What a network of any size is made from; it survives pickling."""

    def network(self, shapes: Mapping[str, Sizes]) -> Network:
        """The network for inputs of these shapes, without the batch."""
        ...


@dataclass(frozen=True)
class Converted:
    """A source whose networks compute in another dtype."""

    source: Source
    dtype: str

    def network(self, shapes: Mapping[str, Sizes]) -> Network:
        """As :class:`Source` says."""
        return self.source.network(shapes).astype(self.dtype)


class OpenSizes:
    """The sizes that a file leaves open, and the networks made for those that came.

    Parameters
    ----------
    source : Source
    open_axes : mapping of input name to tuple of int or None
        Sizes of one image; None is open.
    """

    def __init__(self, source: Source, open_axes: Mapping[str, tuple[int | None, ...]]) -> None:
        self.source = source
        self.open_axes = dict(open_axes)
        self._kept: OrderedDict[tuple[tuple[str, Sizes], ...], Network] = OrderedDict()
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Drop the networks made: their weights are old."""
        with self._lock:
            self._kept.clear()

    def wanted(self, net: Network, given: Mapping[str, Any], called: str = "") -> dict[str, Sizes] | None:
        """The shapes to specialise for, or None where `net` itself fits; errors call the one array `called`."""
        shapes = {name: kind.per_image for name, kind in net.graph.inputs.items()}
        for name, array in given.items():
            have, axes = np.shape(array), self.open_axes.get(name, ())
            if name in shapes and None in axes:
                if not _fits(have[1:], axes):
                    raise ValueError(_misfit(called or name, have, axes))
                shapes[name] = have[1:]
        same = all(net.graph.inputs[name].per_image == shape for name, shape in shapes.items())
        return None if same else shapes

    def network(self, net: Network, shapes: Mapping[str, Sizes]) -> Network:
        """The network of `shapes`, with the weights of `net`."""
        key = tuple(shapes.items())
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = self.source.network(shapes)
        if net.version:
            there = net.parameters
            fits = [n for n, a in made.parameters.items() if n in there and there[n].shape == a.shape]
            made.set_parameters({name: there[name] for name in fits})
        made.follow(net, key)
        with self._lock:
            kept = self._kept.setdefault(key, made)
            self._kept.move_to_end(key)
            while len(self._kept) > MOST_SIZES:
                self._kept.popitem(last=False)
            return kept


def _fits(sizes: Sizes, axes: tuple[int | None, ...]) -> bool:
    fixed = len(sizes) == len(axes) and all(axis in (None, size) for axis, size in zip(axes, sizes, strict=True))
    return fixed and min(sizes, default=1) > 0


def _misfit(name: str, shape: Sizes, axes: tuple[int | None, ...]) -> str:
    wanted = ", ".join("any" if axis is None else str(axis) for axis in axes)
    message = f"`{name}` has shape {shape}, the network takes (N, {wanted}): "
    if _fits(shape, axes):
        return f"{message}the batch axis is missing, add it with {name}[np.newaxis]"
    if _fits((*shape[-1:], *shape[1:-1]), axes):
        return f"{message}channels are last, move them with np.moveaxis({name}, -1, 1)"
    return f"{message}give a batch of that shape, with sizes of at least 1"
