"""Pooling and its gradients: one loop over windows, each cut to the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ..graph import Padding, Window, pair, resolve_padding
from ._wide import Array, images, narrow, wide


def max_pool2d(
    x: npt.ArrayLike,
    kernel_size: int | Sequence[int],
    *,
    stride: int | Sequence[int] | None = None,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Array | tuple[Array, Array]:
    """Take the maximum of each window.

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W), float32 or float64
    kernel_size, stride, dilation : int or (height, width)
        `stride` is `kernel_size` when None.
    padding : int, (height, width), ((top, bottom), (left, right)), "same" or "valid"
        Padding never wins.
    ceil_mode : bool
        Round the output's size up; the last window still starts inside the image or its leading padding.
    return_indices : bool
        Also return where each maximum is, as ``row * W + column`` (int64).

    Returns
    -------
    ndarray of shape (N, C, P, Q), or it and the indices

    Notes
    -----
    Of equal values the first one, row by row, wins; a NaN wins over everything.
    """
    x = images(x)
    y, _, index = _max_pool(x, pool_window(x, kernel_size, stride, padding, dilation, ceil_mode))
    return (y, index) if return_indices else y


def max_pool2d_offset(
    x: npt.ArrayLike,
    kernel_size: int | Sequence[int],
    *,
    stride: int | Sequence[int] | None = None,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> Array:
    """Find the place of each window's winner, ``ky * kernel_width + kx``, as uint8; parameters as max_pool2d's."""
    x = images(x)
    return _max_pool(x, pool_window(x, kernel_size, stride, padding, dilation, ceil_mode))[1]


def max_pool2d_grad(
    grad_output: npt.ArrayLike,
    offset: npt.ArrayLike,
    input_shape: Sequence[int],
    kernel_size: int | Sequence[int],
    *,
    stride: int | Sequence[int] | None = None,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> Array:
    """Add each window's gradient to its winner.

    Parameters
    ----------
    grad_output : ndarray of shape (N, C, P, Q)
    offset : ndarray of shape (N, C, P, Q), uint8
        Winners, from :func:`max_pool2d_offset`.
    input_shape : (N, C, H, W)
    kernel_size, stride, padding, dilation, ceil_mode
        As in :func:`max_pool2d`.

    Returns
    -------
    ndarray of shape `input_shape`
    """
    dy, offset = wide(images(grad_output, "grad_output")), images(offset, "offset")
    dx = np.zeros(tuple(input_shape), dy.dtype)
    window = pool_window(dx, kernel_size, stride, padding, dilation, ceil_mode)
    _expect(dy, dx, window)
    for i, j, rows, columns in _windows(window, dx.shape[2:]):
        for r, row in rows:
            for s, column in columns:
                won = offset[:, :, i, j] == r * window.kernel[1] + s
                dx[:, :, row, column] += np.where(won, dy[:, :, i, j], 0)
    return narrow(dx, np.asarray(grad_output).dtype)


def avg_pool2d(
    x: npt.ArrayLike,
    kernel_size: int | Sequence[int],
    *,
    stride: int | Sequence[int] | None = None,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """Average each window.

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W), float32 or float64
    kernel_size, stride, padding, dilation, ceil_mode
        As in :func:`max_pool2d`.
    count_include_pad : bool
        Divide by the window's pixels within the padded image, instead of those within the image. True is PyTorch's
        default; ONNX's is 0.

    Returns
    -------
    ndarray of shape (N, C, P, Q)
    """
    x = images(x)
    window = pool_window(x, kernel_size, stride, padding, dilation, ceil_mode)
    accumulator = wide(x)
    y = np.zeros((*x.shape[:2], *window.output_size((x.shape[2], x.shape[3]))), accumulator.dtype)
    for i, j, rows, columns in _windows(window, x.shape[2:]):
        total = sum(accumulator[:, :, row, column] for _, row in rows for _, column in columns)
        y[:, :, i, j] = total / _count(window, x.shape[2:], i, j, count_include_pad)
    return narrow(y, x.dtype)


def avg_pool2d_grad(
    grad_output: npt.ArrayLike,
    input_shape: Sequence[int],
    kernel_size: int | Sequence[int],
    *,
    stride: int | Sequence[int] | None = None,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """Spread each window's gradient evenly over its pixels: the transpose of :func:`avg_pool2d`."""
    dy = wide(images(grad_output, "grad_output"))
    dx = np.zeros(tuple(input_shape), dy.dtype)
    window = pool_window(dx, kernel_size, stride, padding, dilation, ceil_mode)
    _expect(dy, dx, window)
    for i, j, rows, columns in _windows(window, dx.shape[2:]):
        share = dy[:, :, i, j] / _count(window, dx.shape[2:], i, j, count_include_pad)
        for _, row in rows:
            for _, column in columns:
                dx[:, :, row, column] += share
    return narrow(dx, np.asarray(grad_output).dtype)


def pool_window(
    x: Array,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None,
    padding: Padding,
    dilation: int | Sequence[int],
    ceil_mode: bool,
) -> Window:
    """The window of a pool, checked: each covers at least one pixel."""
    kernel, dilations = pair(kernel_size, "kernel_size"), pair(dilation, "dilation")
    strides = kernel if stride is None else pair(stride, "stride")
    size = (int(x.shape[2]), int(x.shape[3]))
    window = Window(kernel, strides, resolve_padding(padding, size, kernel, strides, dilations), dilations, ceil_mode)
    window.check_covers(size)
    return window


def _max_pool(x: Array, window: Window) -> tuple[Array, Array, Array]:
    """Maxima, their places in their windows, and their places in the image."""
    if window.kernel[0] * window.kernel[1] > 256:
        raise ValueError(f"`kernel_size` (={window.kernel}) may have 256 elements at most: an offset is a uint8")
    shape = (*x.shape[:2], *window.output_size((x.shape[2], x.shape[3])))
    y, offset, index = np.zeros(shape, x.dtype), np.zeros(shape, np.uint8), np.zeros(shape, np.int64)
    for i, j, rows, columns in _windows(window, x.shape[2:]):
        places = [(r, s, row, column) for r, row in rows for s, column in columns]
        values = np.stack([x[:, :, row, column] for _, _, row, column in places])
        winner = values.argmax(axis=0)  # the first of equals; the first NaN if there is one
        y[:, :, i, j] = np.take_along_axis(values, winner[np.newaxis], 0)[0]
        offset[:, :, i, j] = np.array([r * window.kernel[1] + s for r, s, _, _ in places])[winner]
        index[:, :, i, j] = np.array([row * x.shape[3] + column for _, _, row, column in places])[winner]
    return y, offset, index


_Places = list[tuple[int, int]]


def _windows(window: Window, size: Sequence[int]) -> Iterator[tuple[int, int, _Places, _Places]]:
    """Each output pixel with its window's rows and columns inside the image, as (place in window, place in image)."""
    height, width = int(size[0]), int(size[1])
    rows, columns = window.output_size((height, width))
    for i in range(rows):
        for j in range(columns):
            yield i, j, _inside(window, 0, i, height), _inside(window, 1, j, width)


def _inside(window: Window, axis: int, output: int, size: int) -> _Places:
    first = output * window.stride[axis] - window.pads[axis]
    places = [(k, first + k * window.dilation[axis]) for k in range(window.kernel[axis])]
    return [(k, place) for k, place in places if 0 <= place < size]


def _count(window: Window, size: Sequence[int], i: int, j: int, include_pad: bool) -> int:
    """The divisor of an average: the window's pixels in the image, or in the padded image."""
    count = 1
    for axis, output in enumerate((i, j)):
        before, after = (window.pads[axis], window.pads[axis + 2]) if include_pad else (0, 0)
        first = output * window.stride[axis] - window.pads[axis]
        places = (first + k * window.dilation[axis] for k in range(window.kernel[axis]))
        count *= sum(-before <= place < size[axis] + after for place in places)
    return count


def _expect(dy: Array, dx: Array, window: Window) -> None:
    wanted = (*dx.shape[:2], *window.output_size((dx.shape[2], dx.shape[3])))
    if dy.shape != wanted:
        raise ValueError(f"`grad_output` has shape {dy.shape}; it must be {wanted}, the output's")
