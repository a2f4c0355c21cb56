"""Convolution and pooling of signals (N, C, L): those of images of one row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _conv, _pool, _resize
from ._wide import Array

Ends = int | Sequence[int] | str


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
    """Convolve signals (N, C, L) with filters (K, C / groups, S); `padding` may be (left, right)."""
    options = _options(stride=stride, padding=padding, dilation=dilation)
    return _signal(_conv.conv2d(_row(x), _row(weight), bias, groups=groups, **options))


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
    """Carry a gradient (N, K, P) to conv1d's input (N, C, L)."""
    options = _options(stride=stride, padding=padding, dilation=dilation)
    dy, w = _row(grad_output), _row(weight)
    return _signal(_conv.conv2d_grad_input(dy, w, _row_shape(input_shape), groups=groups, **options))


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
    """Carry a gradient (N, K, P) to conv1d's weight (K, C / groups, S)."""
    options = _options(stride=stride, padding=padding, dilation=dilation)
    dy, x = _row(grad_output), _row(x)
    return _signal(_conv.conv2d_grad_weight(dy, x, _row_shape(weight_shape), groups=groups, **options))


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
    """Spread each place of signals (N, C, L) over a window, by filters (C, K / groups, S)."""
    options = _options(stride=stride, padding=padding, dilation=dilation)
    options["output_padding"] = (0, output_padding)
    return _signal(_conv.conv_transpose2d(_row(x), _row(weight), bias, groups=groups, **options))


def max_pool1d(
    x: npt.ArrayLike,
    kernel_size: int,
    *,
    stride: int | None = None,
    padding: Ends = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Array | tuple[Array, Array]:
    """Take the maximum of each window of signals (N, C, L), and its place."""
    options = _options(stride=kernel_size if stride is None else stride, padding=padding, dilation=dilation)
    found = _pool.max_pool2d(_row(x), (1, kernel_size), ceil_mode=ceil_mode, return_indices=return_indices, **options)
    return (_signal(found[0]), _signal(found[1])) if isinstance(found, tuple) else _signal(found)


def avg_pool1d(
    x: npt.ArrayLike,
    kernel_size: int,
    *,
    stride: int | None = None,
    padding: Ends = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """Average each window of signals (N, C, L)."""
    options = _options(stride=kernel_size if stride is None else stride, padding=padding)
    return _signal(
        _pool.avg_pool2d(_row(x), (1, kernel_size), ceil_mode=ceil_mode, count_include_pad=count_include_pad, **options)
    )


def adaptive_avg_pool1d(x: npt.ArrayLike, output_size: int) -> Array:
    """Average over adaptive windows of signals (N, C, L)."""
    return _signal(_resize.adaptive_avg_pool2d(_row(x), (1, output_size)))


def adaptive_max_pool1d(x: npt.ArrayLike, output_size: int) -> Array:
    """Take the maximum of adaptive windows of signals (N, C, L)."""
    return _signal(_resize.adaptive_max_pool2d(_row(x), (1, output_size)))


def _row(array: npt.ArrayLike) -> Array:
    value = np.asarray(array)
    if value.ndim != 3:
        raise ValueError(f"an array of shape {value.shape} was given; it must have three axes, as (N, C, L)")
    return value[:, :, np.newaxis]


def _signal(array: Array) -> Array:
    return array[:, :, 0]


def _row_shape(shape: Sequence[int]) -> tuple[int, ...]:
    return (int(shape[0]), int(shape[1]), 1, int(shape[2]))


def _options(**given: Any) -> dict[str, Any]:
    """Keywords of one axis as those of two; what pads with a number pads the row alone."""
    padding = given.pop("padding")
    if not isinstance(padding, str):
        ends = tuple(padding) if isinstance(padding, Sequence) else (padding, padding)
        padding = ((0, 0), ends)
    return {**{name: (1, value) for name, value in given.items()}, "padding": padding}
