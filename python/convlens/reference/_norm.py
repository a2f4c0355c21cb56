"""Normalisation by an image's own statistics, and dropout's masks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ._wide import Array, narrow, wide


def layer_norm(
    x: npt.ArrayLike,
    normalized_shape: Sequence[int],
    weight: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    *,
    eps: float = 1e-5,
) -> Array:
    """Normalise over the last axes, of shape `normalized_shape`; then multiply by `weight` and add `bias` of it."""
    x = np.asarray(x)
    y = _standardised(wide(x), tuple(range(x.ndim - len(normalized_shape), x.ndim)), eps)
    return narrow(_scaled(y, weight, bias, tuple(normalized_shape)), x.dtype)


def instance_norm(
    x: npt.ArrayLike, weight: npt.ArrayLike | None = None, bias: npt.ArrayLike | None = None, *, eps: float = 1e-5
) -> Array:
    """Normalise each channel (N, C, ...) of each image over its places; `weight` and `bias` are (C,)."""
    x = np.asarray(x)
    y = _standardised(wide(x), tuple(range(2, x.ndim)), eps)
    return narrow(_scaled(y, weight, bias, (-1,) + (1,) * (x.ndim - 2)), x.dtype)


def group_norm(
    x: npt.ArrayLike,
    num_groups: int,
    weight: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    *,
    eps: float = 1e-5,
) -> Array:
    """Normalise each of `num_groups` groups of channels of each image; `weight` and `bias` are (C,)."""
    x = np.asarray(x)
    w = wide(x)
    parts = np.split(w, num_groups, axis=1)
    y = np.concatenate([_standardised(part, tuple(range(1, x.ndim)), eps) for part in parts], axis=1)
    return narrow(_scaled(y, weight, bias, (-1,) + (1,) * (x.ndim - 2)), x.dtype)


def _standardised(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    if x.size == 0:
        return x
    mean = x.mean(axis=axes, keepdims=True)
    return np.asarray((x - mean) / np.sqrt(x.var(axis=axes, keepdims=True) + eps))


def _scaled(y: Array, weight: npt.ArrayLike | None, bias: npt.ArrayLike | None, shape: tuple[int, ...]) -> Array:
    if weight is not None:
        y = y * wide(weight).reshape(shape)
    return y if bias is None else y + wide(bias).reshape(shape)


def dropout(x: npt.ArrayLike, p: float = 0.5, *, seed: int, step: int = 0) -> Array:
    """Keep what :func:`dropout_mask` lets pass, times ``1 / (1 - p)``; the rest is 0."""
    x = np.asarray(x)
    kept = dropout_mask(x.shape, p, seed % 2**64, step)
    return np.asarray(np.where(kept, x * x.dtype.type(1 / (1 - p)), x.dtype.type(0)))


def dropout_mask(shape: Sequence[int], p: float, seed: int, step: int = 0, node: int = 0) -> Array:
    """Where dropout lets pass: the first word of Philox-4x32-10 at each element is at least ``p 2^32``.

    Parameters
    ----------
    shape : (N, ...)
    p : float
        The share that is dropped.
    seed, step, node : int
        The key is `seed`; the counter is (element within the image, image, step, node), each modulo 2^32.

    Returns
    -------
    ndarray of bool

    References
    ----------
    Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
    """
    images, elements = shape[0], math.prod(shape[1:])
    counter = np.zeros((4, images, elements), np.uint64)
    counter[0] = np.arange(elements)
    counter[1] = np.arange(images)[:, np.newaxis]
    counter[2], counter[3] = step & 0xFFFFFFFF, node & 0xFFFFFFFF
    word = philox(counter, seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF)[0]
    return np.asarray(word >= round(p * 2**32)).reshape(tuple(shape))


def philox(counter: Array, key0: int, key1: int) -> Array:
    """Ten rounds over counters (4, ...) of 32 bits, held in uint64."""
    a, b, c, d = counter
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    for turn in range(10):
        left, right = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        k0 = np.uint64((key0 + turn * 0x9E3779B9) & 0xFFFFFFFF)
        k1 = np.uint64((key1 + turn * 0xBB67AE85) & 0xFFFFFFFF)
        a, b, c, d = right >> half ^ b ^ k0, right & low, left >> half ^ d ^ k1, left & low
    return np.stack([a, b, c, d])
