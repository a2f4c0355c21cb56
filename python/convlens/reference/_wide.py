"""Wide accumulators: every sum of the oracle is made in a type wider than its operands."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_WIDER = {"float32": np.float64, "float64": np.longdouble}


def wide(x: npt.ArrayLike) -> Array:
    """`x` in the accumulator's type: float32 -> float64, float64 -> long double; C-contiguous."""
    array = np.asarray(x)
    wider = _WIDER.get(array.dtype.name)
    if wider is None:
        raise TypeError(f"an array of dtype {array.dtype} was given; the oracle computes in float32 and float64")
    return np.ascontiguousarray(array, dtype=wider) if array.ndim else array.astype(wider)


def narrow(value: npt.ArrayLike, dtype: npt.DTypeLike) -> Array:
    """Round a wide result once, to the operands' dtype."""
    return np.asarray(value, dtype=dtype)


def images(x: npt.ArrayLike, name: str = "x") -> Array:
    """`x` as an array of shape (N, C, H, W)."""
    array = np.asarray(x)
    if array.ndim != 4:
        raise ValueError(f"`{name}` has shape {array.shape}; it must be (N, C, H, W)")
    return array
