"""From a file or an array to a batch of one, and a picture to show."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from ._recipe import RECIPES, Recipe

Array = npt.NDArray[Any]


def load(
    source: str | os.PathLike[str] | npt.ArrayLike, recipe: str | Recipe = "imagenet"
) -> tuple[Array, Array, Recipe]:
    """Load an image as a network takes it (extra ``[image]``).

    Parameters
    ----------
    source : path-like, or uint8 array of shape (H, W), (H, W, 3) or (H, W, 4)
    recipe : str or Recipe
        One of :data:`convlens.image.RECIPES`, or your own.

    Returns
    -------
    images : ndarray of shape (1, C, H, W), float32
    picture : ndarray of shape (H, W, 3) or (H, W), uint8
        What the network saw, to show.
    recipe : Recipe
        How it was made; methods take it for baselines such as ``"black"``.

    Raises
    ------
    ImportError
        Without Pillow, unless `source` is an array of the recipe's size.
    TypeError, ValueError
        If the recipe is unknown or the array is no image.

    Examples
    --------
    >>> import numpy as np
    >>> images, picture, recipe = load(np.full((28, 28), 255, np.uint8), "digits")
    >>> images.shape, float(images.max())
    ((1, 1, 28, 28), 1.0)
    """
    known = RECIPES.get(recipe) if isinstance(recipe, str) else recipe
    if not isinstance(known, Recipe):
        raise ValueError(f"`recipe` (={recipe!r}) must be a Recipe or one of {', '.join(map(repr, RECIPES))}")
    if isinstance(source, (str, os.PathLike)):
        with _pillow().open(source) as opened:
            return _finished(_upright(opened), known)
    pixels = _pixels(source)
    if pixels.shape == known.size + (() if known.channels == "grey" else (3,)):
        return known.prepare(pixels)[np.newaxis], pixels.copy(), known
    return _finished(_pillow().fromarray(pixels), known)


def _finished(picture: Any, recipe: Recipe) -> tuple[Array, Array, Recipe]:
    shown = np.asarray(_fitted(picture.convert("L" if recipe.channels == "grey" else "RGB"), recipe))
    return recipe.prepare(shown)[np.newaxis], shown, recipe


def _pixels(source: npt.ArrayLike) -> Array:
    pixels = np.asarray(source)
    if pixels.dtype != np.uint8:
        raise TypeError(
            f"`source` is {pixels.dtype}; an image array must be uint8, 0 to 255: (255 * x).astype(np.uint8)"
        )
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)) or 0 in pixels.shape:
        raise ValueError(f"`source` has the shape {pixels.shape}; it must be (H, W), (H, W, 3) or (H, W, 4)")
    return pixels


def _fitted(picture: Any, recipe: Recipe) -> Any:
    from PIL import Image

    height, width = recipe.size
    if recipe.resize is None:
        return picture.resize((width, height), Image.Resampling.BILINEAR)
    shorter = min(picture.size)
    w, h = (max(recipe.resize, int(recipe.resize * side / shorter)) for side in picture.size)
    resized = picture.resize((w, h), Image.Resampling.BILINEAR)
    left, top = round((w - width) / 2), round((h - height) / 2)
    return resized.crop((left, top, left + width, top + height))


def _upright(picture: Any) -> Any:
    """Cameras store a turned picture and a note that says so."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(picture)


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise ImportError('loading images needs Pillow: pip install "convlens[image]"') from None
    return Image
