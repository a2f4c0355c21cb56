"""Error bounds from magnitudes, and arrays to try them on."""

from __future__ import annotations

import numpy as np


def rounding(dtype: str, terms: int, magnitude: np.ndarray) -> np.ndarray:
    """What a sum of `terms` products, whose absolute values add up to `magnitude`, may be off by."""
    eps = np.finfo(dtype).eps
    return 4 * eps * np.sqrt(max(terms, 1)) * magnitude + np.finfo(dtype).tiny


def assert_within(value: np.ndarray, expected: np.ndarray, bound: np.ndarray) -> None:
    """No element is further off than its bound; shapes are equal."""
    assert value.shape == expected.shape
    off = np.abs(value.astype(np.float64) - expected)
    assert np.all(off <= bound), f"off by {off.max():g}, {np.max(off / bound):.3g} times the bound"


def normal(seed: int, *shape: int, dtype: str = "float32") -> np.ndarray:
    """Normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)
