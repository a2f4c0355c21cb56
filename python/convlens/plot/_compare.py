"""Several methods side by side, for one image or several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ._colours import QUIET
from ._maps import Explained, draw_map, reduce_map
from ._picture import Picture, bare, shown

Array = npt.NDArray[Any]


def compare(
    maps: Mapping[str, Explained | npt.ArrayLike],
    pictures: npt.ArrayLike | Sequence[npt.ArrayLike] | None = None,
    *,
    captions: Sequence[str] | None = None,
    title: str = "",
    percentile: float = 99.0,
    columns: int | None = None,
    width: float = 1.15,
) -> Picture:
    """Draw methods in columns and images in rows.

    Parameters
    ----------
    maps : mapping of str to Explanation or array_like of shape (N, C, H, W)
        By the name that heads the column. Arrays are drawn with a sign if any of their values is negative.
    pictures : sequence of N array_like, or array_like of shape (N, C, H, W), optional
        Shown in the first column and beneath the maps.
    captions : sequence of N str, optional
        At the left of the rows.
    title : str
    percentile : float
        As of :func:`convlens.plot.signed_map`; unsigned maps are not clipped.
    columns : int, optional
        Of one image only: begin a new row after so many pictures, so that they may be large.
    width : float
        Of a map, in inches.

    Returns
    -------
    Picture
        Each map has its own scale, written beneath it.
    """
    if not maps:
        raise ValueError("`maps` is empty; give {name: explanation}")
    drawn = {name: _values(name, given) for name, given in maps.items()}
    counts = {name: len(values) for name, (values, _) in drawn.items()}
    rows = next(iter(counts.values()))
    under = None if pictures is None else [shown(each) for each in pictures]  # type: ignore[union-attr]
    if under is not None:
        counts["pictures"] = len(under)
    if captions is not None:
        counts["captions"] = len(captions)
    if len(set(counts.values())) != 1 or rows == 0:
        raise ValueError(f"`maps`, `pictures` and `captions` must be of as many images each, at least one: {counts}")
    first = 0 if under is None else 1
    across, lines = _grid(len(drawn) + first, rows, columns)
    values = next(iter(drawn.values()))[0]
    picture = Picture(
        width * across + (0.5 if captions else 0.1),
        (width * values.shape[-2] / values.shape[-1] + 0.12) * lines + 0.65 + (0.25 if title else 0),
    )
    picture.tighten()
    cells = picture.subplots(lines, across, squeeze=False)
    for spare in cells.flat[rows * (len(drawn) + first) :]:
        spare.set_axis_off()
    axes = cells.flat[: rows * (len(drawn) + first)].reshape(rows, -1)
    size = 7 if width < 1.5 else 8
    heading = _headed if width < 1.5 else str
    strongest = []
    for row in range(rows):
        if under is not None:
            axes[row, 0].imshow(under[row], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            bare(axes[row, 0], "image" if row == 0 else "", size=size)
        for column, (name, (values, signed)) in enumerate(drawn.items(), first):
            reduced = reduce_map(values[row], signed=signed, percentile=percentile if signed else 100.0)
            beneath = None if under is None else under[row]
            draw_map(axes[row, column], reduced, beneath, heading(name) if row == 0 else "", size=size)
            scale = "all zero" if reduced.empty else f"{'±' if signed else '0 to '}{reduced.limit:.2g}"
            axes[row, column].set_xlabel(scale, fontsize=6, labelpad=2, color=QUIET)
            if row == 0:
                known = np.nan_to_num(reduced.map)
                place = np.unravel_index(np.argmax(known), known.shape)
                where = f"highest at row {place[0]}, column {place[1]}" if known.any() else "zero everywhere"
                strongest.append(f"{name} is {where}")
        if captions is not None:
            axes[row, 0].set_ylabel(
                captions[row], fontsize=7, rotation=0, ha="right", va="center", labelpad=4, parse_math=False
            )
    if title:
        picture.suptitle(title, fontsize=9)
    caption = "Channels are summed. Each map has its own scale, written beneath it"
    signs = [signed for _, signed in drawn.values()]
    if any(signs):
        caption += f"; signed maps (orange for, purple against) are clipped at the {percentile:g}th percentile"
    if not all(signs):
        caption += "; unsigned maps (bright is more) are not clipped"
    alt = f"{title + ': ' if title else ''}{rows} image(s) explained by {', '.join(drawn)}. In the first, "
    return picture.describe(caption + ".", alt + "; ".join(strongest) + ".")


def _grid(pictures: int, rows: int, columns: int | None) -> tuple[int, int]:
    """Pictures across, and lines of them."""
    if columns is None:
        return pictures, rows
    if rows != 1:
        raise ValueError(f"`columns` (={columns}) is for one image, `maps` are of {rows}: leave it out")
    if columns < 1:
        raise ValueError(f"`columns` (={columns}) must be at least 1")
    return min(columns, pictures), math.ceil(pictures / columns)


def _values(name: str, given: Explained | npt.ArrayLike) -> tuple[Array, bool]:
    values = np.asarray(getattr(given, "channels_first", getattr(given, "values", given)), dtype=np.float64)
    if values.ndim != 4:
        raise ValueError(f"`maps[{name!r}]` has the shape {values.shape}; it must be (N, C, H, W)")
    signed = getattr(given, "signed", None)
    return values, bool((np.nan_to_num(values) < 0).any()) if signed is None else bool(signed)


def _headed(name: str) -> str:
    """Long names on two lines, so that columns can be narrow."""
    words = name.replace("_", " ").replace("grad cam", "Grad-CAM").split()
    if len(name) < 14 or len(words) == 1:
        return " ".join(words)
    half = (len(words) + 1) // 2
    return " ".join(words[:half]) + "\n" + " ".join(words[half:])
