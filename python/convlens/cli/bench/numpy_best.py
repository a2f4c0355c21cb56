"""NumPy's best: what a good NumPy programmer would write, the baseline of the benchmarks.

Windows are strided views, convolutions matrix products by BLAS (one an image and group), pooling a maximum over shifted
slices. No loops over pixels. Checked against :mod:`convlens.reference`. Paddings are ((top, bottom), (left, right)).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Pair = tuple[int, int]
Sides = tuple[Pair, Pair]
NONE: Sides = ((0, 0), (0, 0))


def padded(x: Array, padding: Sides, fill: float = 0.0) -> Array:
    """Images with a border, itself when there is none; half the time of np.pad on small ones."""
    (top, bottom), (left, right) = padding
    if padding == NONE:
        return x
    n, c, h, w = x.shape
    out = np.full((n, c, top + h + bottom, left + w + right), fill, x.dtype)
    out[:, :, top : top + h, left : left + w] = x
    return out


def windows(x: Array, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Array:
    """Every window of images (N, C, H, W) as a view (N, C, P, Q, R, S)."""
    (n, c, h, w), (a, b, rows, columns) = x.shape, x.strides
    p, q = ((size - d * (k - 1) - 1) // s + 1 for size, k, s, d in zip((h, w), kernel, stride, dilation, strict=True))
    strides = (a, b, rows * stride[0], columns * stride[1], rows * dilation[0], columns * dilation[1])
    return np.lib.stride_tricks.as_strided(x, (n, c, p, q, *kernel), strides, writeable=False)


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Sides = NONE,
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """Convolve by im2col and one matrix product an image and group."""
    n = len(x)
    k, cg, r, s = weight.shape
    if (r, s) == (1, 1) and padding == NONE:
        columns = x[:, :, :: stride[0], :: stride[1]].reshape(n, groups, cg, -1)
        p, q = -(-x.shape[2] // stride[0]), -(-x.shape[3] // stride[1])
    else:
        view = windows(padded(x, padding), (r, s), stride, dilation)
        p, q = view.shape[2:4]
        columns = view.transpose(0, 1, 4, 5, 2, 3).reshape(n, groups, cg * r * s, p * q)
    y: Array = np.matmul(weight.reshape(groups, k // groups, cg * r * s), columns).reshape(n, k, p, q)
    if bias is not None:
        y += bias[:, None, None]
    return y


def conv2d_grad_weight(
    grad_output: Array,
    x: Array,
    weight_shape: tuple[int, ...],
    *,
    stride: Pair = (1, 1),
    padding: Sides = NONE,
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """One matrix product a group over images and pixels together."""
    k, cg, r, s = weight_shape
    n, _, p, q = grad_output.shape
    view = windows(padded(x, padding), (r, s), stride, dilation)
    columns = view.reshape(n, groups, cg, p, q, r, s).transpose(1, 2, 5, 6, 0, 3, 4).reshape(groups, cg * r * s, -1)
    rows = grad_output.reshape(n, groups, k // groups, p * q).transpose(1, 2, 0, 3).reshape(groups, k // groups, -1)
    dw: Array = np.matmul(rows, columns.transpose(0, 2, 1)).reshape(weight_shape)
    return dw


def conv2d_grad_input(
    grad_output: Array,
    weight: Array,
    input_shape: tuple[int, ...],
    *,
    stride: Pair = (1, 1),
    padding: Sides = NONE,
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """One matrix product, then a strided sum for each tap (col2im)."""
    n, c = input_shape[:2]
    k, cg, r, s = weight.shape
    p, q = grad_output.shape[2:]
    matrix = weight.reshape(groups, k // groups, cg * r * s).transpose(0, 2, 1)
    columns = np.matmul(matrix, grad_output.reshape(n, groups, k // groups, p * q)).reshape(n, c, r, s, p, q)
    dx, inner = _canvas(grad_output, input_shape, padding)
    for i, j, place in taps((r, s), (p, q), stride, dilation):
        dx[place] += columns[:, :, i, j]
    return dx[inner]


def max_pool2d(x: Array, kernel_size: Pair, *, stride: Pair, padding: Sides = NONE) -> Array:
    """The maximum of shifted, strided slices."""
    x = padded(x, padding, -np.inf)
    view = windows(x, kernel_size, stride)
    out: Array = view[..., 0, 0].copy()
    for i, j, place in taps(kernel_size, view.shape[2:4], stride):
        if i or j:
            np.maximum(out, x[place], out=out)
    return out


def max_pool2d_indices(x: Array, kernel_size: Pair, *, stride: Pair, padding: Sides = NONE) -> Array:
    """Where each maximum is, ``row * W + column`` as in PyTorch: what a forward pass keeps for its backward pass."""
    view = windows(padded(x, padding, -np.inf), kernel_size, stride)
    p, q = view.shape[2:4]
    i, j = np.divmod(view.reshape(*view.shape[:4], -1).argmax(axis=-1), kernel_size[1])
    rows = i + np.arange(p)[:, None] * stride[0] - padding[0][0]
    indices: Array = rows * x.shape[3] + j + np.arange(q) * stride[1] - padding[1][0]
    return indices


def max_pool2d_grad(
    grad_output: Array,
    indices: Array,
    input_shape: tuple[int, ...],
    kernel_size: Pair,
    *,
    stride: Pair,
    padding: Sides = NONE,
) -> Array:
    """Add each gradient where its winner is, in one call; the window itself is not needed."""
    n, c, h, w = input_shape
    planes = np.arange(0, n * c * h * w, h * w).reshape(n, c, 1, 1)
    dx: Array = np.zeros(n * c * h * w, grad_output.dtype)
    np.add.at(dx, (indices + planes).ravel(), grad_output.ravel())
    return dx.reshape(input_shape)


def avg_pool2d(
    x: Array, kernel_size: Pair, *, stride: Pair, padding: Sides = NONE, count_include_pad: bool = True
) -> Array:
    """The sum of shifted, strided slices, divided."""
    if not count_include_pad:
        inside = avg_pool2d(np.ones_like(x[:1, :1]), kernel_size, stride=stride, padding=padding)
        total = avg_pool2d(x, kernel_size, stride=stride, padding=padding)
        total /= inside
        return total
    x = padded(x, padding)
    view = windows(x, kernel_size, stride)
    if kernel_size == x.shape[2:]:
        mean: Array = x.mean(axis=(2, 3), keepdims=True)
        return mean
    out: Array = view[..., 0, 0].copy()
    for i, j, place in taps(kernel_size, view.shape[2:4], stride):
        if i or j:
            out += x[place]
    out *= x.dtype.type(1 / (kernel_size[0] * kernel_size[1]))
    return out


def avg_pool2d_grad(
    grad_output: Array, input_shape: tuple[int, ...], kernel_size: Pair, *, stride: Pair, padding: Sides = NONE
) -> Array:
    """Add each window's share to each of its taps."""
    dx, inner = _canvas(grad_output, input_shape, padding)
    share = grad_output * grad_output.dtype.type(1 / (kernel_size[0] * kernel_size[1]))
    for _, _, place in taps(kernel_size, grad_output.shape[2:], stride):
        dx[place] += share
    return dx[inner]


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """One matrix product."""
    y: Array = x @ weight.T
    if bias is not None:
        y += bias
    return y


def softmax(x: Array) -> Array:
    """Exponentials in place of one temporary."""
    y: Array = x - x.max(axis=1, keepdims=True)
    np.exp(y, out=y)
    y /= y.sum(axis=1, keepdims=True)
    return y


def relu(x: Array) -> Array:
    """The larger of x and 0."""
    y: Array = np.maximum(x, 0)
    return y


def batch_norm(x: Array, mean: Array, var: Array, weight: Array, bias: Array, *, eps: float = 1e-5) -> Array:
    """One multiplication and one addition an element."""
    scale = weight / np.sqrt(var + x.dtype.type(eps))
    y: Array = x * scale[:, None, None]
    y += (bias - mean * scale)[:, None, None]
    return y


def taps(
    kernel: Pair, output: tuple[int, ...], stride: Pair, dilation: Pair = (1, 1)
) -> Iterator[tuple[int, int, tuple[slice, ...]]]:
    """Each place (i, j) in the window, with the pixels of the padded image that it reads: one for each output pixel."""
    full = slice(None)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            y, x = i * dilation[0], j * dilation[1]
            rows = slice(y, y + (output[0] - 1) * stride[0] + 1, stride[0])
            yield i, j, (full, full, rows, slice(x, x + (output[1] - 1) * stride[1] + 1, stride[1]))


def _canvas(like: Array, shape: tuple[int, ...], padding: Sides) -> tuple[Array, tuple[slice, ...]]:
    """Zeros for an image and its border, and where the image lies in them."""
    (n, c, h, w), ((top, bottom), (left, right)) = shape, padding
    full = slice(None)
    inner = (full, full, slice(top, top + h), slice(left, left + w))
    return np.zeros((n, c, top + h + bottom, left + w + right), like.dtype), inner
