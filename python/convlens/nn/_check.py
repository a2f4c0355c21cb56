"""Checks of what a network is called on; each error says what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph import TensorType


def check_images(name: str, images: Any, expected: TensorType) -> npt.NDArray[Any]:
    """Return `images` C-contiguous and in native byte order, or say what is wrong with them.

    Parameters
    ----------
    name : str
        The argument's name in errors.
    images : array_like of shape (N, *expected.per_image)
    expected : TensorType
        Type of the network's input.

    Raises
    ------
    TypeError
        The dtype is not the network's.
    ValueError
        The shape does not fit.
    """
    array = np.asarray(images)
    _check_dtype(name, array, expected.dtype)
    if array.shape[1:] != expected.per_image or array.ndim == 0:
        raise ValueError(_shape_message(name, array.shape, expected.per_image))
    return np.ascontiguousarray(array, dtype=expected.dtype)


def _check_dtype(name: str, array: npt.NDArray[Any], dtype: str) -> None:
    kind = array.dtype
    if kind.kind in "iub":
        raise TypeError(
            f"`{name}` is {kind.name}, a network takes {dtype}: scale first, with the scale the network was trained "
            f"with, such as {name}.astype(np.{dtype}) / 255; see convlens.image.load, which does it by recipe"
        )
    if kind.kind != "f":
        raise TypeError(
            f"`{name}` is {kind}, a network takes {dtype}: give an array of numbers; convlens.image.load makes one of "
            "a file"
        )
    if kind.name != dtype:
        other = " or run the network in double with net.astype(np.float64)" if kind.name == "float64" else ""
        raise TypeError(
            f"`{name}` is {kind.name}, the network takes {dtype}: convert with {name}.astype(np.{dtype}){other}"
        )


def _shape_message(name: str, shape: tuple[int, ...], image: tuple[int, ...]) -> str:
    wanted = f"(N, {', '.join(map(str, image))})"
    message = f"`{name}` has shape {shape}, the network takes {wanted}: "
    if shape == image:
        return f"{message}the batch axis is missing, add it with {name}[np.newaxis]"
    if len(image) == 3:
        channels, height, width = image
        if shape[1:] == (height, width, channels):
            return f"{message}channels are last, move them with np.moveaxis({name}, -1, 1)"
        if shape == (height, width, channels):
            return f"{message}channels are last and the batch axis is missing, np.moveaxis({name}, -1, 0)[np.newaxis]"
        if channels == 1 and shape[1:] == (height, width):
            return f"{message}the channel axis is missing, add it with {name}[:, np.newaxis]"
        if channels == 1 and shape == (height, width):
            return f"{message}batch and channel axes are missing, add them with {name}[np.newaxis, np.newaxis]"
        if len(shape) == 4 and shape[2:] == (height, width):
            return f"{message}the network was built for {channels} channel(s), not {shape[1]}" + (
                f"; a grey image may be repeated with np.repeat({name}, 3, axis=1)"
                if (shape[1], channels) == (1, 3)
                else ""
            )
        if len(shape) == 4 and shape[1] == channels:
            return f"{message}resize the images to {height} x {width}, or build the network for {shape[2]} x {shape[3]}"
        if len(shape) == 2 and shape[1] == channels * height * width:
            return f"{message}the images are flat, {name}.reshape(-1, {channels}, {height}, {width}) gives them back"
    return f"{message}give a batch of that shape"
