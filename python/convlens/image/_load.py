"""From files, pictures or arrays to a batch, and the pictures to show."""

from __future__ import annotations

import dataclasses
import os
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from ._recipe import RECIPES, Recipe

Array = npt.NDArray[Any]

#: A picture so long and thin that resizing its shorter side needs more pixels than this is an error.
MOST_PIXELS = 2**27
_SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N", "I")
# What decoders of broken files raise, beside OSError.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, MemoryError)


def load(source: Any, recipe: str | Recipe = "imagenet", *, layout: str | None = None) -> tuple[Array, Array, Recipe]:
    """Load images as a network takes them (extra ``[image]``).

    Parameters
    ----------
    source : path-like, PIL.Image.Image, or uint8 array of shape (H, W), (H, W, 3) or (H, W, 4); or a list of them
        A uint8 array of shape (N, H, W, 3) counts as a list. An array of the recipe's size is taken as it is; any
        other, and every file and picture, is resized and cropped.
    recipe : str or Recipe
        One of :data:`convlens.image.RECIPES`, or your own.
    layout : {"NCHW", "NHWC"}, optional
        Instead of the recipe's: pass ``net.layout``.

    Returns
    -------
    images : ndarray of shape (N, C, H, W), or (N, H, W, C) where channels are last, float32
        N is 1 unless `source` is a list.
    picture : ndarray of shape (H, W, 3) or (H, W), uint8
        What the network saw, to show; (N, H, W, 3) or (N, H, W) of a list.
    recipe : Recipe
        How it was made; methods take it for baselines such as ``"black"`` and record it. Its ``notes`` say what had to
        be converted: a turned photograph, transparency (laid on white), a palette, 16 bits, CMYK, grey for colour.

    Raises
    ------
    ImportError
        Without Pillow, unless `source` is an array of the recipe's size.
    TypeError, ValueError
        If the recipe is unknown, the array is no image, or the file is broken or too large.

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
    if layout is not None:
        known = dataclasses.replace(known, layout=layout)
    several = isinstance(source, (list, tuple)) or (isinstance(source, np.ndarray) and source.ndim == 4)
    if several and len(source) == 0:
        raise ValueError("`source` is empty: give at least one image")
    loaded = [_one(each, known) for each in (source if several else [source])]
    notes = [f"image {i}: {note}" if several else note for i, (_, found) in enumerate(loaded) for note in found]
    images = np.stack([known.prepare(shown) for shown, _ in loaded])
    picture = np.stack([shown for shown, _ in loaded]) if several else loaded[0][0]
    return images, picture, dataclasses.replace(known, notes=tuple(notes)) if notes else known


def _one(source: Any, recipe: Recipe) -> tuple[Array, list[str]]:
    """The pixels of one image at the recipe's size, and what was converted on the way."""
    notes: list[str] = []
    if isinstance(source, (str, os.PathLike)):
        name = f"`source` (={os.fspath(source)!r})"
        return _fitted(_opened(source, name, notes), recipe, name, notes), notes
    if hasattr(source, "getexif"):  # a PIL image, asked without importing Pillow
        return _fitted(_upright(source, notes), recipe, "`source`", notes), notes
    pixels = _pixels(source)
    if pixels.shape == recipe.size + (() if recipe.channels == "grey" else (3,)):
        return pixels.copy(), notes
    return _fitted(_pillow().fromarray(pixels), recipe, "`source`", notes), notes


def _opened(path: str | os.PathLike[str], name: str, notes: list[str]) -> Any:
    """Decode a file; whatever a decoder stumbles over becomes one kind of error."""
    pillow = _pillow()
    with open(path, "rb") as file:  # a missing file or a folder is the system's own error
        try:
            with pillow.open(file) as picture:
                picture.load()
                return _upright(picture, notes)
        except pillow.DecompressionBombError as error:
            raise ValueError(
                f"{name} is too large: {error} Shrink it first, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust it"
            ) from error
        except _BROKEN as error:
            raise ValueError(f"{name} is no whole image that Pillow reads: {error}") from error


def _fitted(picture: Any, recipe: Recipe, name: str, notes: list[str]) -> Array:
    """Convert, resize and crop."""
    converted = _converted(picture, "L" if recipe.channels == "grey" else "RGB", name, notes)
    return np.asarray(_cropped(converted, recipe, name))


def _upright(picture: Any, notes: list[str]) -> Any:
    """Cameras store a turned picture and a note that says so."""
    from PIL import ImageOps

    if getattr(picture, "is_animated", False):
        notes.append(f"frame {picture.tell()} of {picture.n_frames}")
    if picture.getexif().get(0x0112, 1) == 1:
        return picture.copy()
    notes.append("turned upright as its EXIF orientation says")
    return ImageOps.exif_transpose(picture)


def _converted(picture: Any, mode: str, name: str, notes: list[str]) -> Any:
    """To 8 bits, grey or RGB, saying what that changed."""
    if picture.mode in _SIXTEEN_BITS:
        picture = _eight_bits(picture, name, notes)
    if picture.mode == "F":
        raise TypeError(
            f"{name} holds floating-point pixels, whose black and white are unknown: scale them to 0 ... 255 as a "
            "uint8 array"
        )
    if picture.mode == "P":
        notes.append("palette looked up")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        picture = _on_white(picture.convert("RGBA"), notes)
    if picture.mode == "CMYK":
        notes.append("CMYK converted without its colour profile")
    elif picture.mode not in ("1", "L", "P", "RGB"):
        notes.append(f"{picture.mode} converted to {mode}")
    if mode == "RGB" and picture.mode in ("1", "L"):
        notes.append("grey repeated for red, green and blue")
    if mode == "L" and picture.mode not in ("1", "L"):
        notes.append("colour made grey (0.299 R + 0.587 G + 0.114 B)")
    return picture.convert(mode)


def _eight_bits(picture: Any, name: str, notes: list[str]) -> Any:
    values = np.asarray(picture)
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise TypeError(
            f"{name} holds integers from {values.min()} to {values.max()}, beyond 16 bits: scale them to 0 ... 255 as "
            "a uint8 array"
        )
    notes.append("16 bits divided by 257 to 8")
    return _pillow().fromarray(np.rint(values / 257.0).astype(np.uint8))


def _on_white(picture: Any, notes: list[str]) -> Any:
    if picture.getchannel("A").getextrema()[0] == 255:
        notes.append("opaque transparency channel dropped")
        return picture.convert("RGB")
    notes.append("transparency laid on white")
    white = _pillow().new("RGBA", picture.size, (255, 255, 255, 255))
    return _pillow().alpha_composite(white, picture).convert("RGB")


def _cropped(picture: Any, recipe: Recipe, name: str) -> Any:
    height, width = recipe.size
    how = getattr(_pillow().Resampling, recipe.filter.upper())
    if recipe.resize is None:
        return picture.resize((width, height), how)
    shorter = min(picture.size)
    w, h = (max(recipe.resize, int(recipe.resize * side / shorter)) for side in picture.size)
    if w * h > MOST_PIXELS:
        raise ValueError(
            f"{name} is {picture.height} x {picture.width}: with the shorter side resized to {recipe.resize} it has "
            f"{w * h:,} pixels, more than {MOST_PIXELS:,}; crop it first"
        )
    left, top = round((w - width) / 2), round((h - height) / 2)
    return picture.resize((w, h), how).crop((left, top, left + width, top + height))


def _pixels(source: npt.ArrayLike) -> Array:
    pixels = np.asarray(source)
    if pixels.dtype != np.uint8:
        raise TypeError(
            f"`source` is {pixels.dtype}; an image array must be uint8, 0 to 255: (255 * x).astype(np.uint8)"
        )
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4) and pixels.shape[2] not in (1, 3, 4):
        raise ValueError(
            f"`source` has the shape {pixels.shape}, channels first; pictures have them last: "
            "np.moveaxis(source, 0, -1)"
        )
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)) or 0 in pixels.shape:
        raise ValueError(f"`source` has the shape {pixels.shape}; it must be (H, W), (H, W, 3) or (H, W, 4)")
    return pixels


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise ImportError('loading images needs Pillow: pip install "convlens[image]"') from None
    return Image
