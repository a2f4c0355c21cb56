"""Convolution (cross-correlation, as in every deep-learning library) and its gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._arguments import checked
from ..graph import Padding, Window, pair, resolve_padding
from ._call import Array, Build, check_grad, floats, hashable, images, replayed, run, same_dtype, same_images, shape_of

Ints = int | Sequence[int]


@replayed
@checked
def conv2d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> Array:
    """Convolve images.

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W), float32 or float64
        NaN and infinity pass through; N may be 0.
    weight : ndarray of shape (K, C / groups, R, S), or (R, S), of x's dtype
        A filter (R, S) is applied to each channel by itself, as image filters are: the result has C channels.
    bias : ndarray of shape (K,), optional
    stride, dilation : int or (height, width)
    padding : int, (height, width), ((top, bottom), (left, right)), "same" or "valid"
        ``"same"`` gives ``ceil(H / stride)`` rows.
    groups : int
        Divides C and K; C for a depthwise convolution.

    Returns
    -------
    ndarray of shape (N, K, P, Q), x's dtype

    Raises
    ------
    TypeError
        When an array is not float32 or float64, or they differ.
    ValueError
        When shapes do not fit; the parameter, the rule and the remedy are named.

    Notes
    -----
    ``y[n, k, p, q] = bias[k] + sum of x[n, c, p * stride - top + r * dilation, ...] * weight[k, c, r, s]``.
    The result has the same bits for any batch size and number of threads.

    Examples
    --------
    >>> photograph = np.ones((1, 3, 5, 6), np.float32)
    >>> conv2d(photograph, np.array([[-1, -1], [-1, -1]], np.float32)).shape
    (1, 3, 4, 5)
    """
    x, weight = images(x), _weight(weight)
    if weight.ndim == 2:
        if groups != 1:
            raise ValueError(f"`groups` (={groups}) must be 1 when `weight` is one filter (R, S) for every channel")
        groups = x.shape[1]
        weight = np.ascontiguousarray(np.broadcast_to(weight, (groups, 1, *weight.shape)))
    arrays = {"x": x, "weight": weight}
    if bias is not None:
        arrays["bias"] = floats(bias, "bias", 1, "(K,)")
    same_dtype(**arrays)
    window = (hashable(stride), hashable(padding), hashable(dilation), groups)

    def build(b: Build) -> Sequence[str]:
        attributes = _attributes(x.shape[1:], weight.shape, stride, padding, dilation, groups)
        return [b.add("Conv", *arrays, **attributes)]

    return run(("conv2d", *window), arrays, build, ("weight", "bias"))[0]


@replayed
@checked
def conv2d_grad_input(
    grad_output: npt.ArrayLike,
    weight: npt.ArrayLike,
    input_shape: Sequence[int],
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> Array:
    """Carry a gradient from a convolution's output to its input: the transposed convolution.

    Parameters
    ----------
    grad_output : ndarray of shape (N, K, P, Q), float32 or float64
    weight : ndarray of shape (K, C / groups, R, S)
    input_shape : (N, C, H, W) or (C, H, W)
        Of the input, which stride and padding leave open.
    stride, padding, dilation, groups
        As in :func:`conv2d`.

    Returns
    -------
    ndarray of shape (N, C, H, W)
    """
    dy, w = images(grad_output, "grad_output"), _weight(weight)
    shape = shape_of(input_shape, "input_shape", 3)
    arrays = {"grad_output": dy, "weight": w}
    same_dtype(**arrays)
    window = (hashable(stride), hashable(padding), hashable(dilation), groups, shape)

    def build(b: Build) -> Sequence[str]:
        attributes = _attributes(shape, w.shape, stride, padding, dilation, groups)
        _check_grad(dy, shape, w.shape, attributes)
        return [b.add("ConvGradInput", "grad_output", "weight", input_shape=shape, **attributes)]

    return run(("conv2d_grad_input", *window), arrays, build, ("weight",))[0]


@replayed
@checked
def conv2d_grad_weight(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    weight_shape: Sequence[int],
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> Array:
    """Sum over the images the gradient of a convolution's weight.

    Parameters
    ----------
    grad_output : ndarray of shape (N, K, P, Q), float32 or float64
    x : ndarray of shape (N, C, H, W)
    weight_shape : (K, C / groups, R, S)
    stride, padding, dilation, groups
        As in :func:`conv2d`.

    Returns
    -------
    ndarray of shape `weight_shape`
    """
    dy, x = images(grad_output, "grad_output"), images(x)
    shape = tuple(int(v) for v in weight_shape)
    if len(shape) != 4 or min(shape) < 1:
        raise ValueError(f"`weight_shape` (={shape}) must be (K, C / groups, R, S)")
    arrays = {"grad_output": dy, "x": x}
    same_dtype(**arrays)
    same_images(**arrays)
    window = (hashable(stride), hashable(padding), hashable(dilation), groups, shape)

    def build(b: Build) -> Sequence[str]:
        attributes = _attributes(x.shape[1:], shape, stride, padding, dilation, groups)
        _check_grad(dy, x.shape[1:], shape, attributes)
        return [b.add("ConvGradWeight", "grad_output", "x", weight_shape=shape, **attributes)]

    return run(("conv2d_grad_weight", *window), arrays, build)[0]


@replayed
def conv2d_grad_bias(grad_output: npt.ArrayLike) -> Array:
    """Sum a gradient (N, K, P, Q) over images and pixels: that of the bias, (K,)."""
    dy = images(grad_output, "grad_output")
    return run(
        ("conv2d_grad_bias",),
        {"grad_output": dy},
        lambda b: [b.add("ReduceSum", "grad_output", b.integers([0, 2, 3]), keepdims=0)],
    )[0]


def _weight(value: npt.ArrayLike) -> Array:
    weight = floats(value, "weight")
    if weight.ndim not in (2, 4) or 0 in weight.shape:
        raise ValueError(f"`weight` has shape {weight.shape}; it must be (K, C / groups, R, S), or one filter (R, S)")
    return weight


def _check_grad(dy: Array, image: tuple[int, ...], weight: tuple[int, ...], attributes: dict[str, Any]) -> None:
    kernel, strides, pads, dilations = (attributes[n] for n in ("kernel_shape", "strides", "pads", "dilations"))
    check_grad(dy, weight[0], *Window(kernel, strides, pads, dilations).output_size((image[1], image[2])))


def _attributes(
    image: tuple[int, ...],
    weight: tuple[int, ...],
    stride: Ints,
    padding: Padding,
    dilation: Ints,
    groups: int,
) -> dict[str, Any]:
    """ONNX's attributes of a convolution, checked against the shapes (C, H, W) and (K, C / groups, R, S)."""
    if len(weight) != 4:
        raise ValueError(f"`weight` has shape {weight}; it must be (K, C / groups, R, S)")
    channels, out_channels = image[0], weight[0]
    if channels % groups or out_channels % groups:
        which, value = ("in_channels", channels) if channels % groups else ("out_channels", out_channels)
        raise ValueError(f"`{which}` (={value}) must be divisible by `groups` (={groups})")
    if weight[1] * groups != channels:
        raise ValueError(
            f"`weight` {weight} takes {weight[1]} x `groups` (={groups}) channels, the images have {channels}; "
            "it must be (K, C / groups, R, S)"
        )
    kernel, strides, dilations = weight[2:], pair(stride, "stride"), pair(dilation, "dilation")
    size = (image[1], image[2])
    pads = resolve_padding(padding, size, (kernel[0], kernel[1]), strides, dilations)
    Window((kernel[0], kernel[1]), strides, pads, dilations).output_size(size)
    return {"kernel_shape": kernel, "strides": strides, "pads": pads, "dilations": dilations, "group": groups}
