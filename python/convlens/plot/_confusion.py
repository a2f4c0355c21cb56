"""Which class is taken for which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.colors import PowerNorm

from ._colours import INK, PLAIN, QUIET, ink_on
from ._picture import Picture, bare


def confusion_matrix(matrix: npt.ArrayLike, names: Sequence[str] | None = None, *, title: str = "") -> Picture:
    """Draw a confusion matrix: rows are true classes, columns predicted ones.

    Parameters
    ----------
    matrix : array_like of shape (K, K)
        Counts; see :func:`convlens.diagnose.confusion_matrix`.
    names : sequence of K str, optional
        Of the classes; their numbers by default.
    title : str

    Returns
    -------
    Picture
        Coloured by the share of each row, on a square-root scale that keeps rare confusions visible; counts are
        written in the cells up to 20 classes.
    """
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.size == 0:
        raise ValueError(f"`matrix` has the shape {counts.shape}; it must be (K, K)")
    k = len(counts)
    labels = [str(i) for i in range(k)] if names is None else [str(name) for name in names]
    if len(labels) != k:
        raise ValueError(f"`names` has {len(labels)} names for {k} classes")
    totals = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    side = float(np.clip(0.38 * k + 1.2, 3.2, 9.0))
    picture = Picture(side + 0.5, side + 0.35)
    axes = picture.subplots()
    norm = PowerNorm(0.5, 0.0, 1.0)
    axes.imshow(share, cmap=PLAIN, norm=norm, interpolation="nearest")
    if k <= 20:
        for row in range(k):
            for column in range(k):
                if counts[row, column]:
                    ink = ink_on(PLAIN(norm(share[row, column])))
                    axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", fontsize=7, color=ink)
    bare(axes, title)
    places = range(0, k, max(1, k // 25))
    turned = 90 if max(map(len, labels)) > 3 else 0
    axes.set_xticks(list(places), [labels[i] for i in places], fontsize=7, color=INK, rotation=turned)
    axes.set_yticks(list(places), [labels[i] for i in places], fontsize=7, color=INK)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted", fontsize=8, color=QUIET)
    axes.set_ylabel("true", fontsize=8, color=QUIET)
    right, total = int(np.trace(counts)), int(counts.sum())
    wrong = counts - np.diag(np.diag(counts))
    alt = f"{title + ': ' if title else ''}confusion matrix of {k} classes, {right} of {total} right"
    if wrong.any():
        true, taken = divmod(int(np.argmax(wrong)), k)
        alt += f"; most often {labels[true]} is taken for {labels[taken]} ({wrong[true, taken]} times)"
    caption = "Colour: share of the row (true class), on a square-root scale. Numbers: images."
    return picture.describe(caption, alt + ".")
