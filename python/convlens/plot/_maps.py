"""One map over one picture: with a sign, or without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from ._colours import INK, QUIET, RULE, SIGNED, UNSIGNED, grey
from ._picture import Picture, bare, shown

Array = npt.NDArray[Any]


_TITLES = {"grad_cam": "Grad-CAM", "rise": "RISE"}


class Explained(Protocol):
    """What :func:`explanation` reads of an explanation."""

    @property
    def values(self) -> Array: ...
    @property
    def method(self) -> str: ...
    @property
    def target(self) -> Array: ...
    @property
    def score(self) -> Array: ...
    @property
    def layer(self) -> str | None: ...
    @property
    def signed(self) -> bool: ...
    @property
    def arguments(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Reduced:
    """A map (H, W) ready to draw, its scale, and what was done to it."""

    map: Array
    limit: float
    caption: str
    signed: bool
    #: What the lowest and the highest values do.
    ends: tuple[str, str] = ("against", "for")

    @property
    def empty(self) -> bool:
        """Whether there is nothing to see."""
        return not np.nan_to_num(self.map if self.signed else np.maximum(self.map, 0)).any()

    def rgba(self, *, veil: bool) -> Array:
        """Colours (H, W, 4); with `veil`, what is small lets the picture beneath show."""
        unit = np.clip(np.nan_to_num(self.map) / self.limit, -1 if self.signed else 0, 1)
        colours = SIGNED((unit + 1) / 2) if self.signed else UNSIGNED(unit)
        if veil:
            strength = np.abs(unit) ** 0.75 if self.signed else 0.35 + 0.45 * unit
            colours[..., 3] = np.where(np.isnan(self.map), 0, strength)
        else:
            colours[..., 3] = np.where(np.isnan(self.map), 0, 1)
        return np.asarray(colours)

    def scale(self) -> ScalarMappable:
        """What a colour bar needs."""
        low = -self.limit if self.signed else 0.0
        return ScalarMappable(Normalize(low, self.limit), SIGNED if self.signed else UNSIGNED)


def signed_map(
    values: npt.ArrayLike,
    picture: npt.ArrayLike | None = None,
    *,
    title: str = "",
    percentile: float = 99.0,
    limit: float | None = None,
    ends: tuple[str, str] = ("against", "for"),
) -> Picture:
    """Draw a map whose sign matters: orange speaks for, purple against, nothing is zero.

    Parameters
    ----------
    values : array_like of shape (H, W), (C, H, W) or (1, C, H, W)
        Channels are summed.
    picture : array_like, optional
        Shown beneath in pale grey; see :class:`Picture`.
    title : str
    percentile : float
        Absolute values beyond this percentile get the strongest colour, so that one pixel does not pale the others.
    limit : float, optional
        The value of the strongest colour; give several pictures the same to compare them.
    ends : (str, str)
        What negative and positive values do, such as ``("lowers", "raises")`` of the gradient of a loss.

    Returns
    -------
    Picture
    """
    reduced = reduce_map(values, signed=True, percentile=percentile, limit=limit)
    return _one(replace(reduced, ends=(str(ends[0]), str(ends[1]))), picture, title)


def overlay(
    values: npt.ArrayLike,
    picture: npt.ArrayLike | None = None,
    *,
    title: str = "",
    percentile: float = 100.0,
    limit: float | None = None,
) -> Picture:
    """Draw a map of importance without sign over its picture, in viridis.

    Parameters
    ----------
    values : array_like of shape (H, W), (C, H, W) or (1, C, H, W)
        Channels are summed; negative values are drawn as zero.
    picture, title, percentile, limit
        As of :func:`signed_map`.

    Returns
    -------
    Picture
    """
    return _one(reduce_map(values, signed=False, percentile=percentile, limit=limit), picture, title)


def explanation(why: Explained, picture: npt.ArrayLike | None = None, **options: Any) -> Picture:
    """Draw the explanation of one image as its method asks for: with a sign, or without.

    Parameters
    ----------
    why : Explanation
        Of one image: ``why[0]``.
    picture : array_like, optional
    **options
        Of :func:`signed_map` or :func:`overlay`.

    Returns
    -------
    Picture
    """
    if why.values.ndim == 3:
        raise ValueError(
            f"the values {why.values.shape} are of a signal (N, C, L), whose map is a curve: draw it with Matplotlib's "
            "axes.plot(np.asarray(why)[0].T)"
        )
    options.setdefault("title", title_of(why))
    values = getattr(why, "channels_first", why.values)
    if values.ndim == 4 and values.shape[1] > 4:
        from ._grid import feature_maps

        return feature_maps(values[0], **options)
    if why.signed and why.arguments.get("of") == "loss":
        options.setdefault("ends", ("lowers", "raises"))
    return (signed_map if why.signed else overlay)(values, picture, **options)


def title_of(why: Explained) -> str:
    """Method, layer, target and score of an explanation of one image."""
    words = _TITLES.get(why.method) or why.method.replace("_", " ").capitalize()
    if why.layer:
        words += f" at {why.layer}"
    target = np.asarray(why.target[0])
    if target.ndim == 0:
        words += f", class {target}"
    elif target.dtype.kind == "i":
        words += f", place {tuple(target.tolist())}"
    scored = "loss" if why.arguments.get("of") == "loss" else "score"
    return f"{words}, {scored} {float(why.score[0]):.3g}"


def reduce_map(values: npt.ArrayLike, *, signed: bool, percentile: float, limit: float | None = None) -> Reduced:
    """Sum the channels of a map and find its scale."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    if array.ndim not in (2, 3) or array.size == 0:
        raise ValueError(f"`values` has the shape {np.shape(values)}; one map is (H, W), (C, H, W) or (1, C, H, W)")
    if not 0 < percentile <= 100:
        raise ValueError(f"`percentile` (={percentile!r}) must be above 0 and at most 100")
    channels = 1 if array.ndim == 2 else len(array)
    flat = array if array.ndim == 2 else array.sum(axis=0)
    words = [f"summed over {channels} channels"] if channels > 1 else ["one channel"]
    size = np.abs(flat) if signed else np.maximum(flat, 0)
    known = size[~np.isnan(size)]
    if limit is not None:
        if not limit > 0:
            raise ValueError(f"`limit` (={limit!r}) must be positive")
        words.append("scale given")
    else:
        top = float(known.max()) if known.size else 0.0
        limit = float(np.percentile(known, percentile)) if known.size else 0.0
        if limit == 0 and top > 0:
            limit = top
        if limit < top:
            words.append(f"clipped at the {percentile:g}th percentile of absolute values")
        else:
            words.append("not clipped")
    if limit == 0:
        words.append("zero everywhere")
        limit = 1.0
    words.append(f"scale {'±' if signed else '0 to '}{limit:.3g}")
    return Reduced(flat, limit, ", ".join(words), signed)


def draw_map(axes: Axes, reduced: Reduced, picture: npt.ArrayLike | None, title: str = "", *, size: float = 8) -> None:
    """Draw a map into axes, over its picture if there is one."""
    height, width = reduced.map.shape
    box = (-0.5, width - 0.5, height - 0.5, -0.5)
    smooth = "bilinear" if not reduced.signed else "nearest"
    if picture is None:
        axes.imshow(reduced.rgba(veil=False), extent=box, interpolation="nearest")
    else:
        under = grey(shown(picture))
        # A pale underlay: the colours keep their lightness and lines stay visible through them.
        pale = 0.76 + 0.24 * under if reduced.signed else under
        axes.imshow(pale, cmap="gray", vmin=0, vmax=1, extent=box, interpolation="nearest")
        axes.imshow(reduced.rgba(veil=True), extent=box, interpolation=smooth)
    bare(axes, title, size=size)
    for spine in axes.spines.values():
        spine.set(visible=True, color=RULE, linewidth=0.6)


def draw_scale(picture: Picture, axes: Axes, reduced: Reduced) -> None:
    """A thin colour bar beside a map."""
    bar = picture.colorbar(reduced.scale(), ax=axes, fraction=0.045, pad=0.02, aspect=24)
    bar.outline.set_visible(False)
    low = -reduced.limit if reduced.signed else 0.0
    bar.set_ticks([low, 0.0, reduced.limit] if reduced.signed else [0.0, reduced.limit])
    labels = (
        [f"{low:.2g}\n{reduced.ends[0]}", "0", f"{reduced.limit:.2g}\n{reduced.ends[1]}"]
        if reduced.signed
        else ["0", f"{reduced.limit:.2g}"]
    )
    bar.set_ticklabels(labels)
    bar.ax.tick_params(labelsize=7, length=0, labelcolor=INK, color=QUIET)


def words_of(reduced: Reduced) -> str:
    """Where a map is strongest, in words."""
    known = np.nan_to_num(reduced.map)
    if not known.any():
        return "It is zero everywhere."
    row, column = np.unravel_index(np.argmax(known), known.shape)
    size = f"{known.shape[0]} x {known.shape[1]}"
    text = f"Its highest value, {known[row, column]:.3g}, is at row {row}, column {column} of {size}"
    if reduced.signed and known.min() < 0:
        row, column = np.unravel_index(np.argmin(known), known.shape)
        text += f"; its lowest, {known[row, column]:.3g}, at row {row}, column {column}"
    return text + "."


def _one(reduced: Reduced, picture: npt.ArrayLike | None, title: str) -> Picture:
    height, width = reduced.map.shape
    drawn = Picture(3.9, max(2.0, min(6.0, 3.2 * height / width + 0.75)))
    axes = drawn.subplots()
    draw_map(axes, reduced, picture, title)
    draw_scale(drawn, axes, reduced)
    caption = reduced.caption[0].upper() + reduced.caption[1:] + "."
    if picture is not None and reduced.signed:
        caption += " Small values let the picture show."
    low, high = reduced.ends
    kind = f"Signed map, orange {high} and purple {low}" if reduced.signed else "Map of importance, brighter is more"
    beneath = " over its picture" if picture is not None else ""
    return drawn.describe(caption, f"{title + ': ' if title else ''}{kind}{beneath}. {words_of(reduced)}")
