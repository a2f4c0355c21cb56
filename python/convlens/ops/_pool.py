"""Maximum and average pooling with their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from .._arguments import checked
from .._core import max_pool_grad, pool_indices
from .._errors import UnsupportedError
from ..graph import Padding, Window, pair, resolve_padding
from ._call import KEPT, Array, Build, array_of, check_grad, hashable, images, replayed, run, shape_of

Ints = int | Sequence[int]


@overload
def max_pool2d(
    x: npt.ArrayLike,
    kernel_size: Ints,
    *,
    stride: Ints | None = ...,
    padding: Padding = ...,
    dilation: Ints = ...,
    ceil_mode: bool = ...,
    return_indices: Literal[False] = ...,
) -> Array: ...
@overload
def max_pool2d(
    x: npt.ArrayLike,
    kernel_size: Ints,
    *,
    stride: Ints | None = ...,
    padding: Padding = ...,
    dilation: Ints = ...,
    ceil_mode: bool = ...,
    return_indices: Literal[True],
) -> tuple[Array, npt.NDArray[np.int64]]: ...
@replayed
@checked
def max_pool2d(
    x: npt.ArrayLike,
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Array | tuple[Array, npt.NDArray[np.int64]]:
    """Take the largest of each window.

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W), float32 or float64
    kernel_size, stride, dilation : int or (height, width)
        `stride` is `kernel_size` when None.
    padding : int, (height, width), ((top, bottom), (left, right)), "same" or "valid"
        Padding never wins.
    ceil_mode : bool
        Round the output's size up, with windows that reach beyond the image.
    return_indices : bool
        Also return each winner's place in its image's channel, ``row * W + column``, as PyTorch does.

    Returns
    -------
    ndarray of shape (N, C, P, Q), or a pair of it and an int64 array of that shape

    Notes
    -----
    The first maximum of a tied window wins; NaN wins over everything.
    """
    x = images(x)
    window = _window(x.shape[1:], kernel_size, stride, padding, dilation, ceil_mode)
    if return_indices:
        _check_places("return_indices", window)

    def build(b: Build) -> Sequence[str]:
        attributes = _attributes(window)
        ops = ["MaxPool", "MaxPoolOffset"] if return_indices else ["MaxPool"]
        return [b.add(op, "x", **attributes) for op in ops]

    results = run(("max_pool2d", window, return_indices), {"x": x}, build)
    return (results[0], pool_indices(results[1], _sizes(window, *x.shape[2:]))) if return_indices else results[0]


@checked
def max_pool2d_grad(
    grad_output: npt.ArrayLike,
    indices: npt.ArrayLike,
    input_shape: Sequence[int],
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
) -> Array:
    """Give each window's gradient to its winner.

    Parameters
    ----------
    grad_output : ndarray of shape (N, C, P, Q), float32 or float64
    indices : ndarray of shape (N, C, P, Q), integers
        From :func:`max_pool2d` with ``return_indices=True``.
    input_shape : (N, C, H, W) or (C, H, W)
    kernel_size, stride, padding, dilation, ceil_mode
        As in :func:`max_pool2d`.

    Returns
    -------
    ndarray of shape (N, C, H, W)
    """
    dy, shape = images(grad_output, "grad_output"), shape_of(input_shape, "input_shape", 3)
    sizes, output_size = _checked_grad(
        shape, hashable(kernel_size), hashable(stride), hashable(padding), hashable(dilation), ceil_mode
    )
    check_grad(dy, shape[0], *output_size)
    places = array_of(indices, "indices")
    if places.shape != dy.shape or places.dtype.kind not in "iu":
        raise ValueError(
            f"`indices` is {places.dtype} of shape {places.shape}; it must be integers, of shape {dy.shape}"
        )
    made: Array = max_pool_grad(dy, np.ascontiguousarray(places, np.int64), sizes)
    return made


@replayed
@checked
def avg_pool2d(
    x: npt.ArrayLike,
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """Average each window.

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W), float32 or float64
    kernel_size, stride, padding, ceil_mode
        As in :func:`max_pool2d`.
    count_include_pad : bool
        Divide by the window's pixels within the padded image, instead of those within the image.

    Returns
    -------
    ndarray of shape (N, C, P, Q)
    """
    x = images(x)
    window = _window(x.shape[1:], kernel_size, stride, padding, 1, ceil_mode)
    extra: dict[str, Any] = {"count_include_pad": int(count_include_pad)}
    return run(
        ("avg_pool2d", window, count_include_pad),
        {"x": x},
        lambda b: [b.add("AveragePool", "x", **_attributes(window), **extra)],
    )[0]


@replayed
@checked
def avg_pool2d_grad(
    grad_output: npt.ArrayLike,
    input_shape: Sequence[int],
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """Spread each window's gradient evenly over its pixels; parameters as in :func:`avg_pool2d`."""
    dy, shape = images(grad_output, "grad_output"), shape_of(input_shape, "input_shape", 3)
    window = _window(shape, kernel_size, stride, padding, 1, ceil_mode)
    check_grad(dy, shape[0], *window.output_size((shape[1], shape[2])))
    extra: dict[str, Any] = {"count_include_pad": int(count_include_pad), "input_shape": shape}
    return run(
        ("avg_pool2d_grad", window, count_include_pad, shape),
        {"grad_output": dy},
        lambda b: [b.add("AveragePoolGrad", "grad_output", **_attributes(window), **extra)],
    )[0]


def _window(
    image: tuple[int, ...], kernel_size: Ints, stride: Ints | None, padding: Padding, dilation: Ints, ceil_mode: bool
) -> Window:
    return _checked_window(
        image, hashable(kernel_size), hashable(stride), hashable(padding), hashable(dilation), ceil_mode
    )


@lru_cache(maxsize=KEPT, typed=True)
def _checked_window(
    image: tuple[int, ...], kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Window:
    kernel, dilations = pair(kernel_size, "kernel_size"), pair(dilation, "dilation")
    strides = kernel if stride is None else pair(stride, "stride")
    pads = resolve_padding(padding, (image[1], image[2]), kernel, strides, dilations)
    window = Window(kernel, strides, pads, dilations, bool(ceil_mode))
    window.output_size((image[1], image[2]))
    window.check_covers((image[1], image[2]))
    return window


@lru_cache(maxsize=KEPT, typed=True)
def _checked_grad(
    image: tuple[int, ...], kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[tuple[int, ...], tuple[int, int]]:
    """What a gradient by indices reads, and the size of what it is the gradient of."""
    window = _checked_window(image, kernel_size, stride, padding, dilation, ceil_mode)
    _check_places("indices", window)
    return _sizes(window, *image[1:]), window.output_size((image[1], image[2]))


def _attributes(window: Window) -> dict[str, Any]:
    return {
        "kernel_shape": window.kernel,
        "strides": window.stride,
        "pads": window.pads,
        "dilations": window.dilation,
        "ceil_mode": int(window.ceil_mode),
    }


def _check_places(name: str, window: Window) -> None:
    if window.kernel[0] * window.kernel[1] > 256:
        raise UnsupportedError(f"`{name}` of a window {window.kernel}: windows of up to 256 are supported")


def _sizes(window: Window, height: int, width: int) -> tuple[int, ...]:
    """What the conversions of indices read: plane, kernel, stride, padding at top and left, dilation."""
    return (height, width, *window.kernel, *window.stride, *window.pads[:2], *window.dilation)
