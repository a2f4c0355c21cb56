"""The figure everything is drawn on, outside pyplot's global state."""

from __future__ import annotations

import io
import os
import textwrap
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ._colours import INK, QUIET

_METADATA = {"png": "Description", "svg": "Description", "pdf": "Subject"}


class Picture(Figure):
    """A Matplotlib figure with a caption and alternative text; notebooks show it, ``savefig`` writes it.

    Attributes
    ----------
    caption : str
        What was reduced, clipped and scaled; drawn under the picture.
    alt_text : str
        The picture in words; stored in PNG, SVG and PDF files.
    """

    def __init__(self, width: float, height: float) -> None:
        super().__init__(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")
        FigureCanvasAgg(self)
        self.caption = ""
        self.alt_text = ""

    def describe(self, caption: str, alt_text: str) -> Picture:
        """Set caption and alternative text; draws the caption."""
        self.caption, self.alt_text = caption, alt_text
        if caption:
            # About 17 characters of this size stand on an inch.
            lines = textwrap.wrap(caption, max(24, int(17 * self.get_figwidth())))
            self.supxlabel("\n".join(lines), fontsize=7, color=QUIET, x=0.5)
        return self

    def suptitle(self, t: str, **options: Any) -> Any:
        """Set the title as it is: a dollar sign begins no formula."""
        return super().suptitle(t, **{"parse_math": False, **options})

    def tighten(self) -> None:
        """Put the axes of a grid close together."""
        self.set_layout_engine("constrained", w_pad=0.02, h_pad=0.03, wspace=0, hspace=0)

    def savefig(self, fname: str | os.PathLike[Any] | IO[Any], **options: Any) -> None:
        """Write the picture; PNG, SVG and PDF files carry the alternative text."""
        ending = Path(fname).suffix[1:] if isinstance(fname, (str, os.PathLike)) else ""
        field = _METADATA.get(str(options.get("format") or ending or "png").lower())
        if field and self.alt_text:
            options["metadata"] = {field: self.alt_text, **(options.get("metadata") or {})}
        super().savefig(fname, **options)

    def _repr_png_(self) -> bytes:
        written = io.BytesIO()
        self.savefig(written, format="png")
        return written.getvalue()


def bare(axes: Axes, title: str = "", *, size: float = 8) -> None:
    """Take ticks and frame away, and set a title."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(title, fontsize=size, color=INK, pad=4, parse_math=False)


def shown(picture: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return a picture as Matplotlib draws it: (H, W) or (H, W, 3), 0 to 1.

    Parameters
    ----------
    picture : array_like of shape (H, W), (H, W, 3), (C, H, W) or (1, C, H, W) with C 1 or 3
        uint8, or floats; floats beyond 0 and 1 are stretched to them.
    """
    array = np.asarray(picture)
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    if array.ndim == 3 and array.shape[2] not in (1, 3) and array.shape[0] in (1, 3):
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim == 3 and array.shape[0] == 1 and array.shape[2] not in (1, 3):
        array = array[0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3) or array.size == 0:
        raise ValueError(
            f"`picture` has the shape {np.shape(picture)}; it must be (H, W), (H, W, 3) or (C, H, W), C 1 or 3"
        )
    if array.dtype == np.uint8:
        return array / 255.0
    array = array.astype(np.float64)
    low, high = float(np.nanmin(array)), float(np.nanmax(array))
    if low < 0 or high > 1:
        array = (array - low) / (high - low) if high > low else np.full_like(array, 0.5)
    return np.asarray(np.clip(np.nan_to_num(array), 0, 1))
