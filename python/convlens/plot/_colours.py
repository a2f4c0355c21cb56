"""Colours that the colour-blind can tell apart and a grey print keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb

INK, QUIET, RULE = "#1f2328", "#57606a", "#d0d7de"
#: Lines of a chart, told apart by lightness too (Okabe and Ito's blue and vermilion).
FIRST, SECOND = "#0072b2", "#d55e00"


def _signed() -> Colormap:
    # PuOr, turned so that orange is positive, and cut there: the ends differ in lightness, so the sign of what is
    # strong survives grey print, where the ends of PuOr and RdBu look alike.
    sampled = colormaps["PuOr_r"](np.concatenate([np.linspace(0.0, 0.5, 128), np.linspace(0.5, 0.87, 128)]))
    return LinearSegmentedColormap.from_list("convlens_signed", sampled)


SIGNED = _signed()
UNSIGNED = colormaps["viridis"]
PLAIN = colormaps["cividis"]


def luminance(colour: Any) -> float:
    """Relative luminance of a colour by WCAG 2, 0 to 1."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one: Any, other: Any) -> float:
    """Contrast ratio of two colours by WCAG 2, 1 to 21.

    >>> round(contrast("black", "white"))
    21
    """
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def ink_on(colour: Any) -> str:
    """Black or white, whichever reads better on a colour; always at least 4.5 to 1."""
    return "white" if contrast("white", colour) >= contrast("black", colour) else "black"


def grey(picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Luma of a picture (H, W) or (H, W, 3), 0 to 1."""
    return picture if picture.ndim == 2 else np.asarray(picture @ (0.299, 0.587, 0.114))
