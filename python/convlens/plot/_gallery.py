"""Pictures with captions, in rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ._picture import Picture, bare, shown


def gallery(
    pictures: npt.ArrayLike | Sequence[npt.ArrayLike],
    captions: Sequence[str] | None = None,
    *,
    title: str = "",
    caption: str = "",
    columns: int = 6,
    width: float = 1.25,
) -> Picture:
    """Draw pictures side by side, such as the worst mistakes.

    Parameters
    ----------
    pictures : sequence of array_like, or array_like of shape (N, C, H, W)
    captions : sequence of N str, optional
        Above the pictures; a line break parts lines.
    title, caption : str
        Above and below all of them.
    columns : int
    width : float
        Of a picture, in inches.

    Returns
    -------
    Picture
    """
    images = [shown(each) for each in pictures]  # type: ignore[union-attr]
    if not images:
        raise ValueError("`pictures` is empty: there is nothing to draw")
    texts = [""] * len(images) if captions is None else [str(text) for text in captions]
    if len(texts) != len(images):
        raise ValueError(f"`captions` has {len(texts)} texts for {len(images)} pictures")
    columns = max(1, min(columns, len(images)))
    rows = math.ceil(len(images) / columns)
    lines = max(text.count("\n") + 1 for text in texts) if any(texts) else 0
    shape = float(np.mean([image.shape[0] / image.shape[1] for image in images]))
    height = rows * ((width - 0.1) * shape + 0.14 * lines + 0.12) + (0.3 if title else 0.05)
    picture = Picture(width * columns + 0.1, height + (0.2 if caption else 0))
    picture.tighten()
    axes = picture.subplots(rows, columns, squeeze=False)
    for i, cell in enumerate(axes.flat):
        if i < len(images):
            cell.imshow(images[i], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            bare(cell, texts[i], size=7)
        else:
            cell.set_axis_off()
    if title:
        picture.suptitle(title, fontsize=9)
    told = "; ".join(text.replace("\n", ", ") for text in texts if text)
    return picture.describe(
        caption, f"{title + ': ' if title else ''}{len(images)} pictures{': ' + told if told else ''}."
    )
