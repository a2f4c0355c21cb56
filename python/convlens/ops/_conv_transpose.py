"""Transposed convolution and its gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy.typing as npt

from .._arguments import checked
from ..graph import Padding, Window, pair, resolve_padding, transpose, window_attributes
from ._call import Array, Build, floats, images, replayed, run, same_dtype, same_images, shape_of

Ints = int | Sequence[int]


@replayed
@checked
def conv_transpose2d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
) -> Array:
    """Spread each pixel over a window: the transpose of a convolution ("deconvolution"), with a bias.

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W), float32 or float64
    weight : ndarray of shape (C, K / groups, R, S), x's dtype
    bias : ndarray of shape (K,), optional
    stride, dilation : int or (height, width)
    padding : int, (height, width) or ((top, bottom), (left, right))
        Rows and columns cut off the result, as that of the convolution which this transposes.
    output_padding : int or (height, width)
        Rows and columns added at the bottom and right; each less than `stride` plus the padding there.
    groups : int
        Divides C and K.

    Returns
    -------
    ndarray of shape (N, K, P, Q), x's dtype
        With ``P = (H - 1) stride + dilation (R - 1) + 1 + output_padding - top - bottom``.

    Raises
    ------
    TypeError, ValueError
        When arrays differ in dtype or shapes do not fit; the parameter, the rule and the remedy are named.

    Notes
    -----
    ``y[n, k, i stride + r dilation - top, ...] = bias[k] + sum of x[n, c, i, ...] weight[c, k, r, s]``: the input
    gradient of :func:`convlens.ops.conv2d`, by the same kernel.

    Examples
    --------
    >>> import numpy as np
    >>> conv_transpose2d(np.ones((1, 1, 2, 2), np.float32), np.ones((1, 1, 2, 2), np.float32), stride=2)[0, 0, 0]
    array([1., 1., 1., 1.], dtype=float32)
    """
    x, weight = images(x), _filters(weight)
    arrays = {"x": x, "weight": weight}
    if bias is not None:
        arrays["bias"] = floats(bias, "bias", 1, "(K,)")
    same_dtype(**arrays)
    window = _window(weight.shape, stride, padding, dilation)
    extra = pair(output_padding, "output_padding")
    if x.shape[1] % groups:
        raise ValueError(f"`in_channels` (={x.shape[1]}) must be divisible by `groups` (={groups})")
    if weight.shape[0] != x.shape[1]:
        raise ValueError(
            f"`weight` {weight.shape} is for {weight.shape[0]} channels, the input has {x.shape[1]}; it must be "
            "(C, K / groups, R, S)"
        )
    if "bias" in arrays and len(arrays["bias"]) != weight.shape[1] * groups:
        raise ValueError(f"`bias` has {len(arrays['bias'])} numbers; it must have {weight.shape[1] * groups}")
    transpose(window, (x.shape[2], x.shape[3]), extra)

    def build(b: Build) -> Sequence[str]:
        return [b.add("ConvTranspose", *arrays, group=groups, output_padding=extra, **window_attributes(window))]

    return run(("conv_transpose2d", window, groups, extra), arrays, build, ("weight", "bias"))[0]


@replayed
@checked
def conv_transpose2d_grad_input(
    grad_output: npt.ArrayLike,
    weight: npt.ArrayLike,
    input_shape: Sequence[int],
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
) -> Array:
    """Carry a gradient from a transposed convolution's output to its input: a convolution.

    Parameters
    ----------
    grad_output : ndarray of shape (N, K, P, Q), float32 or float64
    weight : ndarray of shape (C, K / groups, R, S)
    input_shape : (N, C, H, W) or (C, H, W)
    stride, padding, output_padding, groups, dilation
        As in :func:`conv_transpose2d`.

    Returns
    -------
    ndarray of shape (N, C, H, W)
    """
    dy, w = images(grad_output, "grad_output"), _filters(weight)
    shape = shape_of(input_shape, "input_shape", 3)
    arrays = {"grad_output": dy, "weight": w}
    same_dtype(**arrays)
    window = _transposed(dy, shape, w.shape, stride, padding, output_padding, groups, dilation)

    def build(b: Build) -> Sequence[str]:
        return [b.add("Conv", "grad_output", "weight", group=groups, **window_attributes(window))]

    return run(("conv_transpose2d_grad_input", window, groups), arrays, build, ("weight",))[0]


@replayed
@checked
def conv_transpose2d_grad_weight(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    weight_shape: Sequence[int],
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
) -> Array:
    """Sum over the images the gradient of a transposed convolution's weight.

    Parameters
    ----------
    grad_output : ndarray of shape (N, K, P, Q), float32 or float64
    x : ndarray of shape (N, C, H, W)
    weight_shape : (C, K / groups, R, S)
    stride, padding, output_padding, groups, dilation
        As in :func:`conv_transpose2d`.

    Returns
    -------
    ndarray of shape `weight_shape`
    """
    dy, x = images(grad_output, "grad_output"), images(x)
    shape = tuple(int(v) for v in weight_shape)
    if len(shape) != 4 or min(shape) < 1:
        raise ValueError(f"`weight_shape` (={shape}) must be (C, K / groups, R, S)")
    arrays = {"x": x, "grad_output": dy}
    same_dtype(**arrays)
    same_images(**arrays)
    window = _transposed(dy, x.shape[1:], shape, stride, padding, output_padding, groups, dilation)

    def build(b: Build) -> Sequence[str]:
        attributes = {**window_attributes(window), "weight_shape": shape}
        return [b.add("ConvGradWeight", "x", "grad_output", group=groups, **attributes)]

    return run(("conv_transpose2d_grad_weight", window, groups, shape), arrays, build)[0]


def _filters(weight: npt.ArrayLike) -> Array:
    array = floats(weight, "weight", 4, "(C, K / groups, R, S)")
    if 0 in array.shape:
        raise ValueError(f"`weight` has shape {array.shape}; every size must be at least 1")
    return array


def _window(weight: tuple[int, ...], stride: Ints, padding: Padding, dilation: Ints) -> Window:
    if isinstance(padding, str):
        raise ValueError(
            f"`padding` (={padding!r}) must be numbers: what a transposed convolution cuts off is not known from sizes"
        )
    strides, dilations = pair(stride, "stride"), pair(dilation, "dilation")
    return Window((weight[2], weight[3]), strides, resolve_padding(padding, (1, 1), (1, 1)), dilations)


def _transposed(
    dy: Array,
    image: tuple[int, ...],
    weight: tuple[int, ...],
    stride: Ints,
    padding: Padding,
    output_padding: Ints,
    groups: int,
    dilation: Ints,
) -> Window:
    """The window of the convolution that is transposed; `dy` is checked against images (C, H, W)."""
    given = _window(weight, stride, padding, dilation)
    window, size = transpose(given, (image[1], image[2]), pair(output_padding, "output_padding"))
    if weight[0] != image[0]:
        raise ValueError(f"`weight` {weight} is for {weight[0]} channels, the images have {image[0]}")
    wanted = (weight[1] * groups, *size)
    if dy.shape[1:] != wanted:
        raise ValueError(f"`grad_output` has shape {dy.shape}; it must be (N, {', '.join(map(str, wanted))})")
    return window
