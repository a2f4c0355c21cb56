"""Checks of what `fit` learns from, and the order it learns in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def check_labels(name: str, labels: npt.ArrayLike, *, images: int, classes: int) -> npt.NDArray[np.int64]:
    """Return `labels` as int64 of shape (images,), or say what is wrong with them.

    Raises
    ------
    TypeError
        They are not integers.
    ValueError
        Their number or range does not fit.
    """
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape == (images, classes):
        raise ValueError(
            f"`{name}` has shape {array.shape}, one column a class: give the classes, {name}.argmax(axis=1)"
        )
    if array.dtype.kind not in "iu":
        raise TypeError(f"`{name}` is {array.dtype}, classes are integers: convert with {name}.astype(np.int64)")
    if array.shape != (images,):
        raise ValueError(f"`{name}` has shape {array.shape}, it must be ({images},), one class an image")
    if array.size and (array.min() < 0 or array.max() >= classes):
        raise ValueError(
            f"`{name}` holds {array.min()} to {array.max()}, the network has the classes 0 to {classes - 1}: renumber "
            f"the labels from 0, or give the last layer out_features={int(array.max()) + 1}"
        )
    return array.astype(np.int64)


def shuffled(count: int, *, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """The order of one epoch, a function of seed and epoch alone, so that a resumed training meets the same batches."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch,))).permutation(count)


def cross_entropy(logits: Array, labels: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Mean loss and accuracy of logits (N, classes), in double."""
    wide = logits.astype(np.float64)
    shifted = wide - wide.max(axis=1, keepdims=True)
    of_label = shifted[np.arange(len(labels)), labels] - np.log(np.exp(shifted).sum(axis=1))
    return float(-of_label.mean()), float((wide.argmax(axis=1) == labels).mean())
