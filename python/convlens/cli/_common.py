"""What several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..nn import Network, load

Commands = Any  # argparse keeps the type of its subparsers private


def command(commands: Commands, name: str, *, help: str, description: str, example: str) -> argparse.ArgumentParser:
    """Add one command with an example under its help."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def load_network(path: str) -> Network:
    """Read NET of the command line."""
    if path.endswith(".onnx"):
        raise ValueError(
            f"NET (={path!r}) is an ONNX file, which this version does not read: give .npz or .safetensors"
        )
    return load(path)


def names(text: str) -> list[str]:
    """Split a list given as a,b,c."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    if not found:
        raise argparse.ArgumentTypeError("give one name, or several with commas between")
    return found


def load_images(path: str, net: Network) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Read a picture, or an .npy array, as the network takes it.

    Parameters
    ----------
    path : str
        A picture in any format Pillow reads is converted to the network's channels, resized to its size and scaled to
        0 ... 1. An .npy file holds images of the network's own shape and scale.
    net : Network

    Returns
    -------
    images : ndarray of shape (N, C, H, W)
    pictures : ndarray of shape (N, H, W) or (N, H, W, 3)
        What to show underneath, 0 ... 1.
    """
    channels, height, width = net.input_shape
    if Path(path).suffix == ".npy":
        images = net.check_images(np.load(path, allow_pickle=False), name="IMAGE")
        low, high = images.min(), images.max()
        shown = (images - low) / (high - low if high > low else 1)
    else:
        shown = _picture(path, channels, (height, width))[np.newaxis]
        images = shown.astype(net.dtype)
    return images, shown[:, 0] if channels == 1 else np.moveaxis(shown[:, :3], 1, -1)


def _picture(path: str, channels: int, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise ImportError('pictures need an extra: pip install "convlens[image]"; .npy arrays need none') from error
    if channels not in (1, 3):
        raise ValueError(f"NET takes {channels} channels, a picture has 1 or 3: give an .npy array")
    try:
        with Image.open(path) as picture:
            resized = picture.convert("L" if channels == 1 else "RGB").resize(
                (size[1], size[0]), Image.Resampling.BILINEAR
            )
    except UnidentifiedImageError as error:
        raise ValueError(f"IMAGE (={path!r}) is not a picture that Pillow can read") from error
    pixels = np.asarray(resized, np.float32) / 255
    return pixels[np.newaxis] if channels == 1 else np.moveaxis(pixels, -1, 0)
