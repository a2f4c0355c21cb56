"""Element-wise operations and changes of shape."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ._wide import Array, narrow, wide


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


def hardtanh(x: npt.ArrayLike, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """Compute :func:`clip`, to [-1, 1] unless said otherwise."""
    return clip(x, min_val, max_val)


def relu6(x: npt.ArrayLike) -> Array:
    """Compute ``min(max(x, 0), 6)``."""
    return clip(x, 0.0, 6.0)


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
