"""Element-wise operations and changes of shape."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ._wide import Array, images, narrow, wide


def relu(x: npt.ArrayLike) -> Array:
    """Compute ``max(x, 0)``; NaN stays NaN."""
    x = np.asarray(x)
    return np.asarray(np.maximum(x, np.zeros((), x.dtype)))


def sigmoid(x: npt.ArrayLike) -> Array:
    """Compute ``1 / (1 + exp(-x))``, without overflow at either end."""
    x = np.asarray(x)
    e = np.exp(-np.abs(wide(x)))
    return narrow(np.where(wide(x) >= 0, 1, e) / (1 + e), x.dtype)


def tanh(x: npt.ArrayLike) -> Array:
    """Compute the hyperbolic tangent."""
    x = np.asarray(x)
    return narrow(np.tanh(wide(x)), x.dtype)


def clip(x: npt.ArrayLike, low: float | None = None, high: float | None = None) -> Array:
    """Compute ``min(max(x, low), high)``; NaN stays NaN."""
    y = np.asarray(x)
    if low is not None:
        y = np.maximum(y, np.asarray(low, y.dtype))
    return y if high is None else np.asarray(np.minimum(y, np.asarray(high, y.dtype)))


def add(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a + b`` with NumPy's broadcasting."""
    return np.asarray(np.asarray(a) + np.asarray(b))


def flatten(x: npt.ArrayLike, start_dim: int = 1) -> Array:
    """Join the axes from `start_dim` on into one."""
    x = np.asarray(x)
    return x.reshape(*x.shape[:start_dim], math.prod(x.shape[start_dim:]))


def reshape(x: npt.ArrayLike, shape: Sequence[int]) -> Array:
    """Give `x` another shape with the same number of elements; one size may be -1."""
    return np.asarray(x).reshape(tuple(shape))


def pad(x: npt.ArrayLike, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Array:
    """Pad each axis by (before, after) elements of `value`; negative widths crop.

    >>> pad(np.array([1.0, 2.0, 3.0]), [(1, -1)])
    array([0., 1., 2.])
    """
    x = np.asarray(x)
    grown = np.pad(x, [(max(before, 0), max(after, 0)) for before, after in widths], constant_values=value)
    return grown[tuple(slice(max(-b, 0), size - max(-a, 0)) for (b, a), size in zip(widths, grown.shape, strict=True))]


def resize(
    x: npt.ArrayLike,
    size: tuple[int, int],
    *,
    mode: str = "bilinear",
    scale: tuple[float, float] | None = None,
    nearest: str = "round_prefer_floor",
) -> Array:
    """Resize images with half-pixel centres (PyTorch's ``interpolate(align_corners=False)``).

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W), float32 or float64
    size : (height, width)
    mode : {"bilinear", "nearest"}
    scale : (float, float), optional
        Output over input, when it is not the exact ratio of the sizes.
    nearest : {"round_prefer_floor", "round_prefer_ceil"}
        Which neighbour wins at equal distance; PyTorch's "nearest-exact" is the second.

    Notes
    -----
    Output pixel i lies at ``(i + 0.5) / scale - 0.5`` of the input; neighbours outside are the nearest inside.
    """
    x = images(x)
    y = wide(x)
    for axis in (2, 3):
        ratio = scale[axis - 2] if scale else size[axis - 2] / x.shape[axis]
        y = np.moveaxis(
            np.tensordot(_resizing(x.shape[axis], size[axis - 2], ratio, mode, nearest), y, (1, axis)), 0, axis
        )
    return narrow(y, x.dtype)


def _resizing(old: int, new: int, ratio: float, mode: str, nearest: str) -> Array:
    """The matrix (new, old) that resizes one axis."""
    places = (np.arange(new) + 0.5) / ratio - 0.5
    matrix = np.zeros((new, old))
    if mode == "nearest":
        chosen = np.ceil(places - 0.5) if nearest == "round_prefer_floor" else np.floor(places + 0.5)
        matrix[np.arange(new), np.clip(chosen, 0, old - 1).astype(int)] = 1
        return matrix
    if mode != "bilinear":
        raise ValueError(f"`mode` (={mode!r}) must be 'bilinear' or 'nearest'")
    lower = np.floor(places)
    for neighbour, weight in ((lower, 1 - (places - lower)), (lower + 1, places - lower)):
        np.add.at(matrix, (np.arange(new), np.clip(neighbour, 0, old - 1).astype(int)), weight)
    return matrix
