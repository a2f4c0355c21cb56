"""Resampling by explicit matrices, one an axis, and adaptive pooling from the definition of its windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ._wide import Array, images, narrow, wide

_MODES = {"nearest": "floor", "nearest-exact": "round_prefer_ceil"}


def interpolate(
    x: npt.ArrayLike,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
    antialias: bool = False,
) -> Array:
    """Resize images or signals as PyTorch's ``interpolate`` does.

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W) or (N, C, L), float32 or float64
    size : int or one for each axis, optional
    scale_factor : float or one for each axis, optional
        Instead of `size`: output over input.
    mode : {"nearest", "nearest-exact", "bilinear", "bicubic", "linear", "area"}
    align_corners : bool
        Of the linear modes and "bicubic": the centres of the corner pixels stay in place, instead of the corners.
    antialias : bool
        Of "bilinear" and "bicubic": the kernel widens where the image shrinks.

    Returns
    -------
    ndarray
    """
    x = np.asarray(x)
    pixels = x[:, :, np.newaxis] if x.ndim == 3 else x
    axes = x.ndim - 2

    def each(value: float | Sequence[float]) -> list[float]:
        numbers = list(value) if isinstance(value, Sequence) else [value] * axes
        return [1] * (2 - axes) + numbers

    scale = None
    if size is None:
        assert scale_factor is not None
        factors = each(scale_factor)
        new = [int(np.floor(old * factor)) for old, factor in zip(pixels.shape[2:], factors, strict=True)]
        scale = (factors[0], factors[1])
    else:
        new = [int(n) for n in each(size)]
    linear = mode in ("linear", "bilinear", "bicubic")
    coordinates = "half_pixel" if linear or mode == "nearest-exact" else "asymmetric"
    y = resize(
        pixels,
        (new[0], new[1]),
        mode={"linear": "bilinear", "bicubic": "cubic", **dict.fromkeys(_MODES, "nearest")}.get(mode, mode),
        scale=scale,
        nearest=_MODES.get(mode, "floor"),
        coordinates="align_corners" if linear and align_corners else coordinates,
        cubic=-0.5 if antialias else -0.75,
        antialias=antialias,
        inside=antialias,
    )
    return y[:, :, 0] if x.ndim == 3 else y


def resize(
    x: npt.ArrayLike,
    size: tuple[int, int],
    *,
    mode: str = "bilinear",
    scale: tuple[float, float] | None = None,
    nearest: str = "round_prefer_floor",
    coordinates: str = "half_pixel",
    window: tuple[int, int] = (1, 1),
    cubic: float = -0.75,
    antialias: bool = False,
    inside: bool = False,
) -> Array:
    """Resize images, by default with half-pixel centres (PyTorch's ``interpolate(align_corners=False)``).

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W), float32 or float64
    size : (height, width)
    mode : {"bilinear", "cubic", "nearest", "area", "windows"}
        "area" is the mean over adaptive windows, "windows" lays those windows side by side, see the Notes.
    scale : (float, float), optional
        Output over input, when it is not the exact ratio of the sizes.
    nearest : {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}
        Which neighbour of a place wins; PyTorch's "nearest-exact" is the second.
    coordinates : {"half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"}
    window : (int, int)
        Size of each of the windows of mode "windows".
    cubic : float
        The coefficient of the cubic kernel.
    antialias : bool
        Stretch the kernel of the modes "bilinear" and "cubic" by what the image shrinks.
    inside : bool
        Give neighbours outside the image no weight.

    Notes
    -----
    Output pixel i lies at ``(i + 0.5) / scale - 0.5`` of the input, at ``i / scale``, or at
    ``i (old - 1) / (new - 1)``; neighbours outside are the nearest inside. Adaptive window i of o over H inputs is
    ``floor(i H / o)`` to ``ceil((i + 1) H / o)``, the end not included; one shorter than `window` repeats its last
    input.
    """
    x = images(x)
    y = wide(x)
    how = (scale, nearest, coordinates, window, (cubic, antialias, inside))
    for axis, matrix in _matrices(x.shape, size, mode, *how):
        y = _multiplied(matrix, y, axis)
    return narrow(y, x.dtype)


def resize_grad(
    grad_output: npt.ArrayLike,
    input_shape: Sequence[int],
    *,
    mode: str = "bilinear",
    scale: tuple[float, float] | None = None,
    nearest: str = "round_prefer_floor",
    coordinates: str = "half_pixel",
    window: tuple[int, int] = (1, 1),
    cubic: float = -0.75,
    antialias: bool = False,
    inside: bool = False,
) -> Array:
    """Carry a gradient from resize's output to its input, of shape `input_shape`: the transpose of its matrices."""
    dy = images(grad_output, "grad_output")
    dx = wide(dy)
    size = (int(dy.shape[2]), int(dy.shape[3]))
    how = (scale, nearest, coordinates, window, (cubic, antialias, inside))
    for axis, matrix in _matrices(input_shape, size, mode, *how):
        dx = _multiplied(matrix.T, dx, axis)
    return narrow(dx, dy.dtype)


def adaptive_avg_pool2d(x: npt.ArrayLike, output_size: int | Sequence[int]) -> Array:
    """Average over adaptive windows: (N, C, H, W) to (N, C, *output_size)."""
    x = images(x)
    return _adaptive(x, output_size, lambda part: narrow(wide(part).mean(axis=(2, 3)), part.dtype))


def adaptive_max_pool2d(x: npt.ArrayLike, output_size: int | Sequence[int]) -> Array:
    """Take the maximum of adaptive windows: (N, C, H, W) to (N, C, *output_size)."""
    return _adaptive(images(x), output_size, lambda part: np.asarray(part.max(axis=(2, 3))))


def adaptive_avg_pool2d_grad(grad_output: npt.ArrayLike, input_shape: Sequence[int]) -> Array:
    """Spread the gradient of each adaptive window evenly over it."""
    dy = images(grad_output, "grad_output")
    dx = np.zeros(tuple(input_shape), wide(dy).dtype)
    for i, j, rows, columns in _adaptive_windows(dx.shape, dy.shape[2:]):
        part = dx[:, :, rows, columns]
        part += wide(dy)[:, :, i, j, np.newaxis, np.newaxis] / (part.shape[2] * part.shape[3])
    return narrow(dx, dy.dtype)


def adaptive_max_pool2d_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Add the gradient of each adaptive window to the first of its maxima."""
    dy, x = images(grad_output, "grad_output"), images(x)
    dx = np.zeros(x.shape, wide(dy).dtype)
    for i, j, rows, columns in _adaptive_windows(x.shape, dy.shape[2:]):
        part = x[:, :, rows, columns]
        flat = part.reshape(*part.shape[:2], -1)
        hit = flat.argmax(axis=2)[..., np.newaxis] == np.arange(flat.shape[2])
        dx[:, :, rows, columns] += (hit * wide(dy)[:, :, i, j, np.newaxis]).reshape(part.shape)
    return narrow(dx, dy.dtype)


def _adaptive(x: Array, output_size: int | Sequence[int], value: Callable[[Array], Array]) -> Array:
    size = tuple(output_size) if isinstance(output_size, Sequence) else (output_size, output_size)
    y = np.zeros((*x.shape[:2], *size), x.dtype)
    for i, j, rows, columns in _adaptive_windows(x.shape, size):
        y[:, :, i, j] = value(x[:, :, rows, columns])
    return y


def _adaptive_windows(shape: Sequence[int], size: Sequence[int]) -> Iterator[tuple[int, int, slice, slice]]:
    for i in range(size[0]):
        for j in range(size[1]):
            rows, columns = (
                slice(int(np.floor(k * old / new)), int(np.ceil((k + 1) * old / new)))
                for k, old, new in zip((i, j), shape[2:], size, strict=True)
            )
            yield i, j, rows, columns


def _matrices(
    shape: Sequence[int],
    size: tuple[int, int],
    mode: str,
    scale: tuple[float, float] | None,
    nearest: str,
    coordinates: str,
    window: tuple[int, int],
    kernel: tuple[float, bool, bool],
) -> Iterator[tuple[int, Array]]:
    for axis in (2, 3):
        old, new = int(shape[axis]), int(size[axis - 2])
        if mode in ("area", "windows"):
            yield axis, _window_matrix(old, new, 0 if mode == "area" else window[axis - 2])
        else:
            along = scale[axis - 2] if scale else None
            places = _places(old, new, along, coordinates)
            if mode == "nearest":
                yield axis, _nearest_matrix(places, old, nearest)
            elif mode in ("bilinear", "cubic"):
                yield axis, _kernel_matrix(places, old, mode, along or new / old, *kernel)
            else:
                raise ValueError(f"`mode` (={mode!r}) must be 'bilinear', 'cubic', 'nearest', 'area' or 'windows'")


def _multiplied(matrix: Array, y: Array, axis: int) -> Array:
    """Matrix (new, old) times an axis; its zeros multiply nothing, not even infinity."""
    moved = np.moveaxis(y, axis, 0)
    out = np.zeros((len(matrix), *moved.shape[1:]), y.dtype)
    for i, row in enumerate(matrix):
        for j in np.flatnonzero(row):
            out[i] += row[j] * moved[j]
    return np.moveaxis(out, 0, axis)


def _window_matrix(old: int, new: int, extent: int) -> Array:
    """Means over adaptive windows, or (with an `extent`) their inputs one by one."""
    count = new // extent if extent else new
    matrix = np.zeros((new, old), np.longdouble)
    for i in range(count):
        inside = [p for p in range(old) if (p + 1) * count > i * old and p * count < (i + 1) * old]
        if extent:
            for k in range(extent):
                matrix[i * extent + k, inside[min(k, len(inside) - 1)]] = 1
        else:
            matrix[i, inside] = np.longdouble(1) / len(inside)
    return matrix


def _places(old: int, new: int, scale: float | None, coordinates: str) -> Array:
    """Where in the input the outputs of one axis lie."""
    i = np.arange(new, dtype=np.longdouble)
    factor = np.longdouble(old) / np.longdouble(new) if scale is None else 1 / np.longdouble(scale)
    if coordinates == "align_corners":
        return np.asarray(i * ((np.longdouble(old) - 1) / max(new - 1, 1)))
    if coordinates == "asymmetric":
        return np.asarray(i * factor)
    places = (i + 0.5) * factor - 0.5
    if coordinates == "pytorch_half_pixel" and new == 1:
        places[:] = 0
    if coordinates == "half_pixel_symmetric":  # the middle of the image stays in the middle
        places += (old - new * factor) / 2
    return np.asarray(places)


def _nearest_matrix(places: Array, old: int, nearest: str) -> Array:
    matrix = np.zeros((len(places), old), np.longdouble)
    at = np.round(places, 12)  # whole and half places, where a quotient misses them
    chosen = {
        "round_prefer_floor": np.ceil(at - 0.5),
        "round_prefer_ceil": np.floor(at + 0.5),
        "floor": np.floor(at),
        "ceil": np.ceil(at),
    }[nearest]
    matrix[np.arange(len(places)), np.clip(chosen, 0, old - 1).astype(int)] = 1
    return matrix


def _kernel_matrix(
    places: Array, old: int, mode: str, scale: float, cubic: float, antialias: bool, inside: bool
) -> Array:
    """The kernel of every output at every input, those that repeat the edge beyond it included."""
    stretch = np.longdouble(min(scale, 1.0) if antialias else 1.0)
    beyond = int(np.ceil(2 / stretch)) + 1 + int(np.abs(places).max(initial=0))
    inputs = np.arange(-beyond, old + beyond)
    x = np.abs(inputs - places[:, np.newaxis]) * stretch
    if mode == "bilinear":
        weights = np.maximum(0, 1 - x)
    else:
        near = (cubic + 2) * x**3 - (cubic + 3) * x**2 + 1
        far = cubic * (x**3 - 5 * x**2 + 8 * x - 4)
        weights = np.where(x <= 1, near, np.where(x < 2, far, 0))
    if inside:
        weights *= (inputs >= 0) & (inputs < old)
    if inside or antialias:
        weights /= weights.sum(axis=1, keepdims=True)
    matrix = np.zeros((len(places), old), np.longdouble)
    np.add.at(matrix.T, np.clip(inputs, 0, old - 1), weights.T)
    return matrix
