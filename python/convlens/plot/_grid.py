"""Many small maps in one grid: a layer's channels, or its kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize

from ._colours import INK, QUIET, SIGNED, UNSIGNED
from ._picture import Picture, bare

Array = npt.NDArray[Any]


def feature_maps(
    activations: npt.ArrayLike,
    *,
    title: str = "",
    most: int = 64,
    columns: int | None = None,
    limit: float | None = None,
) -> Picture:
    """Draw the channels of one layer for one image, on one common scale.

    Parameters
    ----------
    activations : array_like of shape (K, h, w) or (1, K, h, w)
    title : str
    most : int
        If there are more channels, those with the largest mean absolute value are drawn, in their own order.
    columns : int, optional
    limit : float, optional
        The value of the strongest colour; by default the largest absolute value.

    Returns
    -------
    Picture
        Viridis from 0 where nothing is negative; else orange and purple around white. Numbers are channels.
    """
    maps = _stack("activations", activations)
    chosen = _strongest(maps, most)
    signed = bool(maps.min() < 0)
    limit = _limit(maps, limit)
    tiles = [(str(k), maps[k]) for k in chosen]
    left_out = len(maps) - len(tiles)
    which = f"The {len(tiles)} strongest of {len(maps)} channels" if left_out else f"All {len(maps)} channels"
    caption = f"{which}, one common scale {'±' if signed else '0 to '}{limit:.3g}, not clipped."
    dead = int((np.abs(maps).reshape(len(maps), -1).max(axis=1) == 0).sum())
    alt = f"{title + ': ' if title else ''}grid of {len(tiles)} feature maps of {maps.shape[1]} x {maps.shape[2]}"
    if dead:
        caption += f" {dead} zero everywhere."
        alt += f"; {dead} of {len(maps)} channels are zero everywhere"
    return _mosaic(tiles, signed, limit, columns, title).describe(caption, alt + ".")


def kernels(weight: npt.ArrayLike, *, title: str = "", most: int = 64, columns: int | None = None) -> Picture:
    """Draw the kernels of a convolution.

    Parameters
    ----------
    weight : array_like of shape (K, C, R, S)
        With one channel each kernel is one tile, with three one tile in colour (0 is grey), else each channel of a
        kernel is one tile, labelled ``k,c``.
    title : str
    most : int
        Tiles at most; those with the largest mean absolute value.
    columns : int, optional

    Returns
    -------
    Picture
        Orange is positive, purple negative, on one common scale.
    """
    array = np.asarray(weight, dtype=np.float64)
    if array.ndim != 4 or array.size == 0:
        raise ValueError(f"`weight` has the shape {array.shape}; kernels are (K, C, R, S)")
    channels = array.shape[1]
    limit = _limit(array, None)
    if channels == 3:
        chosen = _strongest(array.reshape(len(array), -1, 1), most)
        tiles = [(str(k), np.moveaxis(0.5 + 0.5 * array[k] / limit, 0, -1)) for k in chosen]
        total, unit = len(array), "kernels, red, green and blue as colour, grey is zero"
    else:
        flat = array.reshape(-1, *array.shape[2:])
        chosen = _strongest(flat, most)
        tiles = [(str(i) if channels == 1 else f"{i // channels},{i % channels}", flat[i]) for i in chosen]
        total, unit = len(flat), "kernels" if channels == 1 else "channels of kernels (kernel,channel)"
    which = f"The {len(tiles)} strongest of {total}" if len(tiles) < total else f"All {total}"
    caption = f"{which} {unit}; one common scale ±{limit:.3g}, not clipped."
    alt = f"{title + ': ' if title else ''}grid of {len(tiles)} kernels of {array.shape[2]} x {array.shape[3]}."
    return _mosaic(tiles, True, limit, columns, title).describe(caption, alt)


def _mosaic(tiles: list[tuple[str, Array]], signed: bool, limit: float, columns: int | None, title: str) -> Picture:
    """One image for all tiles: a hundred axes would take seconds to lay out."""
    columns = min(len(tiles), columns or max(4, math.ceil(math.sqrt(1.6 * len(tiles)))))
    rows = math.ceil(len(tiles) / columns)
    height, width = tiles[0][1].shape[:2]
    gap = max(height, width) * 0.12
    label = max(height, width) * 0.24
    pitch_x, pitch_y = width + gap, height + label + gap
    wide = 6.4
    picture = Picture(wide, max(1.2, wide * rows * pitch_y / (columns * pitch_x) * 0.86 + 0.62))
    axes = picture.subplots()
    colours: Colormap = SIGNED if signed else UNSIGNED
    norm = Normalize(-limit if signed else 0.0, limit)
    points = 72 * 0.9 * wide / (columns * pitch_x)  # of one pixel of a tile
    for i, (name, tile) in enumerate(tiles):
        left, top = (i % columns) * pitch_x, (i // columns) * pitch_y
        box = (left, left + width, top + height, top)
        drawn = colours(norm(tile)) if tile.ndim == 2 else np.clip(tile, 0, 1)
        axes.imshow(drawn, extent=box, interpolation="nearest")
        axes.text(
            left + width / 2, top + height + 0.1 * label, name, ha="center", va="top", color=QUIET,
            fontsize=max(4.0, min(7.0, 0.75 * label * points)),
        )  # fmt: skip
    axes.set_xlim(-gap, columns * pitch_x)
    axes.set_ylim(rows * pitch_y, -gap)
    axes.set_aspect("equal")
    bare(axes, title)
    if tiles[0][1].ndim == 2:
        bar = picture.colorbar(ScalarMappable(norm, colours), ax=axes, fraction=0.03, pad=0.01, aspect=30)
        bar.outline.set_visible(False)
        bar.set_ticks([-limit, 0, limit] if signed else [0, limit])
        bar.set_ticklabels([f"{-limit:.2g}", "0", f"{limit:.2g}"] if signed else ["0", f"{limit:.2g}"])
        bar.ax.tick_params(labelsize=7, length=0, labelcolor=INK)
    return picture


def _stack(name: str, values: npt.ArrayLike) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    if array.ndim != 3 or array.size == 0:
        raise ValueError(f"`{name}` has the shape {np.shape(values)}; the channels of one image are (K, h, w)")
    return array


def _strongest(maps: Array, most: int) -> Array:
    if most < 1:
        raise ValueError(f"`most` (={most!r}) must be at least 1")
    strength = np.abs(maps).reshape(len(maps), -1).mean(axis=1)
    return np.sort(np.argsort(-strength, kind="stable")[:most])


def _limit(values: Array, limit: float | None) -> float:
    if limit is not None and not limit > 0:
        raise ValueError(f"`limit` (={limit!r}) must be positive")
    return limit or float(np.nanmax(np.abs(values))) or 1.0
