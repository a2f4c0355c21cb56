"""What several commands share."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._load import load
from ..image import RECIPES, Recipe
from ..image import load as load_image
from ..nn import Network

Commands = Any  # argparse keeps the type of its subparsers private


def command(commands: Commands, name: str, *, help: str, description: str, example: str) -> argparse.ArgumentParser:
    """Add one command with an example under its help."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=textwrap.fill(description, 100),
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def load_network(path: str) -> Network:
    """Read NET of the command line."""
    return load(path)


def names(text: str) -> list[str]:
    """Split a list given as a,b,c."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    if not found:
        raise argparse.ArgumentTypeError("give one name, or several with commas between")
    return found


def load_images(
    path: str, net: Network, recipe: str | None = None
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], Recipe | None]:
    """Read a picture, or an .npy array, as the network takes it.

    Parameters
    ----------
    path : str
        A picture in any format Pillow reads is converted to the network's channels, resized to its size and scaled to
        0 ... 1. An .npy file holds one image of the network's own shape and scale.
    net : Network
    recipe : str, optional
        One of :data:`convlens.image.RECIPES` for a picture, instead.

    Returns
    -------
    images : ndarray of shape (1, C, H, W)
    picture : ndarray of shape (H, W) or (H, W, 3)
        What to show underneath.
    recipe : Recipe or None
        How a picture became `images`.
    """
    channels, height, width = net.input_shape
    if recipe is not None:
        return _by_recipe(path, net, recipe)
    if Path(path).suffix == ".npy":
        images = net.check_images(np.load(path, allow_pickle=False), name="IMAGE")
        if len(images) != 1:
            raise ValueError(f"IMAGE holds {len(images)} images: give one")
        low, high = images.min(), images.max()
        shown = (images[0] - low) / (high - low if high > low else 1)
        return images, np.moveaxis(shown, 0, -1) if channels == 3 else shown.mean(axis=0), None
    if channels not in (1, 3):
        raise ValueError(f"NET takes {channels} channels, a picture has 1 or 3: give an .npy array")
    plain = Recipe((height, width), channels="grey" if channels == 1 else "RGB")
    images, picture, used = load_image(path, plain)
    return images.astype(net.dtype), picture, used


def _by_recipe(path: str, net: Network, recipe: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any], Recipe]:
    if Path(path).suffix == ".npy":
        raise ValueError(
            f"--recipe (={recipe!r}) makes an input of a picture; an .npy array is one already: leave it out"
        )
    images, picture, used = load_image(path, recipe)
    if images.shape[1:] != net.input_shape:
        raise ValueError(
            f"--recipe (={recipe!r}) makes images of {images.shape[1:]}, NET takes {net.input_shape}: name another of "
            f"{', '.join(RECIPES)}"
        )
    return images.astype(net.dtype), picture, used
