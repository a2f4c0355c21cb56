"""Activations and the functions they are made of, from their formulas, in the wide type."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ._wide import Array, narrow, wide


def leaky_relu(x: npt.ArrayLike, negative_slope: float = 0.01) -> Array:
    """Compute ``x`` where positive, else ``negative_slope * x``."""
    return prelu(x, np.asarray(negative_slope, np.asarray(x).dtype))


def prelu(x: npt.ArrayLike, slope: npt.ArrayLike) -> Array:
    """Compute ``max(x, 0) + slope * min(x, 0)``; `slope` broadcasts as NumPy has it."""
    x = np.asarray(x)
    return narrow(np.maximum(wide(x), 0) + wide(slope) * np.minimum(wide(x), 0), x.dtype)


def elu(x: npt.ArrayLike, alpha: float = 1.0) -> Array:
    """Compute ``max(x, 0) + alpha * (exp(min(x, 0)) - 1)``."""
    return selu(x, alpha, 1.0)


def selu(x: npt.ArrayLike, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805) -> Array:
    """Compute ``gamma`` times :func:`elu`."""
    x = np.asarray(x)
    w = wide(x)
    return narrow(gamma * (np.maximum(w, 0) + alpha * np.expm1(np.minimum(w, 0))), x.dtype)


def softplus(x: npt.ArrayLike) -> Array:
    """Compute ``log(1 + exp(x))``."""
    x = np.asarray(x)
    return narrow(np.logaddexp(wide(x), 0), x.dtype)


def mish(x: npt.ArrayLike) -> Array:
    """Compute ``x tanh(softplus(x))`` as ``x n / (n + 2)``, ``n = e (e + 2)``, ``e = exp(x)``."""
    x = np.asarray(x)
    w = wide(x)
    e = np.exp(np.minimum(w, 40))
    n = e * (e + 2)
    return narrow(w * n / (n + 2), x.dtype)


def silu(x: npt.ArrayLike) -> Array:
    """Compute ``x / (1 + exp(-x))``."""
    x = np.asarray(x)
    w = wide(x)
    with np.errstate(over="ignore"):
        return narrow(w / (1 + np.exp(-w)), x.dtype)


def gelu(x: npt.ArrayLike, approximate: str = "none") -> Array:
    """Compute ``x Phi(x)``, Phi the normal distribution's; or its approximation by the hyperbolic tangent."""
    x = np.asarray(x)
    w = wide(x)
    if approximate == "tanh":
        share = np.tanh(np.sqrt(2 / np.arctan(w.dtype.type(1)) / 4) * (w + w.dtype.type("0.044715") * w**3))
    elif approximate == "none":
        share = _erf(w / np.sqrt(w.dtype.type(2)))
    else:
        raise ValueError(f"`approximate` (={approximate!r}) must be 'none' or 'tanh'")
    return narrow(w * (1 + share) / 2, x.dtype)


def hardsigmoid(x: npt.ArrayLike, alpha: float = 1 / 6, beta: float = 0.5) -> Array:
    """Compute ``alpha * x + beta``, clipped to [0, 1]. The product is rounded: -3 sixths are -1/2, the bound."""
    x = np.asarray(x)
    product = narrow(alpha * wide(x), x.dtype)
    return narrow(np.clip(wide(product) + beta, 0, 1), x.dtype)


def hardswish(x: npt.ArrayLike) -> Array:
    """Compute ``x`` times its :func:`hardsigmoid`."""
    x = np.asarray(x)
    return narrow(wide(x) * np.clip(wide(x) + 3, 0, 6) / 6, x.dtype)


def erf(x: npt.ArrayLike) -> Array:
    """Compute the error function."""
    x = np.asarray(x)
    return narrow(_erf(wide(x)), x.dtype)


def _erf(x: Array) -> Array:
    """Kummer's series ``2 / sqrt(pi) exp(-x^2) sum 2^n x^(2n + 1) / (2n + 1)!!``: no term is negative."""
    m = np.minimum(np.abs(x), 7)
    term = total = m
    for n in range(1, 200):
        term = term * (2 * m * m / (2 * n + 1))
        total = total + term
    return np.asarray(np.copysign(np.exp(-m * m) * total / np.sqrt(np.arctan(x.dtype.type(1))), x))
