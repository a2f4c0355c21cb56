"""Counts of right and wrong answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ._answers import classes_of
from ._labels import check_labels

Array = npt.NDArray[Any]


def accuracy(outputs: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Share of the images whose predicted class is the true one; NaN of none.

    Parameters
    ----------
    outputs : array_like of shape (N, K), floating, or (N,), integers
        Logits or probabilities, or the predicted classes.
    labels : array_like of shape (N,), integers

    Examples
    --------
    >>> accuracy([0, 1, 1, 2], [0, 1, 2, 2])
    0.75
    """
    predicted, n_classes = classes_of(outputs)
    true = check_labels(labels, len(predicted), n_classes)
    return float((true == predicted).mean()) if len(true) else float("nan")


def confusion_matrix(outputs: npt.ArrayLike, labels: npt.ArrayLike, *, n_classes: int | None = None) -> Array:
    """Count which class is taken for which.

    Parameters
    ----------
    outputs : array_like of shape (N, K), floating, or (N,), integers
        Logits or probabilities, or the predicted classes.
    labels : array_like of shape (N,), integers
    n_classes : int, optional
        By default K, or one more than the highest class that occurs.

    Returns
    -------
    ndarray of shape (K, K), int64
        Rows are true classes, columns predicted ones.

    Examples
    --------
    >>> confusion_matrix([0, 1, 1, 2], [0, 1, 2, 2])
    array([[1, 0, 0],
           [0, 1, 0],
           [0, 1, 1]])
    """
    predicted, known = classes_of(outputs)
    k = known if n_classes is None else n_classes
    true = check_labels(labels, len(predicted), k)
    predicted = check_labels(predicted, len(predicted), k, name="outputs")
    if k is None:
        k = int(max(true.max(initial=-1), predicted.max(initial=-1))) + 1
    return np.bincount(true * k + predicted, minlength=k * k).reshape(k, k).astype(np.int64)


def misclassification_rate(outputs: npt.ArrayLike, labels: npt.ArrayLike, *, n_classes: int | None = None) -> Array:
    """Share of each class's images that are taken for another.

    Parameters
    ----------
    outputs, labels, n_classes
        As of :func:`confusion_matrix`.

    Returns
    -------
    ndarray of shape (K,), float64
        NaN for a class without images.

    Examples
    --------
    >>> misclassification_rate([0, 1, 1, 2], [0, 1, 2, 2])
    array([0. , 0. , 0.5])
    """
    counts = confusion_matrix(outputs, labels, n_classes=n_classes)
    totals = counts.sum(axis=1)
    rate = np.full(len(counts), np.nan)
    np.divide(totals - np.diag(counts), totals, out=rate, where=totals > 0)
    return rate
