"""Kernels as Programs of one node: made at the first call of a shape, kept for the next."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph import Graph, GraphBuilder
from ..program import Entry, Program, ReplayTable, compile, replayed_by

Array = npt.NDArray[Any]
Floats = npt.ArrayLike

_USUAL = (np.dtype(np.float32), np.dtype(np.float64))  # in native byte order

#: Programs kept; one is a few kilobytes and the workspace of its last call.
KEPT = 256
#: Axes an array may have.
MAX_NDIM = 6


class _Kept:
    """The most recently used Programs by key."""

    def __init__(self) -> None:
        self._programs: OrderedDict[Hashable, Program] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Program]) -> Program:
        with self._lock:
            found = self._programs.get(key)
            if found is not None:
                self._programs.move_to_end(key)
                return found
        made = make()
        with self._lock:
            found = self._programs.setdefault(key, made)
            while len(self._programs) > KEPT:
                self._programs.popitem(last=False)
        return found

    def clear(self) -> None:
        with self._lock:
            self._programs.clear()
        _replays.clear()


kept = _Kept()

#: For functions of one Program: their calls go straight to it from the second of the same shapes on.
_replays = ReplayTable(KEPT)
replayed = replayed_by(_replays)


class Build:
    """A graph under construction, with the inputs of a call declared by name."""

    def __init__(self, arrays: Mapping[str, Array], unbatched: Sequence[str]) -> None:
        self.builder = GraphBuilder()
        self.dtype = next(a.dtype.name for a in arrays.values() if a.dtype.kind == "f")
        for name, array in arrays.items():
            shape = array.shape if name in unbatched else ("N", *array.shape[1:])
            self.builder.input(name, array.dtype.name, shape)

    def add(self, op: str, *inputs: str, outputs: Sequence[str] | None = None, **attributes: Any) -> str:
        """Append a node."""
        given = {name: value for name, value in attributes.items() if value is not None}
        return self.builder.add(op, inputs, given, outputs=outputs)

    def scalar(self, value: float) -> str:
        """A number known when the Program is made."""
        return self.builder.constant(np.asarray(value, self.dtype))

    def integers(self, values: Sequence[int]) -> str:
        """Axes or sizes."""
        return self.builder.constant(np.asarray(values, np.int64))


def run(
    key: tuple[Hashable, ...],
    arrays: Mapping[str, Array],
    build: Callable[[Build], Sequence[str] | tuple[Graph, Sequence[str]]],
    unbatched: Sequence[str] = (),
    seeds: Mapping[str, Array] | None = None,
) -> list[Array]:
    """Run the Program of `key` and the arrays' shapes.

    Parameters
    ----------
    key : tuple
        Everything the graph depends on beside the shapes.
    build : callable
        Writes the graph the first time and names the results; it may return a whole graph with them.
    unbatched : sequence of str
        Arrays without a batch axis.
    seeds : mapping of name to ndarray, optional
        Inputs that `build` declares itself.
    """
    shapes = tuple([(a.shape if name in unbatched else a.shape[1:], a.dtype.char) for name, a in arrays.items()])

    def make() -> Program:
        graph = Build(arrays, unbatched)
        made = build(graph)
        if isinstance(made, tuple) and isinstance(made[0], Graph):
            whole, outputs = made[0], tuple(made[1])
        else:
            outputs = tuple(str(name) for name in made)
            whole = graph.builder.build(outputs)
        return compile(whole, {"run": Entry((*arrays, *(seeds or ())), outputs)}, dtype=graph.dtype, winograd=False)

    program = kept.get((*key, shapes), make)
    return program._results(program._entry("run"), {**arrays, **seeds} if seeds else arrays)


def array_of(value: Any, name: str) -> Array:
    """Any array; raises where lists differ in length."""
    try:
        return np.asarray(value)
    except ValueError:
        raise ValueError(f"`{name}` must be an array, or lists of equal length nested as one") from None


def floats(value: Floats, name: str, ndim: int | None = None, axes: str = "") -> Array:
    """An array of float32 or float64, C-contiguous.

    Raises
    ------
    TypeError
        When it holds something else.
    ValueError
        When it has not `ndim` axes.
    """
    if type(value) is np.ndarray and value.dtype in _USUAL and value.flags.carray:
        array = value
    else:
        array = _as_floats(value, name)
    if ndim is not None and array.ndim != ndim:
        missing = f"; it has no batch axis: pass {name}[None]" if array.ndim == ndim - 1 else ""
        raise ValueError(f"`{name}` has shape {array.shape}; it must be {axes}{missing}")
    return array


def _as_floats(value: Floats, name: str) -> Array:
    array = array_of(value, name)
    if array.dtype.char not in "fd" or not array.dtype.isnative:
        if array.dtype.char in "fd":
            array = array.astype(array.dtype.newbyteorder("="))
        else:
            scaled = f"{name}.astype(np.float32) / 255 for an image" if array.dtype == np.uint8 else ""
            remedy = scaled or f"{name}.astype(np.float32)" if array.dtype.kind in "iufb" else "an array of numbers"
            raise TypeError(f"`{name}` is {array.dtype}; kernels compute in float32 or float64: pass {remedy}")
    return np.ascontiguousarray(array).reshape(array.shape)


def images(value: Floats, name: str = "x") -> Array:
    """A float array (N, C, H, W) with at least one channel and pixel."""
    array = floats(value, name, 4, "(N, C, H, W)")
    if 0 in array.shape[1:]:
        raise ValueError(f"`{name}` has shape {array.shape}; channels, height and width must be at least 1")
    return array


def same_dtype(**arrays: Array | None) -> None:
    """Raise when two arrays differ in dtype: nothing is converted silently."""
    if len({id(array.dtype) for array in arrays.values() if array is not None}) == 1:
        return
    given = {name: array.dtype for name, array in arrays.items() if array is not None}
    first = next(iter(given))
    for name, dtype in given.items():
        if dtype != given[first]:
            raise TypeError(f"`{name}` is {dtype} and `{first}` {given[first]}; convert one of them with astype")


def same_images(**arrays: Array) -> None:
    """Raise when two arrays hold different numbers of images."""
    first = next(iter(arrays))
    for name, array in arrays.items():
        if len(array) != len(arrays[first]):
            raise ValueError(f"`{name}` has {len(array)} images and `{first}` {len(arrays[first])}; they must agree")


def check_grad(grad_output: Array, *sizes: int) -> None:
    """Raise when a gradient is not (N, *sizes), the shape of what it is the gradient of."""
    if grad_output.shape[1:] != sizes:
        raise ValueError(f"`grad_output` has shape {grad_output.shape}; it must be (N, {', '.join(map(str, sizes))})")


def hashable(value: Any) -> Hashable:
    """An argument as part of a key: lists as tuples."""
    if type(value) is int or type(value) is str:
        return value
    if type(value) is tuple:
        try:
            hash(value)
        except TypeError:
            pass
        else:
            return value
    if isinstance(value, (list, tuple)):
        return tuple(hashable(v) for v in value)
    key: Hashable = value.item() if isinstance(value, np.generic) else value
    return key


def shape_of(value: Sequence[int], name: str, ndim: int) -> tuple[int, ...]:
    """A shape given as an argument: (C, H, W) or (N, C, H, W); returned without the batch."""
    shape = tuple(int(v) for v in value)
    if len(shape) == ndim + 1:
        shape = shape[1:]
    if len(shape) != ndim or min(shape) < 1:
        raise ValueError(
            f"`{name}` (={tuple(value)}) must be {ndim} sizes of at least 1, with or without the batch first"
        )
    return shape
