"""Initial weights: a function of (seed, layer, parameter) alone, so the same seed gives the same bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

SCHEMES = ("kaiming_uniform", "kaiming_normal", "glorot_uniform", "glorot_normal", "zeros", "ones")


def check_scheme(parameter: str, scheme: str) -> str:
    """Return `scheme` if it is one of SCHEMES."""
    if not isinstance(scheme, str) or scheme not in SCHEMES:
        raise ValueError(f"`{parameter}` (={scheme!r}) must be one of {', '.join(map(repr, SCHEMES))}")
    return scheme


def generator(seed: int, layer: int, parameter: int) -> np.random.Generator:
    """The stream of one parameter. Appending a layer leaves the streams of those before it alone."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(layer, parameter)))


def initialise(scheme: str | float, shape: tuple[int, ...], dtype: str, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Draw one parameter in double and round it to `dtype`.

    Parameters
    ----------
    scheme : str or float
        One of SCHEMES, "normal" (variance 1), or the value of every element.
    shape : tuple of int
        ``(K, C / groups, R, S)``, ``(out_features, in_features)`` or ``(C,)``.
    dtype : str
        float32 or float64. The float32 weights are the rounded float64 ones.
    rng : numpy.random.Generator
        See :func:`generator`.

    Returns
    -------
    ndarray of shape `shape`

    Notes
    -----
    With ``fan_in = C / groups * R * S`` and ``fan_out = K * R * S`` the variance is ``2 / fan_in`` (Kaiming, which
    keeps the variance through a ReLU) or ``2 / (fan_in + fan_out)`` (Glorot); a uniform draw has the bound
    ``sqrt(3 * variance)``.

    References
    ----------
    He et al., "Delving Deep into Rectifiers", arXiv:1502.01852. Glorot and Bengio, "Understanding the difficulty of
    training deep feedforward neural networks", AISTATS 2010.
    """
    if not isinstance(scheme, str):
        return np.full(shape, scheme, dtype)
    if scheme == "normal":  # of tables, as PyTorch draws them
        return rng.standard_normal(shape).astype(dtype)
    if scheme in ("zeros", "ones"):
        return np.full(shape, float(scheme == "ones"), dtype)
    window = math.prod(shape[2:])
    fan_in, fan_out = shape[1] * window, shape[0] * window
    variance = 2.0 / max(1, fan_in) if scheme.startswith("kaiming") else 2.0 / max(1, fan_in + fan_out)
    if scheme.endswith("uniform"):
        bound = math.sqrt(3.0 * variance)
        return rng.uniform(-bound, bound, shape).astype(dtype)
    return (rng.standard_normal(shape) * math.sqrt(variance)).astype(dtype)
