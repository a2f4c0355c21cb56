"""Everything at once: a report that prints well and draws itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..nn import Network
from ._answers import predict
from ._labels import check_labels
from ._metrics import accuracy, confusion_matrix, misclassification_rate
from ._mistakes import Mistakes, worst_mistakes

if TYPE_CHECKING:
    from ..plot import Picture

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Report:
    """How often a network is right, what it confuses, and its worst mistakes; it prints as a table.

    Attributes
    ----------
    accuracy : float
    labels, predicted : ndarray of shape (N,), int64
    probability : ndarray of shape (N, K), float64
    confusion : ndarray of shape (K, K), int64
        Rows are true classes, columns predicted ones.
    misclassification_rate : ndarray of shape (K,), float64
        By true class; NaN for a class without images.
    mistakes : Mistakes
        Wrong answers, the surest first.
    names : tuple of K str
        Of the classes.
    """

    accuracy: float
    labels: Array
    predicted: Array
    probability: Array
    confusion: Array
    misclassification_rate: Array
    mistakes: Mistakes
    names: tuple[str, ...]

    def plot_confusion(self, *, title: str = "") -> Picture:
        """Draw the confusion matrix (extra ``[plot]``)."""
        from ..plot import confusion_matrix as draw

        return draw(self.confusion, self.names, title=title)

    def plot_mistakes(self, images: npt.ArrayLike, *, title: str = "Worst mistakes") -> Picture:
        """Draw the worst mistakes among the images the report was made of (extra ``[plot]``)."""
        return self.mistakes.plot(images, title=title)

    def __repr__(self) -> str:
        n, right = len(self.labels), int((self.labels == self.predicted).sum())
        lines = [f"accuracy {self.accuracy:.4f} ({right} of {n} right)", ""]
        width = max(5, *(len(name) for name in self.names))
        lines.append(f"{'class':<{width}}  {'images':>6}  {'wrong':>5}  {'rate':>6}  most often taken for")
        for k, name in enumerate(self.names):
            row = self.confusion[k]
            wrong = int(row.sum() - row[k])
            others = np.where(np.arange(len(row)) == k, 0, row)
            taken = int(others.argmax())
            rate = self.misclassification_rate[k]
            shown = "     -" if np.isnan(rate) else f"{rate:6.1%}"
            mistaken = f"{self.names[taken]} ({others[taken]})" if wrong else ""
            lines.append(f"{name:<{width}}  {int(row.sum()):>6}  {wrong:>5}  {shown}  {mistaken}".rstrip())
        if len(self.mistakes):
            lines += ["", "worst mistakes", *("  " + line for line in repr(self.mistakes[:5]).splitlines())]
        return "\n".join(lines)


def report(
    net: Network, images: npt.ArrayLike, labels: npt.ArrayLike, *, names: Sequence[str] | None = None, count: int = 12
) -> Report:
    """Run a network on labelled images and say where it fails.

    Parameters
    ----------
    net : Network
        That chooses one of K classes.
    images : array_like of shape (N, C, H, W)
    labels : array_like of shape (N,), integers
    names : sequence of K str, optional
        Of the classes; their numbers by default.
    count : int
        Mistakes to keep.

    Returns
    -------
    Report

    Raises
    ------
    TypeError, ValueError
        If labels or names do not fit; the message says what would.

    Examples
    --------
    >>> import numpy as np
    >>> from convlens import diagnose, nn
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(out_features=2), input_shape=(1, 1, 2), seed=0)
    >>> net.set_parameters({"linear1.weight": np.eye(2)})
    >>> images = np.array([[3, 0], [0, 3], [0, 3]], np.float32).reshape(3, 1, 1, 2)
    >>> found = diagnose.report(net, images, [0, 1, 0])
    >>> found.misclassification_rate
    array([0.5, 0. ])
    """
    probability = predict(net, images)
    n, n_classes = probability.shape
    true = check_labels(labels, n, n_classes)
    named = tuple(str(i) for i in range(n_classes)) if names is None else tuple(str(name) for name in names)
    if len(named) != n_classes:
        raise ValueError(f"`names` has {len(named)} names for the {n_classes} classes of the network")
    return Report(
        accuracy(probability, true),
        true,
        probability.argmax(axis=1),
        probability,
        confusion_matrix(probability, true),
        misclassification_rate(probability, true),
        worst_mistakes(probability, true, count=count, names=named),
        named,
    )
