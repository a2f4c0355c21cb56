"""Convolution and pooling of signals (N, C, L): those of images of one row, by the same kernels."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from .._arguments import checked
from ._adaptive import adaptive_avg_pool2d, adaptive_max_pool2d
from ._call import Array, array_of, floats, replayed
from ._conv import conv2d, conv2d_grad_bias, conv2d_grad_input, conv2d_grad_weight
from ._conv_transpose import conv_transpose2d, conv_transpose2d_grad_input, conv_transpose2d_grad_weight
from ._pool import avg_pool2d, avg_pool2d_grad, max_pool2d, max_pool2d_grad

Ends = int | Sequence[int] | str


@replayed
@checked
def conv1d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    *,
    stride: int = 1,
    padding: Ends = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    """Convolve signals.

    Parameters
    ----------
    x : ndarray of shape (N, C, L), float32 or float64
    weight : ndarray of shape (K, C / groups, S), x's dtype
    bias : ndarray of shape (K,), optional
    stride, dilation : int
    padding : int, (left, right), "same" or "valid"
    groups : int

    Returns
    -------
    ndarray of shape (N, K, P)

    Notes
    -----
    As :func:`convlens.ops.conv2d` on ``x[:, :, None]``.

    Examples
    --------
    >>> conv1d(np.ones((1, 1, 4), np.float32), np.ones((1, 1, 3), np.float32), padding=1)
    array([[[2., 3., 3., 2.]]], dtype=float32)
    """
    options = _options(stride=stride, padding=padding, dilation=dilation)
    return _signal(conv2d(_row(x), _row(weight, "weight"), bias, groups=groups, **options))


@replayed
@checked
def conv1d_grad_input(
    grad_output: npt.ArrayLike,
    weight: npt.ArrayLike,
    input_shape: Sequence[int],
    *,
    stride: int = 1,
    padding: Ends = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    """Carry a gradient (N, K, P) from :func:`conv1d`'s output to its input, of shape (N, C, L) or (C, L)."""
    options = _options(stride=stride, padding=padding, dilation=dilation)
    dy, w = _row(grad_output, "grad_output"), _row(weight, "weight")
    return _signal(conv2d_grad_input(dy, w, _row_shape(input_shape, "input_shape"), groups=groups, **options))


@replayed
@checked
def conv1d_grad_weight(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    weight_shape: Sequence[int],
    *,
    stride: int = 1,
    padding: Ends = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    """Sum over the signals the gradient (N, K, P) of :func:`conv1d`'s weight, of shape (K, C / groups, S)."""
    options = _options(stride=stride, padding=padding, dilation=dilation)
    dy, shape = _row(grad_output, "grad_output"), _row_shape(weight_shape, "weight_shape")
    return _signal(conv2d_grad_weight(dy, _row(x), shape, groups=groups, **options))


@replayed
def conv1d_grad_bias(grad_output: npt.ArrayLike) -> Array:
    """Sum a gradient (N, K, P) over signals and places: that of the bias, (K,)."""
    return conv2d_grad_bias(_row(grad_output, "grad_output"))


@replayed
@checked
def conv_transpose1d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    *,
    stride: int = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int = 0,
    groups: int = 1,
    dilation: int = 1,
) -> Array:
    """Spread each place of a signal over a window.

    Parameters
    ----------
    x : ndarray of shape (N, C, L), float32 or float64
    weight : ndarray of shape (C, K / groups, S), x's dtype
    bias : ndarray of shape (K,), optional
    padding : int or (left, right)
    stride, output_padding, groups, dilation : int
        As of :func:`convlens.ops.conv_transpose2d`.

    Returns
    -------
    ndarray of shape (N, K, P)
        With ``P = (L - 1) stride + dilation (S - 1) + 1 + output_padding - left - right``.
    """
    options = _options(stride=stride, padding=padding, dilation=dilation, output_padding=output_padding)
    return _signal(conv_transpose2d(_row(x), _row(weight, "weight"), bias, groups=groups, **options))


@replayed
@checked
def conv_transpose1d_grad_input(
    grad_output: npt.ArrayLike,
    weight: npt.ArrayLike,
    input_shape: Sequence[int],
    *,
    stride: int = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int = 0,
    groups: int = 1,
    dilation: int = 1,
) -> Array:
    """Carry a gradient (N, K, P) from :func:`conv_transpose1d`'s output to its input, of shape (N, C, L) or (C, L)."""
    options = _options(stride=stride, padding=padding, dilation=dilation, output_padding=output_padding)
    dy, w, shape = _row(grad_output, "grad_output"), _row(weight, "weight"), _row_shape(input_shape, "input_shape")
    return _signal(conv_transpose2d_grad_input(dy, w, shape, groups=groups, **options))


@replayed
@checked
def conv_transpose1d_grad_weight(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    weight_shape: Sequence[int],
    *,
    stride: int = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int = 0,
    groups: int = 1,
    dilation: int = 1,
) -> Array:
    """Sum over the signals the gradient (N, K, P) of :func:`conv_transpose1d`'s weight (C, K / groups, S)."""
    options = _options(stride=stride, padding=padding, dilation=dilation, output_padding=output_padding)
    dy, shape = _row(grad_output, "grad_output"), _row_shape(weight_shape, "weight_shape")
    return _signal(conv_transpose2d_grad_weight(dy, _row(x), shape, groups=groups, **options))


@replayed
@checked
def max_pool1d(
    x: npt.ArrayLike,
    kernel_size: int,
    *,
    stride: int | None = None,
    padding: Ends = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Array | tuple[Array, npt.NDArray[np.int64]]:
    """Take the largest of each window of signals (N, C, L); parameters as of :func:`convlens.ops.max_pool2d`.

    Returns
    -------
    ndarray of shape (N, C, P), or a pair of it and the places in the signal, int64 of that shape
    """
    options = _pool_options(kernel_size, stride, padding, ceil_mode, dilation=dilation)
    if return_indices:
        y, places = max_pool2d(_row(x), return_indices=True, **options)
        return _signal(y), _signal(places)
    return _signal(max_pool2d(_row(x), **options))


@checked
def max_pool1d_grad(
    grad_output: npt.ArrayLike,
    indices: npt.ArrayLike,
    input_shape: Sequence[int],
    kernel_size: int,
    *,
    stride: int | None = None,
    padding: Ends = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> Array:
    """Give the gradient (N, C, P) of each window to its winner; `indices` are those of :func:`max_pool1d`."""
    places = array_of(indices, "indices")
    places = places[:, :, np.newaxis] if places.ndim == 3 else places
    options = _pool_options(kernel_size, stride, padding, ceil_mode, dilation=dilation)
    dy = _row(grad_output, "grad_output")
    return _signal(max_pool2d_grad(dy, places, _row_shape(input_shape, "input_shape"), **options))


@replayed
@checked
def avg_pool1d(
    x: npt.ArrayLike,
    kernel_size: int,
    *,
    stride: int | None = None,
    padding: Ends = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """Average each window of signals (N, C, L); parameters as of :func:`convlens.ops.avg_pool2d`."""
    options = _pool_options(kernel_size, stride, padding, ceil_mode, count_include_pad=count_include_pad)
    return _signal(avg_pool2d(_row(x), **options))


@replayed
@checked
def avg_pool1d_grad(
    grad_output: npt.ArrayLike,
    input_shape: Sequence[int],
    kernel_size: int,
    *,
    stride: int | None = None,
    padding: Ends = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """Spread the gradient (N, C, P) of each window evenly over its places."""
    options = _pool_options(kernel_size, stride, padding, ceil_mode, count_include_pad=count_include_pad)
    dy = _row(grad_output, "grad_output")
    return _signal(avg_pool2d_grad(dy, _row_shape(input_shape, "input_shape"), **options))


@replayed
@checked
def adaptive_avg_pool1d(x: npt.ArrayLike, output_size: int) -> Array:
    """Average `output_size` windows that cover signals (N, C, L); see :func:`convlens.ops.adaptive_avg_pool2d`."""
    return _signal(adaptive_avg_pool2d(_row(x), (1, output_size)))


@replayed
@checked
def adaptive_max_pool1d(x: npt.ArrayLike, output_size: int) -> Array:
    """Take the largest of `output_size` windows that cover signals (N, C, L)."""
    return _signal(adaptive_max_pool2d(_row(x), (1, output_size)))


def _row(value: npt.ArrayLike, name: str = "x") -> Array:
    axes = {"weight": "(K, C / groups, S)", "grad_output": "(N, K, P)"}.get(name, "(N, C, L)")
    return floats(value, name, 3, axes)[:, :, np.newaxis]


def _signal(array: Array) -> Array:
    return array[:, :, 0]


def _row_shape(shape: Sequence[int], name: str) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in shape)
    if len(sizes) not in (2, 3):
        raise ValueError(f"`{name}` (={sizes}) must be sizes of (N, C, L), the batch may be left out")
    return (*sizes[:-1], 1, sizes[-1])


def _pool_options(kernel_size: int, stride: int | None, padding: Ends, ceil_mode: bool, **more: Any) -> dict[str, Any]:
    options = _options(stride=kernel_size if stride is None else stride, padding=padding)
    if "dilation" in more:
        more["dilation"] = (1, _one("dilation", more["dilation"]))
    return {"kernel_size": (1, _one("kernel_size", kernel_size)), "ceil_mode": ceil_mode, **options, **more}


def _options(*, padding: Ends, **given: Any) -> dict[str, Any]:
    """Keywords of one axis as those of two: the row is one window high and is not padded."""
    options: dict[str, Any] = {
        name: (int(name != "output_padding"), _one(name, value)) for name, value in given.items()
    }
    if isinstance(padding, str):
        return {**options, "padding": padding}
    ends = tuple(padding) if isinstance(padding, Sequence) else (padding, padding)
    if len(ends) != 2:
        raise ValueError(f"`padding` (={padding!r}) must be an int or (left, right)")
    return {**options, "padding": ((0, 0), ends)}


def _one(name: str, value: Any) -> int:
    try:
        (number,) = value if isinstance(value, (Sequence, np.ndarray)) else (value,)
        return index(number)
    except (TypeError, ValueError):
        raise ValueError(f"`{name}` (={value!r}) must be an int: a signal has one axis") from None
