"""Joining, slicing, transposing, repeating and reducing arrays, with their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence

import numpy as np
import numpy.typing as npt

from .._arguments import checked
from ..graph import GraphBuilder
from ..transform import backward
from ._call import MAX_NDIM, Array, Build, array_of, floats, replayed, run, same_dtype

Axes = int | Sequence[int] | None


@checked
def concat(arrays: Sequence[npt.ArrayLike], axis: int = 1) -> Array:
    """Lay arrays end to end along an axis, the channels by default (PyTorch's ``cat``, whose default is 0).

    Parameters
    ----------
    arrays : sequence of ndarray, float32 or float64
        At least one; alike but along `axis`.
    axis : int

    Returns
    -------
    ndarray

    Examples
    --------
    >>> import numpy as np
    >>> concat([np.ones((1, 2, 3, 3)), np.zeros((1, 5, 3, 3))]).shape
    (1, 7, 3, 3)
    """
    if isinstance(arrays, np.ndarray) or not isinstance(arrays, Sequence) or not arrays:
        raise TypeError("`arrays` must be a list or tuple of at least one array, such as [a, b]")
    parts = {f"arrays[{i}]": _array(array, f"arrays[{i}]") for i, array in enumerate(arrays)}
    same_dtype(**parts)
    first = next(iter(parts.values()))
    place = _axis(axis, first.ndim, "axis")
    for name, part in parts.items():
        if part.ndim != first.ndim or _without(part, place) != _without(first, place):
            raise ValueError(
                f"`{name}` has shape {part.shape}, `arrays[0]` {first.shape}; they may differ along axis {place} alone"
            )
    filled = {name: part for name, part in parts.items() if part.shape[place]}
    if first.size == 0 and not filled:
        return np.array(first)
    if any(part.size == 0 for part in filled.values()):
        return np.concatenate(list(parts.values()), place)
    names = {f"x{i}": part for i, part in enumerate(filled.values())}
    return _run(("concat", place), names, lambda b, at: [b.add("Concat", *names, axis=place + at)], place == 0)[0]


@checked
def embedding(x: npt.ArrayLike, weight: npt.ArrayLike) -> Array:
    """Look rows of a table up by whole numbers (PyTorch's ``embedding``).

    Parameters
    ----------
    x : ndarray of integers, of 1 to 5 axes
        Rows; negative ones count from the end.
    weight : ndarray of shape (V, D), float32 or float64

    Returns
    -------
    ndarray of shape (*x.shape, D)

    Examples
    --------
    >>> import numpy as np
    >>> embedding(np.array([[2, 0, -1]]), np.eye(3)[:, :2]).tolist()
    [[[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]]
    """
    table, indices = floats(weight, "weight", 2, "(V, D)"), array_of(x, "x")
    if indices.dtype.kind not in "iu" and indices.size:
        raise TypeError(f"`x` is {indices.dtype}; it must be integers, the rows of `weight`")
    if not 1 <= indices.ndim < MAX_NDIM or 0 in table.shape:
        raise ValueError(
            f"`x` has shape {indices.shape} and `weight` {table.shape}; `x` must have 1 to {MAX_NDIM - 1} axes, "
            "`weight` at least one row and column"
        )
    rows = len(table)
    if indices.size and not -rows <= indices.min() <= indices.max() < rows:
        raise ValueError(f"`x` reaches from {indices.min()} to {indices.max()}; `weight` has the rows 0 to {rows - 1}")
    if 0 in indices.shape[1:]:
        return np.zeros((*indices.shape, table.shape[1]), table.dtype)
    arrays = {"weight": table, "x": np.ascontiguousarray(indices, dtype=np.int64)}
    return run(("embedding",), arrays, lambda b: [b.add("Gather", "weight", "x", axis=0)], ("weight",))[0]


@replayed
@checked
def concat_grad(grad_output: npt.ArrayLike, sizes: Sequence[int], axis: int = 1) -> list[Array]:
    """Cut a gradient of :func:`concat` into those of its arrays, whose sizes along `axis` are given."""
    return _cut(_array(grad_output, "grad_output"), "grad_output", sizes, axis)


@replayed
@checked
def split(x: npt.ArrayLike, sizes: int | Sequence[int], axis: int = 1) -> list[Array]:
    """Cut an array along an axis into parts of `sizes`, or of one size and a smaller rest.

    Parameters
    ----------
    x : ndarray, float32 or float64
    sizes : int or sequence of int
        Adding up to the axis. An int is the size of every part but the last.
    axis : int

    Returns
    -------
    list of ndarray
        Copies; ``np.split`` gives views. The gradient is :func:`concat`.
    """
    return _cut(_array(x, "x"), "x", sizes, axis)


def _cut(array: Array, name: str, sizes: int | Sequence[int], axis: int) -> list[Array]:
    place = _axis(axis, array.ndim, "axis")
    total = array.shape[place]
    if isinstance(sizes, int):
        if sizes < 1:
            raise ValueError(f"`sizes` (={sizes}) must be at least 1")
        parts = [min(int(sizes), total - start) for start in range(0, total, int(sizes))]
    else:
        parts = [int(size) for size in sizes]
    if int(np.sum(parts)) != total or min(parts, default=1) < 0:
        raise ValueError(f"`sizes` (={sizes}) must add up to the {total} of axis {place} of `{name}` {array.shape}")
    starts = np.cumsum([0, *parts])
    if array.size == 0 or 0 in parts:
        return [np.array(part) for part in np.split(array, starts[1:-1], place)]
    if len(parts) == 1:
        return [np.array(array)]

    def build(b: Build, at: int) -> Sequence[str]:
        outputs = [f"part{i}" for i in range(len(parts))]
        b.add("Split", "x", b.integers(parts), axis=place + at, outputs=outputs)
        return outputs

    return _run(("split", place, tuple(parts)), {"x": array}, build, place == 0)


@replayed
@checked
def narrow(x: npt.ArrayLike, axis: int, start: int, length: int) -> Array:
    """Copy `length` indices of an axis from `start` on (PyTorch's ``narrow``).

    Other slices are NumPy's own: ``x[:, :, ::2]`` is a view, free of charge. In a network use ``nn.Slice``.

    Parameters
    ----------
    x : ndarray, float32 or float64
    axis, start, length : int
        A negative `start` counts from the end.
    """
    array = _array(x, "x")
    place = _axis(axis, array.ndim, "axis")
    size = array.shape[place]
    first = start + size if start < 0 else start
    if length < 0 or first < 0 or first + length > size:
        raise ValueError(f"`start` (={start}) and `length` (={length}) must lie within the {size} of axis {place}")
    if array.size == 0 or length == 0:
        return np.array(array[(slice(None),) * place + (slice(first, first + length),)])

    def build(b: Build, at: int) -> Sequence[str]:
        return [b.add("Slice", "x", *(b.integers([v]) for v in (first, first + length, place + at)))]

    return _run(("narrow", place, first, length), {"x": array}, build, place == 0)[0]


@replayed
@checked
def narrow_grad(grad_output: npt.ArrayLike, input_shape: Sequence[int], axis: int, start: int) -> Array:
    """Put a gradient back where :func:`narrow` took it from, among zeros."""
    g = _array(grad_output, "grad_output")
    shape = _shape(input_shape, "input_shape")
    place = _axis(axis, len(shape), "axis")
    first = start + shape[place] if start < 0 else start
    fits = g.ndim == len(shape) and g.shape[:place] == shape[:place] and g.shape[place + 1 :] == shape[place + 1 :]
    if not fits or first < 0 or first + g.shape[place] > shape[place]:
        raise ValueError(f"`grad_output` {g.shape} from `start` (={start}) on does not lie in `input_shape` (={shape})")
    if g.size == 0:
        return np.zeros(shape, g.dtype)

    def build(b: Build, at: int) -> Sequence[str]:
        size = shape if at else shape[1:]
        return [b.add("SliceGrad", "x", axes=(place + at,), starts=(first,), steps=(1,), input_shape=size)]

    return _run(("narrow_grad", place, first, shape[place]), {"x": g}, build, place == 0)[0]


@replayed
@checked
def permute(x: npt.ArrayLike, dims: Sequence[int]) -> Array:
    """Copy `x` with its axes in another order: axis i of the result is axis ``dims[i]`` of `x`.

    ``x.transpose(dims)`` is a view; this is contiguous. The gradient is ``permute(grad_output, np.argsort(dims))``.
    """
    array = _array(x, "x")
    order = tuple(_axis(d, array.ndim, "dims") for d in dims)
    if sorted(order) != list(range(array.ndim)):
        raise ValueError(f"`dims` (={tuple(dims)}) must hold each of the {array.ndim} axes of `x` once")
    if array.size == 0 or array.ndim < 2:
        return np.array(array.transpose(order), order="C")

    def build(b: Build, at: int) -> Sequence[str]:
        return [b.add("Transpose", "x", perm=(*(0,) * at, *(d + at for d in order)))]

    return _run(("permute", order), {"x": array}, build, order[0] != 0)[0]


@replayed
@checked
def transpose(x: npt.ArrayLike, dim0: int, dim1: int) -> Array:
    """Copy `x` with two axes exchanged (PyTorch's ``transpose``). It is its own gradient."""
    ndim = _array(x, "x").ndim
    order = list(range(ndim))
    first, second = _axis(dim0, ndim, "dim0"), _axis(dim1, ndim, "dim1")
    order[first], order[second] = order[second], order[first]
    return permute(x, order)


@replayed
@checked
def expand(x: npt.ArrayLike, shape: Sequence[int]) -> Array:
    """Copy `x` with axes of size 1 repeated to `shape`, which may have more axes in front; -1 keeps a size."""
    array = _array(x, "x")
    wanted = [int(size) for size in shape]
    extra = len(wanted) - array.ndim
    for i, size in enumerate(wanted):
        old = array.shape[i - extra] if i >= extra else None
        if size == -1 and old is not None:
            wanted[i] = old
        elif extra < 0 or size < 0 or (old is not None and old not in (1, size)):
            raise ValueError(f"`shape` (={tuple(shape)}) must be what `x` {array.shape} broadcasts to; -1 keeps a size")
    if array.size == 0 or 0 in wanted:
        return np.array(np.broadcast_to(array, wanted))
    given = array.reshape((1,) * extra + array.shape)
    target: tuple[int, ...] = tuple(wanted)
    if given.ndim > MAX_NDIM:
        raise ValueError(f"`shape` (={tuple(shape)}) has {len(target)} axes; supported: up to {MAX_NDIM}")
    if given.shape == target:
        return np.array(given)
    whole = given.shape[:1] != target[:1]

    def build(b: Build, at: int) -> Sequence[str]:
        return [b.add("Expand", "x", b.integers((1, *target) if at else (1, *target[1:])))]

    return _run(("expand", target[1:], target[:1] if whole else ()), {"x": given}, build, whole)[0]


@replayed
@checked
def expand_grad(grad_output: npt.ArrayLike, input_shape: Sequence[int]) -> Array:
    """Sum a gradient over what :func:`expand` repeated."""
    g = _array(grad_output, "grad_output")
    shape = _shape(input_shape, "input_shape")
    extra = g.ndim - len(shape)
    if extra < 0 or any(size not in (1, have) for size, have in zip(shape, g.shape[extra:], strict=False)):
        raise ValueError(f"`input_shape` (={shape}) must broadcast to that of `grad_output`, {g.shape}")
    axes = [i for i in range(g.ndim) if i < extra or (shape[i - extra] == 1 and g.shape[i] != 1)]
    return sum(g, axes, keepdims=True).reshape(shape) if axes else np.array(g)


@replayed
@checked
def sum(x: npt.ArrayLike, axis: Axes = None, keepdims: bool = False) -> Array:
    """Sum over axes, all of them by default.

    Parameters
    ----------
    x : ndarray of up to six axes, float32 or float64
    axis : int or sequence of int, optional
    keepdims : bool
        Keep the axes, with size 1.

    Notes
    -----
    Rows are added up in the array's type, rows with each other in double; the order depends on the shape alone.
    """
    return _reduced("ReduceSum", x, axis, keepdims)


@replayed
@checked
def mean(x: npt.ArrayLike, axis: Axes = None, keepdims: bool = False) -> Array:
    """Take the mean over axes, all of them by default; arguments as :func:`sum`."""
    return _reduced("ReduceMean", x, axis, keepdims)


@replayed
@checked
def amax(x: npt.ArrayLike, axis: Axes = None, keepdims: bool = False) -> Array:
    """Take the maximum over axes, all of them by default; NaN wins. Arguments as :func:`sum`."""
    return _reduced("ReduceMax", x, axis, keepdims)


@replayed
@checked
def amin(x: npt.ArrayLike, axis: Axes = None, keepdims: bool = False) -> Array:
    """Take the minimum over axes, all of them by default; NaN wins. Arguments as :func:`sum`."""
    return _reduced("ReduceMin", x, axis, keepdims)


@replayed
@checked
def sum_grad(
    grad_output: npt.ArrayLike, input_shape: Sequence[int], axis: Axes = None, keepdims: bool = False
) -> Array:
    """Repeat a gradient of :func:`sum` over what was summed."""
    shape = _shape(input_shape, "input_shape")
    return expand(_with_axes(grad_output, shape, axis, keepdims), shape)


@replayed
@checked
def mean_grad(
    grad_output: npt.ArrayLike, input_shape: Sequence[int], axis: Axes = None, keepdims: bool = False
) -> Array:
    """Repeat a gradient of :func:`mean`, over the number of elements, over what was averaged."""
    shape = _shape(input_shape, "input_shape")
    g = _with_axes(grad_output, shape, axis, keepdims)
    count = math.prod(shape) // max(g.size, 1)
    return expand(g / g.dtype.type(max(count, 1)), shape)


@replayed
@checked
def amax_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike, axis: Axes = None, keepdims: bool = False) -> Array:
    """Carry a gradient through :func:`amax`: equal maxima share it evenly, as in PyTorch.

    Pooling differs: there the first maximum of a window takes all of it.
    """
    return _extremum_grad("ReduceMax", grad_output, x, axis, keepdims)


@replayed
@checked
def amin_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike, axis: Axes = None, keepdims: bool = False) -> Array:
    """Carry a gradient through :func:`amin`: equal minima share it evenly, as in PyTorch."""
    return _extremum_grad("ReduceMin", grad_output, x, axis, keepdims)


def _reduced(op: str, x: npt.ArrayLike, axis: Axes, keepdims: bool) -> Array:
    array = _array(x, "x")
    axes = _axes(axis, array.ndim)
    kept = tuple(1 if i in axes else size for i, size in enumerate(array.shape))
    shape = kept if keepdims else tuple(size for i, size in enumerate(array.shape) if i not in axes)
    if array.size == 0:
        if op not in ("ReduceSum", "ReduceMean") and 0 in (array.shape[i] for i in axes):
            raise ValueError(f"`x` has shape {array.shape}; there is no extremum of nothing")
        return np.full(shape, 0 if op == "ReduceSum" else np.nan, array.dtype)
    if not axes:
        return np.array(array)

    def build(b: Build, at: int) -> Sequence[str]:
        return [b.add(op, "x", b.integers([i + at for i in axes]), keepdims=1)]

    return _run((op, axes), {"x": array}, build, 0 in axes)[0].reshape(shape)


def _extremum_grad(op: str, grad_output: npt.ArrayLike, x: npt.ArrayLike, axis: Axes, keepdims: bool) -> Array:
    array = _array(x, "x")
    g = _with_axes(grad_output, array.shape, axis, keepdims)
    same_dtype(grad_output=g, x=array)
    axes = _axes(axis, array.ndim)
    if array.size == 0 or not axes:
        return np.array(np.broadcast_to(g, array.shape))
    whole = 0 in axes

    def build(b: Build, at: int) -> Sequence[str]:
        inner = GraphBuilder()
        kind = b.builder.types["x"]
        inner.input("x", kind.dtype, kind.shape)
        axes_of = inner.constant(np.asarray([i + at for i in axes], np.int64))
        y = inner.add(op, ["x", axes_of], {"keepdims": 1})
        graph, found = backward(inner.build([y]), y, ["x"], seed="g")
        names = b.builder.inline(graph, {"x": "x", "g": "g"})
        return [names[found["x"]]]

    return _run((f"{op}_grad", axes), {"x": array, "g": g}, build, whole)[0]


def _run(
    key: tuple[Hashable, ...], arrays: dict[str, Array], build: Callable[[Build, int], Sequence[str]], whole: bool
) -> list[Array]:
    """Run images one by one, or, where the first axis is worked on, the `whole` arrays as one image."""
    if not whole:
        return run((*key, False), arrays, lambda b: build(b, 0))
    lifted = {name: array[np.newaxis] for name, array in arrays.items()}
    return [result[0] for result in run((*key, True), lifted, lambda b: build(b, 1))]


def _array(value: npt.ArrayLike, name: str) -> Array:
    array = floats(value, name)
    if array.ndim > MAX_NDIM:
        raise ValueError(f"`{name}` has {array.ndim} axes; supported: up to {MAX_NDIM}")
    return array


def _axis(value: int, ndim: int, name: str) -> int:
    if not isinstance(value, int) or not -ndim <= value < ndim:
        raise ValueError(f"`{name}` (={value}) must be an axis of an array of {ndim} axes")
    return int(value) % ndim


def _axes(axis: Axes, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    given = [axis] if isinstance(axis, (int, np.integer)) else list(axis)
    axes = sorted(_axis(int(a), ndim, "axis") for a in given)
    if len(set(axes)) != len(axes):
        raise ValueError(f"`axis` (={axis}) names an axis twice")
    return tuple(axes)


def _shape(value: Sequence[int], name: str) -> tuple[int, ...]:
    shape = tuple(int(size) for size in value)
    if len(shape) > MAX_NDIM or min(shape, default=0) < 0:
        raise ValueError(f"`{name}` (={shape}) must be up to {MAX_NDIM} sizes")
    return shape


def _without(array: Array, axis: int) -> tuple[int, ...]:
    return array.shape[:axis] + array.shape[axis + 1 :]


def _with_axes(grad_output: npt.ArrayLike, shape: tuple[int, ...], axis: Axes, keepdims: bool) -> Array:
    """A reduction's gradient with the reduced axes of size 1."""
    g = floats(grad_output, "grad_output")
    axes = _axes(axis, len(shape))
    kept = tuple(1 if i in axes else size for i, size in enumerate(shape))
    expected = kept if keepdims else tuple(size for i, size in enumerate(shape) if i not in axes)
    if g.shape != expected:
        raise ValueError(f"`grad_output` has shape {g.shape}; a reduction of {shape} over {axes} gives {expected}")
    return g.reshape(kept)
