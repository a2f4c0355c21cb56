"""The wrong answers a network is surest of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ._labels import check_labels

if TYPE_CHECKING:
    from ..plot import Picture

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Mistakes:
    """Wrong answers, the surest first.

    Attributes
    ----------
    index : ndarray of shape (M,), int64
        Places in the images that were given.
    labels, predicted : ndarray of shape (M,), int64
    confidence : ndarray of shape (M,), float64
        Probability of the predicted class.
    given_to_truth : ndarray of shape (M,), float64
        Probability of the true class.
    """

    index: Array
    labels: Array
    predicted: Array
    confidence: Array
    given_to_truth: Array

    def __len__(self) -> int:
        return len(self.index)

    def captions(self, names: Sequence[str] | None = None) -> list[str]:
        """Two lines for each picture: what it is, and what it was taken for."""
        named = [str(i) for i in range(1 + int(max(self.labels.max(initial=0), self.predicted.max(initial=0))))]
        named = named if names is None else [str(name) for name in names]
        return [
            f"{named[true]} taken for {named[taken]}\nwith {confidence:.0%}, image {index}"
            for index, true, taken, confidence in zip(
                self.index, self.labels, self.predicted, self.confidence, strict=True
            )
        ]

    def plot(
        self, images: npt.ArrayLike, names: Sequence[str] | None = None, *, title: str = "Worst mistakes"
    ) -> Picture:
        """Draw the pictures of the mistakes (extra ``[plot]``).

        Parameters
        ----------
        images : array_like of shape (N, C, H, W), or a sequence of pictures
            All of those the mistakes were found in.
        names : sequence of str, optional
            Of the classes.
        """
        from ..plot import gallery

        chosen = [np.asarray(images[int(i)]) for i in self.index]  # type: ignore[index]
        return gallery(chosen, self.captions(names), title=title)


def worst_mistakes(labels: npt.ArrayLike, probability: npt.ArrayLike, most: int = 12) -> Mistakes:
    """Find the wrong answers given with the highest confidence.

    Parameters
    ----------
    labels : array_like of shape (N,), integers
    probability : array_like of shape (N, K)
        What :func:`predict` returned.
    most : int
        How many at most.

    Returns
    -------
    Mistakes
        Sorted by confidence, then by index.

    Examples
    --------
    >>> worst_mistakes([0, 0, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]).index
    array([1, 2])
    """
    if most < 1:
        raise ValueError(f"`most` (={most!r}) must be at least 1")
    chances = np.asarray(probability, dtype=np.float64)
    if chances.ndim != 2:
        raise ValueError(f"`probability` has the shape {chances.shape}; it must be (N, K)")
    true = check_labels(labels, len(chances), chances.shape[1])
    predicted = chances.argmax(axis=1)
    confidence = chances[np.arange(len(chances)), predicted]
    wrong = np.flatnonzero(predicted != true)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")[:most]]
    return Mistakes(worst, true[worst], predicted[worst], confidence[worst], chances[worst, true[worst]])
