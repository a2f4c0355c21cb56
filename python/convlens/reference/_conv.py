"""Convolution and its three gradients, from the formula: one sum for each place of the window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ..graph import Padding, Window, pair, resolve_padding
from ._wide import Array, images, narrow, wide


def conv2d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Array:
    """Convolve images (as neural networks do: correlate).

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W), float32 or float64
    weight : ndarray of shape (K, C / groups, R, S), dtype of `x`
    bias : ndarray of shape (K,), optional
    stride, dilation : int or (height, width)
    padding : int, (height, width), ((top, bottom), (left, right)), "same" or "valid"
    groups : int
        Channels are cut into this many runs, each with its own K / groups filters.

    Returns
    -------
    ndarray of shape (N, K, P, Q), dtype of `x`

    Raises
    ------
    ValueError
        If shapes and `groups` do not fit, or the window is larger than the padded image.

    Notes
    -----
    ``y[n, k, i, j] = bias[k] + sum over c, r, s of
    x[n, c, i * stride + r * dilation - top, j * stride + s * dilation - left] * weight[k, c, r, s]``,
    where x is 0 outside and c runs over k's group.

    Examples
    --------
    >>> conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)))[0, 0]
    array([[4., 4.],
           [4., 4.]])
    """
    x, weight = images(x), images(weight, "weight")
    window = _window(x.shape, weight.shape, stride, padding, dilation)
    n, channels, height, width = _checked(x.shape, weight.shape, groups)
    rows, columns = window.output_size((height, width))
    filters = wide(weight).reshape(groups, -1, *weight.shape[1:])
    y = np.zeros((n, groups, filters.shape[1], rows, columns), filters.dtype)
    padded = _padded(wide(x), window).reshape(n, groups, channels // groups, *_padded_size((height, width), window))
    for r, s, area in _places(window, (rows, columns)):
        y += np.einsum("ngchw,gkc->ngkhw", padded[..., area[0], area[1]], filters[..., r, s])
    if bias is not None:
        y += wide(bias).reshape(1, groups, -1, 1, 1)
    return narrow(y.reshape(n, weight.shape[0], rows, columns), x.dtype)


def conv2d_grad_input(
    grad_output: npt.ArrayLike,
    weight: npt.ArrayLike,
    input_shape: Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Array:
    """Carry a gradient from conv2d's output to its input: the transpose of the map ``x -> conv2d(x, weight)``.

    Parameters
    ----------
    grad_output : ndarray of shape (N, K, P, Q)
    weight : ndarray of shape (K, C / groups, R, S)
    input_shape : (N, C, H, W)
    stride, padding, dilation, groups
        As in :func:`conv2d`.

    Returns
    -------
    ndarray of shape `input_shape`
    """
    grad_output, weight = images(grad_output, "grad_output"), images(weight, "weight")
    shape = tuple(int(d) for d in input_shape)
    window = _window(shape, weight.shape, stride, padding, dilation)
    n, channels, height, width = _checked(shape, weight.shape, groups)
    rows, columns = window.output_size((height, width))
    _expect(grad_output.shape, (n, weight.shape[0], rows, columns), "grad_output")
    filters = wide(weight).reshape(groups, -1, *weight.shape[1:])
    dy = wide(grad_output).reshape(n, groups, weight.shape[0] // groups, rows, columns)
    padded_size = _padded_size((height, width), window)
    padded = np.zeros((n, groups, channels // groups, *padded_size), filters.dtype)
    for r, s, area in _places(window, (rows, columns)):
        padded[..., area[0], area[1]] += np.einsum("ngkhw,gkc->ngchw", dy, filters[..., r, s])
    top, left = window.pads[:2]
    dx = padded[..., top : top + height, left : left + width].reshape(n, channels, height, width)
    return narrow(dx, grad_output.dtype)


def conv2d_grad_weight(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    weight_shape: Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Array:
    """Carry a gradient from conv2d's output to its weight, summed over images and places.

    Parameters
    ----------
    grad_output : ndarray of shape (N, K, P, Q)
    x : ndarray of shape (N, C, H, W)
    weight_shape : (K, C / groups, R, S)
    stride, padding, dilation, groups
        As in :func:`conv2d`.

    Returns
    -------
    ndarray of shape `weight_shape`
    """
    grad_output, x = images(grad_output, "grad_output"), images(x)
    shape = tuple(int(d) for d in weight_shape)
    window = _window(x.shape, shape, stride, padding, dilation)
    n, channels, height, width = _checked(x.shape, shape, groups)
    rows, columns = window.output_size((height, width))
    _expect(grad_output.shape, (n, shape[0], rows, columns), "grad_output")
    dy = wide(grad_output).reshape(n, groups, shape[0] // groups, rows, columns)
    padded = _padded(wide(x), window).reshape(n, groups, channels // groups, *_padded_size((height, width), window))
    dw = np.zeros((groups, shape[0] // groups, *shape[1:]), dy.dtype)
    for r, s, area in _places(window, (rows, columns)):
        dw[..., r, s] = np.einsum("ngkhw,ngchw->gkc", dy, padded[..., area[0], area[1]])
    return narrow(dw.reshape(shape), x.dtype)


def conv2d_grad_bias(grad_output: npt.ArrayLike) -> Array:
    """Sum a gradient of shape (N, K, P, Q) over images and places; the result has shape (K,)."""
    grad_output = images(grad_output, "grad_output")
    return narrow(wide(grad_output).sum(axis=(0, 2, 3)), grad_output.dtype)


def conv_transpose2d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | Sequence[Sequence[int]] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Array:
    """Spread each pixel over a window: the transpose of a convolution, with a bias.

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W), float32 or float64
    weight : ndarray of shape (C, K / groups, R, S), dtype of `x`
    bias : ndarray of shape (K,), optional
    stride, dilation : int or (height, width)
    padding : int, (height, width) or ((top, bottom), (left, right))
        Rows and columns cut off the result.
    output_padding : int or (height, width)
        Rows and columns added at the bottom and right.
    groups : int

    Returns
    -------
    ndarray of shape (N, K, P, Q)
        With ``P = (H - 1) stride + dilation (R - 1) + 1 + output_padding - top - bottom``.

    Notes
    -----
    ``y[n, k, i stride + r dilation - top, ...] += x[n, c, i, ...] weight[c, k, r, s]`` over c of k's group.
    """
    x, weight = images(x), images(weight, "weight")
    spread = _Spread(x.shape, weight.shape, stride, padding, output_padding, dilation)
    n, channels = x.shape[:2]
    filters = wide(weight).reshape(groups, channels // groups, *weight.shape[1:])
    pixels = wide(x).reshape(n, groups, channels // groups, *x.shape[2:])
    full = np.zeros((n, groups, weight.shape[1], *spread.full), filters.dtype)
    for r, s, area in _places(spread.window, (x.shape[2], x.shape[3])):
        full[..., area[0], area[1]] += np.einsum("ngchw,gck->ngkhw", pixels, filters[..., r, s])
    y = spread.cut(full).reshape(n, groups * weight.shape[1], *spread.size)
    if bias is not None:
        y = y + wide(bias).reshape(1, -1, 1, 1)
    return narrow(y, x.dtype)


def conv_transpose2d_grad_input(
    grad_output: npt.ArrayLike,
    weight: npt.ArrayLike,
    input_shape: Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | Sequence[Sequence[int]] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Array:
    """Carry a gradient (N, K, P, Q) to conv_transpose2d's input (N, C, H, W): a convolution."""
    dy, weight = images(grad_output, "grad_output"), images(weight, "weight")
    spread = _Spread(input_shape, weight.shape, stride, padding, output_padding, dilation)
    return conv2d(spread.uncut(dy), weight, stride=stride, dilation=dilation, groups=groups)


def conv_transpose2d_grad_weight(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    weight_shape: Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | Sequence[Sequence[int]] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Array:
    """Carry a gradient (N, K, P, Q) to conv_transpose2d's weight (C, K / groups, R, S): x and it change roles."""
    dy, x = images(grad_output, "grad_output"), images(x)
    spread = _Spread(x.shape, weight_shape, stride, padding, output_padding, dilation)
    return conv2d_grad_weight(x, spread.uncut(dy), weight_shape, stride=stride, dilation=dilation, groups=groups)


class _Spread:
    """Sizes of a transposed convolution: `full` is what its windows cover, of which the result is cut out."""

    def __init__(
        self,
        x_shape: Sequence[int],
        weight_shape: Sequence[int],
        stride: int | Sequence[int],
        padding: int | Sequence[int] | Sequence[Sequence[int]],
        output_padding: int | Sequence[int],
        dilation: int | Sequence[int],
    ) -> None:
        strides, dilations = pair(stride, "stride"), pair(dilation, "dilation")
        self.window = Window((int(weight_shape[2]), int(weight_shape[3])), strides, (0, 0, 0, 0), dilations)
        self.full = [(int(x_shape[2 + a]) - 1) * strides[a] + self.window.extent[a] for a in range(2)]
        sides = resolve_padding(padding, (1, 1), (1, 1))
        self.first, extra = sides[:2], pair(output_padding, "output_padding")
        self.size = [self.full[a] + extra[a] - sides[a] - sides[a + 2] for a in range(2)]

    def cut(self, full: Array) -> Array:
        """The result's part of `full`, zeros where `output_padding` goes beyond it."""
        grown = np.pad(full, [(0, 0)] * (full.ndim - 2) + [(0, max(0, n)) for n in self.size])
        (top, left), (rows, columns) = self.first, self.size
        return grown[..., top : top + rows, left : left + columns]

    def uncut(self, y: Array) -> Array:
        """A gradient of the result as one of `full`: the transpose of :meth:`cut`."""
        (top, left), (rows, columns) = self.first, self.size
        grown = np.zeros((*y.shape[:2], self.full[0] + top + rows, self.full[1] + left + columns), y.dtype)
        grown[..., top : top + rows, left : left + columns] = y
        return grown[..., : self.full[0], : self.full[1]]


def _window(
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: int | Sequence[int],
    padding: Padding,
    dilation: int | Sequence[int],
) -> Window:
    kernel = (int(weight_shape[2]), int(weight_shape[3]))
    strides, dilations = pair(stride, "stride"), pair(dilation, "dilation")
    pads = resolve_padding(padding, (int(x_shape[2]), int(x_shape[3])), kernel, strides, dilations)
    return Window(kernel, strides, pads, dilations)


def _checked(x_shape: Sequence[int], weight_shape: Sequence[int], groups: int) -> tuple[int, int, int, int]:
    n, channels, height, width = x_shape
    if groups < 1 or channels % groups or weight_shape[0] % groups:
        raise ValueError(
            f"`in_channels` (={channels}) and `out_channels` (={weight_shape[0]}) must be divisible by "
            f"`groups` (={groups})"
        )
    if channels != weight_shape[1] * groups:
        raise ValueError(
            f"`weight` expects {weight_shape[1]} input channels a group, the input has {channels} in {groups} groups"
        )
    return n, channels, height, width


def _expect(shape: Sequence[int], wanted: Sequence[int], name: str) -> None:
    if tuple(shape) != tuple(wanted):
        raise ValueError(f"`{name}` has shape {tuple(shape)}; it must be {tuple(wanted)}, the output's")


def _padded_size(size: tuple[int, int], window: Window) -> tuple[int, int]:
    top, left, bottom, right = window.pads
    return size[0] + top + bottom, size[1] + left + right


def _padded(x: Array, window: Window) -> Array:
    top, left, bottom, right = window.pads
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))


def _places(window: Window, size: tuple[int, int]) -> Iterator[tuple[int, int, tuple[slice, slice]]]:
    """Each place (r, s) of the window, and the pixels of the padded image that it meets while the window slides."""
    for r in range(window.kernel[0]):
        for s in range(window.kernel[1]):
            area = [
                slice(first * dilation, first * dilation + stride * (count - 1) + 1, stride)
                for first, dilation, stride, count in zip((r, s), window.dilation, window.stride, size, strict=True)
            ]
            yield r, s, (area[0], area[1])
