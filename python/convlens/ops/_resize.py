"""Resizing with PyTorch's semantics, and its gradient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy.typing as npt

from .._arguments import checked
from ..graph import Graph
from ..transform import backward, resize_plan
from ._call import Array, Build, floats, hashable, replayed, run

Sizes = int | Sequence[int]
Factors = float | Sequence[float]


@replayed
@checked
def interpolate(
    x: npt.ArrayLike,
    size: Sizes | None = None,
    scale_factor: Factors | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
    antialias: bool = False,
) -> Array:
    """Resize images or signals.

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W) or (N, C, L), float32 or float64
    size : int or one for each axis, optional
        Of the result.
    scale_factor : float or one for each axis, optional
        Instead of `size`: the result has ``floor(H * scale_factor)`` rows, and its pixels lie that far apart.
    mode : {"nearest", "nearest-exact", "bilinear", "bicubic", "linear", "area"}
        "linear" is for signals, "bilinear" and "bicubic" for images. "nearest" takes ``floor(i * H / size)``, as
        PyTorch's; "nearest-exact" the pixel whose centre is nearest; "area" averages adaptive windows.
    align_corners : bool
        Of the linear modes and "bicubic": the centres of the corner pixels stay in place, instead of the corners of
        the image.
    antialias : bool
        Of "bilinear" and "bicubic": a smaller image is averaged from what it leaves out, as Pillow does.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        When `size` and `scale_factor` are both given or both missing, or do not fit the axes or the mode.

    Examples
    --------
    >>> import numpy as np
    >>> interpolate(np.array([[[0.0, 3.0]]]), size=4, mode="linear")
    array([[[0.  , 0.75, 2.25, 3.  ]]])
    """
    x = _pixels(x, "x")
    plan = resize_plan(x.shape[2:], size, scale_factor, mode, align_corners, antialias)
    key = ("interpolate", hashable(plan.sizes), hashable(plan.scales), mode, align_corners, antialias)
    return run(key, {"x": x}, lambda b: [plan.emit(b.builder, "x")])[0]


@replayed
@checked
def interpolate_grad(
    grad_output: npt.ArrayLike,
    input_shape: Sequence[int],
    size: Sizes | None = None,
    scale_factor: Factors | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
    antialias: bool = False,
) -> Array:
    """Carry a gradient from :func:`interpolate`'s output to its input, of shape `input_shape`.

    Its batch may be left out, and so may `size`, which `grad_output` has.

    Notes
    -----
    The transpose of what :func:`interpolate` does. PyTorch's (2.13) is not for "nearest" with some values of
    `scale_factor`, such as 2.05: it goes by other rows than its forward pass.
    """
    dy = _pixels(grad_output, "grad_output")
    shape = tuple(int(v) for v in input_shape)
    shape = shape[1:] if len(shape) == dy.ndim else shape
    if len(shape) != dy.ndim - 1 or shape[0] != dy.shape[1] or min(shape) < 1:
        raise ValueError(f"`input_shape` (={tuple(input_shape)}) must be (N, C, H, W) or (C, H, W), with dy's channels")
    if size is None and scale_factor is None:
        size = dy.shape[2:]
    plan = resize_plan(shape[1:], size, scale_factor, mode, align_corners, antialias)
    if plan.size(shape[1:]) != dy.shape[2:]:
        raise ValueError(f"`grad_output` has shape {dy.shape}; the result's size is {plan.size(shape[1:])}")

    def build(b: Build) -> tuple[Graph, Sequence[str]]:
        b.builder.input("x", b.dtype, ("N", *shape))
        y = plan.emit(b.builder, "x")
        graph, gradients = backward(b.builder.build([y]), y, ["x"], seed="grad_output")
        return graph.subgraph([gradients["x"]]), [gradients["x"]]

    key = ("interpolate_grad", shape, hashable(plan.sizes), hashable(plan.scales), mode, align_corners, antialias)
    return run(key, {"grad_output": dy}, build)[0]


def _pixels(value: npt.ArrayLike, name: str) -> Array:
    array = floats(value, name)
    if array.ndim not in (3, 4) or 0 in array.shape[1:]:
        raise ValueError(f"`{name}` has shape {array.shape}; it must be images (N, C, H, W) or signals (N, C, L)")
    return array
