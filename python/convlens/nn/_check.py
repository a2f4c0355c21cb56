"""Checks of what a network is called on; each error says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph import TensorType

_FLOATS = {name: np.dtype(name) for name in ("float32", "float64")}


def check_inputs(
    given: Mapping[str, Any], expected: Mapping[str, TensorType], layouts: Mapping[str, str], rows: Mapping[str, int]
) -> dict[str, npt.NDArray[Any]]:
    """Return the inputs of one call, checked, in the network's order.

    Parameters
    ----------
    given : mapping of input name to array_like
    expected : mapping of input name to TensorType
        Every input of the network.
    layouts : mapping of input name to str
    rows : mapping of input name to int
        How many rows the tables have that an integer input is looked up in.

    Raises
    ------
    TypeError, ValueError
        An input is missing, unknown, of another dtype or shape, or they are not of one batch.
    """
    listed = ", ".join(f"{name!r} {kind}" for name, kind in expected.items())
    unknown = [name for name in given if name not in expected]
    if unknown:
        raise TypeError(f"`{unknown[0]}` is no input of the network; it takes {listed}")
    missing = [name for name in expected if name not in given]
    if missing:
        raise TypeError(f"`{missing[0]}` of the network's inputs is missing; it takes {listed}")
    checked = {
        name: check_images(name, given[name], kind, layouts.get(name, ""), rows.get(name))
        for name, kind in expected.items()
    }
    counts = {name: len(array) for name, array in checked.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(
            f"the inputs must be of one batch, not of {', '.join(f'{n} ({name})' for name, n in counts.items())} images"
        )
    return checked


def check_images(
    name: str, images: Any, expected: TensorType, layout: str = "", rows: int | None = None
) -> npt.NDArray[Any]:
    """Return `images` C-contiguous and in native byte order, or say what is wrong with them.

    Parameters
    ----------
    name : str
        The argument's name in errors.
    images : array_like of shape (N, *expected.per_image)
    expected : TensorType
        Type of the network's input.
    layout : str
        Its layout, such as "NHWC"; "" is channels first.
    rows : int, optional
        Of integers: how many rows the table has that they are looked up in.

    Raises
    ------
    TypeError
        The dtype is not the network's.
    ValueError
        The shape does not fit.
    """
    usual = type(images) is np.ndarray and images.dtype is _FLOATS.get(expected.dtype) and images.flags.carray
    if usual and images.ndim == len(expected.shape) and images.shape[1:] == expected.shape[1:]:
        return images  # type: ignore[no-any-return]  # as most calls have it
    array = np.asarray(images)
    if expected.dtype.startswith("float"):
        _check_dtype(name, array, expected.dtype)
    else:
        array = _as_integers(name, array, expected.dtype)
    if array.shape[1:] != expected.per_image or array.ndim == 0:
        raise ValueError(_shape_message(name, array.shape, expected.per_image, layout))
    if rows is not None and array.size and not -rows <= array.min() <= array.max() < rows:
        wrong = array[(array < -rows) | (array >= rows)]
        raise ValueError(f"`{name}` holds {wrong[0]}, but its embedding has {rows} rows, 0 to {rows - 1}")
    return np.ascontiguousarray(array, dtype=expected.dtype)


def _as_integers(name: str, array: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """Whole numbers of any width, as long as they fit; Python's lists come as int64."""
    if array.dtype.kind not in ("b" if dtype == "bool" else "iu"):
        raise TypeError(f"`{name}` is {array.dtype}, the network takes {dtype}: convert with {name}.astype(np.{dtype})")
    if dtype != "bool" and array.size:
        bounds = np.iinfo(dtype)
        if array.min() < bounds.min or array.max() > bounds.max:
            raise ValueError(f"`{name}` holds numbers that {dtype} does not; the network takes {dtype}")
    return array.astype(dtype)


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


def _shape_message(name: str, shape: tuple[int, ...], image: tuple[int, ...], layout: str = "") -> str:
    wanted = f"(N, {', '.join(map(str, image))})"
    message = f"`{name}` has shape {shape}, the network takes {wanted}: "
    if shape == image:
        return f"{message}the batch axis is missing, add it with {name}[np.newaxis]"
    if layout == "NHWC":
        return message + _last_message(name, shape, image)
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


def _last_message(name: str, shape: tuple[int, ...], image: tuple[int, ...]) -> str:
    """What to do where channels are last."""
    height, width, channels = image
    if shape[1:] == (channels, height, width):
        return f'channels are first, move them with np.moveaxis({name}, 1, -1), or image.load(..., layout="NHWC")'
    if shape == (channels, height, width):
        return f"channels are first and the batch axis is missing, np.moveaxis({name}, 0, -1)[np.newaxis]"
    if channels == 1 and shape[1:] == (height, width):
        return f"the channel axis is missing, add it with {name}[..., np.newaxis]"
    if len(shape) == 4 and shape[1:3] == (height, width):
        return f"the network was built for {channels} channel(s), not {shape[3]}"
    if len(shape) == 4 and shape[3] == channels:
        return f"resize the images to {height} x {width}"
    return "give a batch of that shape"
