"""Pictures and arrays as the network takes them."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...graph import channel_axis, channels_first, spatial_axes
from ...image import RECIPES, Recipe
from ...image import load as load_image
from ...nn import Network

Array = npt.NDArray[Any]
#: Options that are fields of a recipe.
FIELDS = ("size", "resize", "filter", "channels", "scale", "mean", "std")


@dataclass(frozen=True)
class Loaded:
    """One image as the network takes it (1, ...), what to show, and how to call it."""

    name: str
    images: Array
    picture: Array
    notes: tuple[str, ...] = ()


def recipe_of(net: Network, options: argparse.Namespace) -> tuple[Recipe | None, str]:
    """The recipe of the options, and what must be said of it; none for a network that takes no pictures.

    Fields given as options replace the recipe's own; without a recipe they replace those of pixels of 0 to 1.
    """
    given = {name: getattr(options, name) for name in FIELDS if getattr(options, name) is not None}
    axes = spatial_axes(net.layout)
    height, width = (net.input_shape[axis - 1] for axis in axes) if len(axes) == 2 else (0, 0)
    channels = net.input_shape[channel_axis(net.layout) - 1] if len(axes) == 2 else 0
    if channels not in (1, 3):
        if given or options.recipe:
            raise ValueError(
                f"--recipe, --size and the like are of pictures, which have 1 or 3 channels; the network takes "
                f"{net.input_shape}: give .npy arrays without them"
            )
        return None, ""
    said = ""
    if options.recipe is None:
        base = Recipe((height, width), channels="grey" if channels == 1 else "RGB")
        if "mean" not in given and channels == 3:
            said = (
                "pixels were scaled to 0 ... 1: networks trained on photographs mostly need a --recipe, or --mean and "
                "--std, and answer wrongly without"
            )
    elif options.recipe in RECIPES:
        base = RECIPES[options.recipe]
    else:
        raise ValueError(f"--recipe (={options.recipe!r}) must be one of {', '.join(RECIPES)}")
    if given.get("channels", base.channels) != base.channels and "grey" in (given["channels"], base.channels):
        given = {"mean": (), "std": (), **given}
    if "size" in given and "resize" not in given and base.resize is not None:
        given["resize"] = max(max(given["size"]), round(base.resize * max(given["size"]) / max(base.size)))
    recipe = dataclasses.replace(base, layout=net.layout, **given)
    planes = 1 if recipe.channels == "grey" else 3
    made = (*recipe.size, planes) if recipe.layout == "NHWC" else (planes, *recipe.size)
    if made != net.input_shape:
        raise ValueError(
            f"the recipe makes images of {made}, the network takes {net.input_shape}: give --size {height}x{width} "
            f"and --channels {'grey' if channels == 1 else 'RGB'}, or another --recipe"
        )
    return recipe, said


class Reader:
    """Reads one file at a time for a network, and counts the pictures among them."""

    def __init__(self, net: Network, recipe: Recipe | None, paths: Sequence[str]) -> None:
        self._net = net
        self._names = Counter(Path(path).name for path in paths)
        self.recipe = recipe
        self.pictures = 0

    def read(self, path: str) -> list[Loaded]:
        """Return the image of a picture, or every one of an .npy array of the network's own shape and scale.

        Raises
        ------
        OSError, ValueError, TypeError
            The file is missing, broken, or does not fit; the message names it.
        """
        name = Path(path).name
        name = os.fsencode(path if self._names[name] > 1 else name).decode(errors="replace")
        if Path(path).suffix.lower() == ".npy":
            array = self._net.check_images(_array(path), name=path)
            if len(array) == 0:
                raise ValueError(f"{path} holds no image")
            if not np.isfinite(array).all():
                raise ValueError(f"{path} has NaN or infinite values: an explanation of them would be meaningless")
            several = len(array) > 1
            last = not channels_first(self._net.layout)
            return [
                Loaded(f"{name}[{i}]" if several else name, array[i : i + 1], _shown(array[i], last))
                for i in range(len(array))
            ]
        if self.recipe is None:
            raise ValueError(
                f"{path}: the network takes {self._net.input_shape}, which is no picture: give an .npy array"
            )
        images, picture, used = load_image(path, self.recipe)
        self.pictures += 1
        return [Loaded(name, images.astype(self._net.dtype), picture, used.notes)]


def _array(path: str) -> Array:
    try:
        with Path(path).open("rb") as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is no whole .npy array of numbers: {error}") from None


def _shown(image: Array, channels_last: bool) -> Array:
    """An array as a picture: colours of three channels, else their mean."""
    image = np.moveaxis(image, -1, 0) if channels_last else image
    image = image.astype(np.float64)  # the whole range of float32 fits
    low, high = image.min(), image.max()
    scaled = (image - low) / (high - low if high > low else 1)
    return np.asarray(np.moveaxis(scaled, 0, -1) if len(image) == 3 else scaled.mean(axis=0))


def numbers(text: str) -> tuple[float, ...]:
    """0.485,0.456,0.406 of the command line."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} must be numbers with commas between, one a channel") from None


def size(text: str) -> tuple[int, int]:
    """224 or 224x320 of the command line: height and width."""
    parts: Sequence[str] = text.lower().replace(",", "x").split("x")
    if not (1 <= len(parts) <= 2 and all(part.strip().isdecimal() for part in parts)):
        raise argparse.ArgumentTypeError(f"{text!r} must be one number, or HEIGHTxWIDTH")
    return int(parts[0]), int(parts[-1])
