"""Counts of right and wrong answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ._labels import check_labels

Array = npt.NDArray[Any]


def accuracy(labels: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Share of the images whose predicted class is the true one; NaN of none.

    Parameters
    ----------
    labels, predicted : array_like of shape (N,), integers

    Examples
    --------
    >>> accuracy([0, 1, 2, 2], [0, 1, 1, 2])
    0.75
    """
    true, answered = _pair(labels, predicted)
    return float((true == answered).mean()) if len(true) else float("nan")


def confusion_matrix(labels: npt.ArrayLike, predicted: npt.ArrayLike, n_classes: int | None = None) -> Array:
    """Count which class is taken for which.

    Parameters
    ----------
    labels, predicted : array_like of shape (N,), integers
    n_classes : int, optional
        By default one more than the highest class that occurs.

    Returns
    -------
    ndarray of shape (K, K), int64
        Rows are true classes, columns predicted ones.

    Examples
    --------
    >>> confusion_matrix([0, 1, 2, 2], [0, 1, 1, 2])
    array([[1, 0, 0],
           [0, 1, 0],
           [0, 1, 1]])
    """
    true, answered = _pair(labels, predicted, n_classes)
    k = n_classes if n_classes is not None else int(max(true.max(initial=-1), answered.max(initial=-1))) + 1
    return np.bincount(true * k + answered, minlength=k * k).reshape(k, k).astype(np.int64)


def misclassification_rate(matrix: npt.ArrayLike) -> Array:
    """Share of each class's images that are taken for another.

    Parameters
    ----------
    matrix : array_like of shape (K, K)
        What :func:`confusion_matrix` returned.

    Returns
    -------
    ndarray of shape (K,), float64
        NaN for a class without images.

    Examples
    --------
    >>> misclassification_rate([[1, 0, 0], [0, 1, 0], [0, 1, 1]])
    array([0. , 0. , 0.5])
    """
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"`matrix` has the shape {counts.shape}; it must be (K, K)")
    totals = counts.sum(axis=1)
    rate = np.full(len(counts), np.nan)
    np.divide(totals - np.diag(counts), totals, out=rate, where=totals > 0)
    return rate


def _pair(labels: npt.ArrayLike, predicted: npt.ArrayLike, n_classes: int | None = None) -> tuple[Array, Array]:
    n = len(np.atleast_1d(np.asarray(predicted)))
    return check_labels(labels, n, n_classes), check_labels(predicted, n, n_classes, name="predicted")
