"""Global and adaptive pooling with their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from .._arguments import checked
from ..graph import Graph, pair
from ..transform import backward, expand_adaptive_pool
from ._call import Array, Build, images, replayed, run, same_dtype, same_images, shape_of

Ints = int | Sequence[int | None] | None


@replayed
@checked
def adaptive_avg_pool2d(x: npt.ArrayLike, output_size: Ints) -> Array:
    """Average `output_size` windows that cover each image.

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W), float32 or float64
    output_size : int or (height, width)
        Any number of windows; None keeps the image's size along that axis.

    Returns
    -------
    ndarray of shape (N, C, *output_size)

    Notes
    -----
    Window i of o over H rows is ``floor(i H / o)`` to ``ceil((i + 1) H / o)``, the end not included, as in PyTorch.

    Examples
    --------
    >>> import numpy as np
    >>> adaptive_avg_pool2d(np.arange(7.0).reshape(1, 1, 1, 7), (1, 3))
    array([[[[1., 3., 5.]]]])
    """
    return _pooled(x, output_size, maximum=False)


@replayed
@checked
def adaptive_max_pool2d(x: npt.ArrayLike, output_size: Ints) -> Array:
    """Take the largest of `output_size` windows that cover each image; see :func:`adaptive_avg_pool2d`."""
    return _pooled(x, output_size, maximum=True)


@replayed
@checked
def adaptive_avg_pool2d_grad(grad_output: npt.ArrayLike, input_shape: Sequence[int]) -> Array:
    """Spread the gradient of each adaptive window evenly over it.

    Parameters
    ----------
    grad_output : ndarray of shape (N, C, P, Q), float32 or float64
    input_shape : (N, C, H, W) or (C, H, W)

    Returns
    -------
    ndarray of shape (N, C, H, W)
    """
    dy, shape = images(grad_output, "grad_output"), shape_of(input_shape, "input_shape", 3)
    _check_channels(dy, shape)

    def build(b: Build) -> tuple[Graph, Sequence[str]]:
        b.builder.input("x", b.dtype, ("N", *shape))
        y = expand_adaptive_pool(b.builder, "x", dy.shape[2:], maximum=False, name="y")
        graph, gradients = backward(b.builder.build([y]), y, ["x"], seed="grad_output")
        return graph.subgraph([gradients["x"]]), [gradients["x"]]

    return run(("adaptive_avg_pool2d_grad", shape), {"grad_output": dy}, build)[0]


@replayed
def adaptive_max_pool2d_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Give the gradient of each adaptive window to the first of its maxima.

    Parameters
    ----------
    grad_output : ndarray of shape (N, C, P, Q), float32 or float64
    x : ndarray of shape (N, C, H, W)
        What was pooled.

    Returns
    -------
    ndarray of x's shape
    """
    dy, x = images(grad_output, "grad_output"), images(x)
    same_dtype(grad_output=dy, x=x)
    same_images(grad_output=dy, x=x)
    _check_channels(dy, x.shape[1:])

    def build(b: Build) -> tuple[Graph, Sequence[str]]:
        y = expand_adaptive_pool(b.builder, "x", dy.shape[2:], maximum=True, name="y")
        graph, gradients = backward(b.builder.build([y]), y, ["x"], seed="grad_output")
        return graph, [gradients["x"]]

    key = ("adaptive_max_pool2d_grad", dy.shape[1:])
    return run(key, {"x": x}, build, seeds={"grad_output": dy})[0]


def _pooled(x: npt.ArrayLike, output_size: Any, *, maximum: bool) -> Array:
    x = images(x)
    given = output_size if isinstance(output_size, (list, tuple)) else (output_size, output_size)
    size = pair([x.shape[2 + a] if count is None else count for a, count in enumerate(given)], "output_size")
    if min(size) < 1:
        raise ValueError(f"`output_size` (={output_size!r}) must be at least 1 everywhere")
    key = ("adaptive_pool2d", maximum, size)
    return run(key, {"x": x}, lambda b: [expand_adaptive_pool(b.builder, "x", size, maximum=maximum)])[0]


def _check_channels(dy: Array, image: tuple[int, ...]) -> None:
    if dy.shape[1] != image[0]:
        raise ValueError(f"`grad_output` has {dy.shape[1]} channels and the images {image[0]}; they must agree")
