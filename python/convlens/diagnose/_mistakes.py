"""The wrong answers a network is surest of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from ._answers import probabilities_of
from ._labels import check_labels

if TYPE_CHECKING:
    from ..plot import Picture


@dataclass(frozen=True)
class Mistake:
    """One wrong answer.

    Attributes
    ----------
    index : int
        Place of the image among those given.
    label, predicted : int
        The true class, and the one it was taken for.
    confidence : float
        Probability the network gave to its answer.
    doubt : float
        Probability it gave to the true class.
    """

    index: int
    label: int
    predicted: int
    confidence: float
    doubt: float


class Mistakes(Sequence[Mistake]):
    """Wrong answers, the surest first; prints as a list and draws its pictures."""

    def __init__(self, mistakes: Sequence[Mistake], names: Sequence[str] | None = None) -> None:
        self._mistakes = tuple(mistakes)
        self._names = names

    @overload
    def __getitem__(self, place: int) -> Mistake: ...
    @overload
    def __getitem__(self, place: slice) -> Mistakes: ...
    def __getitem__(self, place: int | slice) -> Mistake | Mistakes:
        found = self._mistakes[place]
        return found if isinstance(found, Mistake) else Mistakes(found, self._names)

    def __len__(self) -> int:
        return len(self._mistakes)

    def captions(self) -> list[str]:
        """Two lines for each: what it is, what it was taken for and how surely."""
        return [
            f"{self._name(one.label)} taken for {self._name(one.predicted)}\n"
            f"with {one.confidence:.0%}, image {one.index}"
            for one in self
        ]

    def plot(self, images: npt.ArrayLike | Sequence[Any], *, title: str = "Worst mistakes") -> Picture:
        """Draw the pictures of the mistakes (extra ``[plot]``).

        Parameters
        ----------
        images : array_like of shape (N, C, H, W), or a sequence of N pictures
            All those the mistakes were found in.
        title : str
        """
        from ..plot import gallery

        chosen = [np.asarray(images[one.index]) for one in self]  # type: ignore[index]
        return gallery(chosen, self.captions(), title=title)

    def __repr__(self) -> str:
        return "\n".join(caption.replace("\n", " ") for caption in self.captions()) or "no mistakes"

    def _name(self, number: int) -> str:
        return str(number) if self._names is None else str(self._names[number])


def worst_mistakes(
    outputs: npt.ArrayLike, labels: npt.ArrayLike, *, count: int = 12, names: Sequence[str] | None = None
) -> Mistakes:
    """Find the wrong answers given with the highest confidence.

    Parameters
    ----------
    outputs : array_like of shape (N, K), floating
        Logits, or probabilities (none negative, rows that sum to 1).
    labels : array_like of shape (N,), integers
    count : int
        How many at most.
    names : sequence of K str, optional
        Of the classes.

    Returns
    -------
    Mistakes
        A sequence of :class:`Mistake`, by confidence, then by index.

    Examples
    --------
    >>> worst_mistakes([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], [0, 0, 1])
    0 taken for 1 with 80%, image 1
    1 taken for 0 with 60%, image 2
    """
    if count < 1:
        raise ValueError(f"`count` (={count!r}) must be at least 1")
    chances = probabilities_of(outputs)
    true = check_labels(labels, len(chances), chances.shape[1])
    predicted = chances.argmax(axis=1)
    confidence = chances[np.arange(len(chances)), predicted]
    wrong = np.flatnonzero(predicted != true)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")[:count]]
    found = [
        Mistake(int(i), int(true[i]), int(predicted[i]), float(confidence[i]), float(chances[i, true[i]]))
        for i in worst
    ]
    return Mistakes(found, names)
