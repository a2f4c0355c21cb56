"""Error bounds from magnitudes, and arrays to try them on."""

from __future__ import annotations

import ctypes
import mmap
import sys

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
    """Normal numbers, which end where memory does, or begin there: a kernel that reads further ends the process."""
    return between_guards(
        np.random.default_rng(seed).standard_normal(shape).astype(dtype), at_end=(seed + sum(shape)) % 2 == 1
    )


def between_guards(array: np.ndarray, at_end: bool) -> np.ndarray:
    """A copy with a page before and one behind it that nobody may read, on Linux."""
    if sys.platform != "linux" or array.size == 0:
        return array
    page = mmap.PAGESIZE
    size = -(-array.nbytes // page) * page
    memory = mmap.mmap(-1, size + 2 * page)
    first = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for guard in (first, first + page + size):
        assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(page), 0) == 0
    offset = page + (size - array.nbytes if at_end else 0)
    copy = np.frombuffer(memory, array.dtype, array.size, offset).reshape(array.shape)
    copy[...] = array
    return copy
