"""Joining, slicing, transposing, repeating and reducing, with their gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ._wide import Array, wide
from ._wide import narrow as rounded

Axes = int | Sequence[int] | None


def concat(arrays: Sequence[npt.ArrayLike], axis: int = 1) -> Array:
    """Lay arrays end to end along an axis."""
    parts = [np.asarray(array) for array in arrays]
    shape = list(parts[0].shape)
    shape[axis] = sum_of([part.shape[axis] for part in parts])
    y = np.zeros(shape, parts[0].dtype)
    view, start = np.moveaxis(y, axis, 0), 0
    for part in parts:
        view[start : start + part.shape[axis]] = np.moveaxis(part, axis, 0)
        start += part.shape[axis]
    return y


def embedding(x: npt.ArrayLike, weight: npt.ArrayLike) -> Array:
    """Row ``x[...]`` of `weight` at each place; negative numbers count from the end."""
    indices, table = np.asarray(x), np.asarray(weight)
    y = np.zeros((*indices.shape, *table.shape[1:]), table.dtype)
    for place in np.ndindex(*indices.shape):
        y[place] = table[int(indices[place])]
    return y


def split(x: npt.ArrayLike, sizes: Sequence[int], axis: int = 1) -> list[Array]:
    """Cut an array into parts of `sizes` along an axis: the inverse, and the gradient, of :func:`concat`."""
    x = np.asarray(x)
    starts = [sum_of(sizes[:i]) for i in range(len(sizes))]
    return [narrow(x, axis, start, size) for start, size in zip(starts, sizes, strict=True)]


def narrow(x: npt.ArrayLike, axis: int, start: int, length: int) -> Array:
    """Take `length` indices of an axis from `start` on."""
    return np.take(np.asarray(x), np.arange(start, start + length), axis=axis)


def narrow_grad(grad_output: npt.ArrayLike, input_shape: Sequence[int], axis: int, start: int) -> Array:
    """Put a gradient back where :func:`narrow` took it from, among zeros."""
    g = np.asarray(grad_output)
    dx = np.zeros(tuple(input_shape), g.dtype)
    np.moveaxis(dx, axis, 0)[start : start + g.shape[axis]] = np.moveaxis(g, axis, 0)
    return dx


def permute(x: npt.ArrayLike, dims: Sequence[int]) -> Array:
    """Order the axes anew: axis i of the result is axis ``dims[i]`` of `x`."""
    x = np.asarray(x)
    y = np.empty(tuple(x.shape[d] for d in dims), x.dtype)
    for index in np.ndindex(*y.shape):
        source = [0] * x.ndim
        for place, d in zip(index, dims, strict=True):
            source[d] = place
        y[index] = x[tuple(source)]
    return y


def transpose(x: npt.ArrayLike, dim0: int, dim1: int) -> Array:
    """Exchange two axes."""
    return np.ascontiguousarray(np.swapaxes(np.asarray(x), dim0, dim1))


def expand(x: npt.ArrayLike, shape: Sequence[int]) -> Array:
    """Repeat axes of size 1 until `x` has `shape`; -1 keeps a size."""
    x = np.asarray(x)
    sizes = [x.shape[i - len(shape) + x.ndim] if size == -1 else size for i, size in enumerate(shape)]
    return np.asarray(np.zeros(sizes, x.dtype) + x if x.dtype.kind == "f" else np.broadcast_to(x, sizes))


def expand_grad(grad_output: npt.ArrayLike, input_shape: Sequence[int]) -> Array:
    """Sum a gradient over what :func:`expand` repeated."""
    g = np.asarray(grad_output)
    extra = g.ndim - len(input_shape)
    ones = tuple(i + extra for i, size in enumerate(input_shape) if size == 1)
    total = wide(g).sum(axis=(*range(extra), *ones), keepdims=True)
    return rounded(total.reshape(tuple(input_shape)), g.dtype)


def sum(x: npt.ArrayLike, axis: Axes = None, keepdims: bool = False) -> Array:
    """Sum over axes."""
    x = np.asarray(x)
    return rounded(wide(x).sum(axis=_tuple(axis), keepdims=keepdims), x.dtype)


def mean(x: npt.ArrayLike, axis: Axes = None, keepdims: bool = False) -> Array:
    """Take the mean over axes."""
    x = np.asarray(x)
    return rounded(wide(x).mean(axis=_tuple(axis), keepdims=keepdims), x.dtype)


def amax(x: npt.ArrayLike, axis: Axes = None, keepdims: bool = False) -> Array:
    """Take the maximum over axes; NaN wins."""
    return np.asarray(np.max(np.asarray(x), axis=_tuple(axis), keepdims=keepdims))


def amin(x: npt.ArrayLike, axis: Axes = None, keepdims: bool = False) -> Array:
    """Take the minimum over axes; NaN wins."""
    return np.asarray(np.min(np.asarray(x), axis=_tuple(axis), keepdims=keepdims))


def sum_grad(
    grad_output: npt.ArrayLike, input_shape: Sequence[int], axis: Axes = None, keepdims: bool = False
) -> Array:
    """Repeat a gradient over what was summed."""
    g = _kept(np.asarray(grad_output), len(input_shape), axis, keepdims)
    return expand(g, tuple(input_shape))


def mean_grad(
    grad_output: npt.ArrayLike, input_shape: Sequence[int], axis: Axes = None, keepdims: bool = False
) -> Array:
    """Repeat a gradient, over the number of elements, over what was averaged."""
    g = np.asarray(grad_output)
    count = np.prod(input_shape) / max(g.size, 1)
    return rounded(wide(sum_grad(g, input_shape, axis, keepdims)) / count, g.dtype)


def amax_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike, axis: Axes = None, keepdims: bool = False) -> Array:
    """Share a gradient evenly among the elements that are the maximum."""
    return _extremum_grad(np.max, grad_output, x, axis, keepdims)


def amin_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike, axis: Axes = None, keepdims: bool = False) -> Array:
    """Share a gradient evenly among the elements that are the minimum."""
    return _extremum_grad(np.min, grad_output, x, axis, keepdims)


def sum_of(sizes: Sequence[int]) -> int:
    """The sum of some ints."""
    return int(np.sum(np.asarray(sizes, np.int64)))


def _extremum_grad(
    find: Callable[..., Any], grad_output: npt.ArrayLike, x: npt.ArrayLike, axis: Axes, keepdims: bool
) -> Array:
    x = np.asarray(x)
    winners = x == find(x, axis=_tuple(axis), keepdims=True)
    share = wide(_kept(np.asarray(grad_output), x.ndim, axis, keepdims)) / winners.sum(_tuple(axis), keepdims=True)
    return rounded(np.where(winners, share, 0), x.dtype)


def _kept(g: Array, ndim: int, axis: Axes, keepdims: bool) -> Array:
    if keepdims:
        return g
    axes = range(ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    return np.expand_dims(g, tuple(int(a) for a in axes))


def _tuple(axis: Axes) -> int | tuple[int, ...] | None:
    return tuple(axis) if isinstance(axis, (list, tuple)) else axis  # type: ignore[return-value]
