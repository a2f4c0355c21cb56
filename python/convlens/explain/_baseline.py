"""What counts as "nothing to see": a number, an array, or a colour known from the recipe."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph import channel_axis, channels_first, spatial_axes
from ..image import Recipe
from ..perturb import gaussian_blur

Array = npt.NDArray[Any]
_NAMES = ("black", "white", "mean", "blur")


def make_baselines(images: Array, baselines: Any, recipe: Recipe | None, layout: str = "") -> Array:
    """Return the baseline of each image, in input space.

    Parameters
    ----------
    images : ndarray of shape (N, C, H, W)
    baselines : None, float, array_like, or {"black", "white", "mean", "blur"}
        None is 0. An array has the shape of the images, of one image, or one that broadcasts to it, such as (C, 1, 1).
        The names need `recipe`, which says what number a colour is; "blur" is the image blurred with a standard
        deviation of a tenth of its shorter side, and needs none.
    recipe : Recipe or None
    layout : str
        The axes of `images`; "" is channels first.

    Returns
    -------
    ndarray of shape (N, C, H, W), in the images' dtype
    """
    if isinstance(baselines, str):
        value = _named(images, baselines, recipe, layout)
    else:
        value = np.asarray(0.0 if baselines is None else baselines)
        if value.dtype.kind not in "fiu":
            raise TypeError(
                f"`baselines` (={baselines!r}) must be a number, an array, or one of {', '.join(map(repr, _NAMES))}"
            )
        if not np.isfinite(value).all():
            raise ValueError("`baselines` has NaN or infinite values")
    try:
        if value.ndim > images.ndim:
            raise ValueError
        return np.ascontiguousarray(np.broadcast_to(value, images.shape), dtype=images.dtype)
    except ValueError:
        raise ValueError(
            f"`baselines` has the shape {value.shape}; it must be a number, one image {images.shape[1:]}, one number "
            f"per channel {_per_channel(images.shape, layout)}, or an array of the images' shape {images.shape}"
        ) from None


def _per_channel(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    """The shape, without the batch, of one number a channel."""
    axis = channel_axis(layout)
    return tuple(size if i == axis else 1 for i, size in enumerate(shape))[1:]


def _named(images: Array, name: str, recipe: Recipe | None, layout: str) -> Array:
    if name not in _NAMES:
        raise ValueError(
            f"`baselines` (={name!r}) must be a number, an array, or one of {', '.join(map(repr, _NAMES))}"
        )
    if name == "blur":
        if images.ndim not in (3, 4):
            raise ValueError(
                f"`baselines` (='blur') needs images (N, C, H, W) or signals (N, C, L), not {images.shape}"
            )
        axes = spatial_axes(layout) or range(2, images.ndim)
        return gaussian_blur(images, 0.1 * min(images.shape[axis] for axis in axes), axes=axes)
    if recipe is None:
        raise ValueError(
            f"`baselines` (={name!r}) needs `recipe`, which says what number that is after normalising: pass the third "
            "result of convlens.image.load, or give the number itself"
        )
    colour = recipe.average() if name == "mean" else recipe.colour(1.0 if name == "white" else 0.0)
    # In the axes of the input, whatever layout the recipe was written for.
    return colour.reshape(
        _per_channel((1, colour.size, 1, 1) if channels_first(layout) else (1, 1, 1, colour.size), layout)
    )
