"""The baseline of the kernels' benchmarks: what a good NumPy programmer would write.

Windows are strided views, convolutions matrix products by BLAS (one a group, images joined), pooling a maximum over
shifted slices. No loops over pixels. Checked against :mod:`convlens.reference` in ``test_bench_ops.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Pair = tuple[int, int]


def windows(x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, fill: float = 0.0) -> Array:
    """Every window of images (N, C, H, W) as a view (N, C, P, Q, R, S) of the padded array."""
    (top, left), (r, s) = padding, kernel
    if top or left:
        x = np.pad(x, [(0, 0), (0, 0), (top, top), (left, left)], constant_values=fill)
    extent = (dilation[0] * (r - 1) + 1, dilation[1] * (s - 1) + 1)
    view = np.lib.stride_tricks.sliding_window_view(x, extent, axis=(2, 3))
    return view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def conv2d(
    x: Array,
    weight: Array,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """Convolve by im2col and one matrix product an image and group."""
    n = len(x)
    k, cg, r, s = weight.shape
    if (r, s) == (1, 1) and padding == (0, 0):
        columns = x[:, :, :: stride[0], :: stride[1]].reshape(n, groups, cg, -1)
        p, q = -(-x.shape[2] // stride[0]), -(-x.shape[3] // stride[1])
    else:
        view = windows(x, (r, s), stride, padding, dilation)
        p, q = view.shape[2:4]
        columns = view.transpose(0, 1, 4, 5, 2, 3).reshape(n, groups, cg * r * s, p * q)
    return np.matmul(weight.reshape(groups, k // groups, cg * r * s), columns).reshape(n, k, p, q)


def conv2d_grad_weight(
    dy: Array,
    x: Array,
    shape: tuple[int, int, int, int],
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """One matrix product a group over images and pixels together."""
    k, cg, r, s = shape
    n, _, p, q = dy.shape
    view = windows(x, (r, s), stride, padding, dilation)[:, :, :p, :q]
    columns = view.reshape(n, groups, cg, p, q, r, s).transpose(1, 2, 5, 6, 0, 3, 4).reshape(groups, cg * r * s, -1)
    rows = dy.reshape(n, groups, k // groups, p * q).transpose(1, 2, 0, 3).reshape(groups, k // groups, -1)
    return np.matmul(rows, columns.transpose(0, 2, 1)).reshape(shape)


def conv2d_grad_input(
    dy: Array,
    weight: Array,
    shape: tuple[int, int, int, int],
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """One matrix product, then a strided sum for each tap (col2im)."""
    n, c, h, w = shape
    k, cg, r, s = weight.shape
    p, q = dy.shape[2:]
    matrix = weight.reshape(groups, k // groups, cg * r * s).transpose(0, 2, 1)
    columns = np.matmul(matrix, dy.reshape(n, groups, k // groups, p * q)).reshape(n, c, r, s, p, q)
    rows = max(h + 2 * padding[0], (p - 1) * stride[0] + dilation[0] * (r - 1) + 1)
    width = max(w + 2 * padding[1], (q - 1) * stride[1] + dilation[1] * (s - 1) + 1)
    dx = np.zeros((n, c, rows, width), dy.dtype)
    for i in range(r):
        for j in range(s):
            y, x = i * dilation[0], j * dilation[1]
            dx[:, :, y : y + p * stride[0] : stride[0], x : x + q * stride[1] : stride[1]] += columns[:, :, i, j]
    return dx[:, :, padding[0] : padding[0] + h, padding[1] : padding[1] + w]


def max_pool2d(x: Array, kernel: Pair, *, stride: Pair, padding: Pair = (0, 0)) -> Array:
    """The maximum of shifted, strided slices."""
    view = windows(x, kernel, stride, padding, (1, 1), -np.inf)
    out = view[..., 0, 0].copy()
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            if i or j:
                np.maximum(out, view[..., i, j], out=out)
    return out


def avg_pool2d(x: Array, kernel: Pair, *, stride: Pair) -> Array:
    """The sum of shifted, strided slices, divided."""
    view = windows(x, kernel, stride, (0, 0), (1, 1))
    out = view[..., 0, 0].copy()
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            if i or j:
                out += view[..., i, j]
    return out / x.dtype.type(kernel[0] * kernel[1])


def linear(x: Array, weight: Array, bias: Array) -> Array:
    """One matrix product."""
    return x @ weight.T + bias


def softmax(x: Array) -> Array:
    """Exponentials in place of one temporary."""
    y = x - x.max(axis=1, keepdims=True)
    np.exp(y, out=y)
    y /= y.sum(axis=1, keepdims=True)
    return y


def relu(x: Array) -> Array:
    """The larger of x and 0."""
    return np.maximum(x, 0)


def batch_norm(x: Array, mean: Array, var: Array, weight: Array, bias: Array, *, eps: float = 1e-5) -> Array:
    """One multiplication and one addition an element."""
    scale = weight / np.sqrt(var + x.dtype.type(eps))
    return x * scale[:, None, None] + (bias - mean * scale)[:, None, None]
