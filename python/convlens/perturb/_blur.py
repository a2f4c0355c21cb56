"""Gaussian blur with reflecting edges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def gaussian_blur(images: npt.NDArray[Any], sigma: float, *, axes: Sequence[int] = (-2, -1)) -> npt.NDArray[Any]:
    """Blur the last two axes, or others.

    Parameters
    ----------
    images : ndarray of shape (..., H, W), floating
    sigma : float
        Standard deviation in pixels; the kernel ends at four of them.
    axes : sequence of int
        Along which to blur; (-1,) for signals (N, C, L).

    Returns
    -------
    ndarray of the shape and dtype of `images`

    Raises
    ------
    ValueError
        If `sigma` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> flat = np.full((1, 5, 7), 3.0)
    >>> bool(np.allclose(gaussian_blur(flat, 2.0), flat))
    True
    """
    if not sigma > 0 or not math.isfinite(sigma):
        raise ValueError(f"`sigma` (={sigma!r}) must be a positive number of pixels")
    radius = math.ceil(4 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    blurred = images.astype(np.float64)
    for axis in axes:
        size = blurred.shape[axis]
        # Mirrored at the edge itself (d c b a | a b c d), as often as the kernel is wider than the image.
        places = np.arange(-radius, size + radius) % (2 * size)
        padded = np.take(blurred, np.where(places < size, places, 2 * size - 1 - places), axis=axis)
        blurred = np.zeros_like(blurred)
        for offset, weight in enumerate(kernel):
            blurred += weight * np.take(padded, np.arange(offset, offset + size), axis=axis)
    return blurred.astype(images.dtype)
