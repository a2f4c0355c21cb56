"""Labels as numbers of classes, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def check_labels(labels: npt.ArrayLike, n: int, n_classes: int | None = None, *, name: str = "labels") -> Array:
    """Return `labels` as int64, or say what is wrong with them.

    Parameters
    ----------
    labels : array_like of shape (n,), integers
    n : int
        Number of images.
    n_classes : int, optional
        Labels must be below it.
    name : str
        The argument's name in errors.

    Returns
    -------
    ndarray of shape (n,), int64

    Raises
    ------
    TypeError
        If they are no integers.
    ValueError
        If their number or range is wrong, or they are one-hot.

    Examples
    --------
    >>> check_labels([0, 2, 1], 3, 3)
    array([0, 2, 1])
    """
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] > 1 and len(array) == n:
        raise ValueError(
            f"`{name}` has the shape {array.shape}: one-hot labels become numbers with {name}.argmax(axis=1)"
        )
    if array.ndim == 2 and array.shape[1] == 1:
        raise ValueError(f"`{name}` has the shape {array.shape}; it must be ({n},): {name}[:, 0]")
    if array.shape != (n,):
        raise ValueError(f"`{name}` has the shape {array.shape} for {n} images; it must be ({n},)")
    if n == 0:
        return np.zeros(0, np.int64)
    if array.dtype.kind == "f" and (array == np.floor(array)).all():
        raise TypeError(f"`{name}` is {array.dtype.name}; classes are integers: {name}.astype(int)")
    if array.dtype.kind not in "iu":
        raise TypeError(f"`{name}` is {array.dtype}; classes are integers from 0")
    low, high = int(array.min()), int(array.max())
    if low < 0 or (n_classes is not None and high >= n_classes):
        wrong, limit = (low, "0 or more") if low < 0 else (high, f"below the {n_classes} classes of the network")
        one_based = " (do they begin at 1? subtract 1)" if low == 1 and high == n_classes else ""
        raise ValueError(f"`{name}` holds {wrong}; it must be {limit}{one_based}")
    return array.astype(np.int64)
