"""Arithmetic, comparisons and choice, element by element, with NumPy's broadcasting; inf and NaN are IEEE's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ._wide import Array, narrow, wide


def _quietly(function: Callable[..., Any], *operands: npt.ArrayLike) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(function(*map(np.asarray, operands)))


def _widely(function: Callable[..., Any], x: npt.ArrayLike, *rest: npt.ArrayLike) -> Array:
    """Apply a function in the wide type and round once, so that the oracle is right to half a unit."""
    return narrow(_quietly(function, wide(x), *map(wide, rest)), np.asarray(x).dtype)


def add(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a + b``."""
    return _quietly(np.add, a, b)


def sub(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a - b``."""
    return _quietly(np.subtract, a, b)


def mul(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a * b``."""
    return _quietly(np.multiply, a, b)


def div(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a / b``; integers round towards zero, as ONNX's Div does."""
    y, dtype = _quietly(np.divide, a, b), np.asarray(a).dtype
    return y if dtype.kind == "f" else np.asarray(np.trunc(y).astype(dtype))


def pow(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a ** b``."""
    return _widely(np.power, a, b)


def maximum(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Take the larger; NaN wins."""
    return _quietly(np.maximum, a, b)


def minimum(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Take the smaller; NaN wins."""
    return _quietly(np.minimum, a, b)


def greater(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Say where ``a > b``."""
    return _quietly(np.greater, a, b)


def greater_equal(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Say where ``a >= b``."""
    return _quietly(np.greater_equal, a, b)


def less(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Say where ``a < b``."""
    return _quietly(np.less, a, b)


def less_equal(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Say where ``a <= b``."""
    return _quietly(np.less_equal, a, b)


def equal(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Say where ``a == b``."""
    return _quietly(np.equal, a, b)


def where(condition: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Take `a` where the condition holds, `b` elsewhere."""
    return _quietly(np.where, condition, a, b)


def neg(x: npt.ArrayLike) -> Array:
    """Compute ``-x``."""
    return _quietly(np.negative, x)


def sign(x: npt.ArrayLike) -> Array:
    """Compute -1, 0 or 1; NaN stays NaN."""
    return _quietly(np.sign, x)


def abs(x: npt.ArrayLike) -> Array:
    """Compute ``|x|``."""
    return _quietly(np.abs, x)


def reciprocal(x: npt.ArrayLike) -> Array:
    """Compute ``1 / x``."""
    return _widely(lambda w: 1 / w, x)


def sqrt(x: npt.ArrayLike) -> Array:
    """Compute the square root."""
    return _widely(np.sqrt, x)


def exp(x: npt.ArrayLike) -> Array:
    """Compute ``e ** x``."""
    return _widely(np.exp, x)


def expm1(x: npt.ArrayLike) -> Array:
    """Compute ``e ** x - 1``, exact near 0."""
    return _widely(np.expm1, x)


def log(x: npt.ArrayLike) -> Array:
    """Compute the natural logarithm."""
    return _widely(np.log, x)


def log1p(x: npt.ArrayLike) -> Array:
    """Compute ``log(1 + x)``, exact near 0."""
    return _widely(np.log1p, x)
