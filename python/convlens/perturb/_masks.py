"""Smooth random masks from coarse grids, as a function of (seed, image, sample), not of their place in a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ._noise import check_seed

Array = npt.NDArray[Any]

#: Numbers of 64 bits that one step of Philox's counter makes.
_BLOCK = 4


def grid_masks(
    size: Sequence[int],
    grid_size: Sequence[int],
    *,
    p_keep: float,
    seed: int,
    image: int,
    samples: range,
    dtype: npt.DTypeLike = np.float32,
) -> Array:
    """Draw masks between 0 and 1 whose mean is `p_keep` at every pixel.

    Parameters
    ----------
    size : sequence of int
        Of the image without channels: (H, W), or (L,).
    grid_size : sequence of int
        Cells along each axis, at most as many as there are pixels.
    p_keep : float
        Probability that a cell is 1.
    seed : int
        0 to 2^128 - 1.
    image : int
        The image's index in the call; any two draw from separate streams.
    samples : range
        Numbers of the masks, one after the other. Mask s is the same in any range that holds it.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    ndarray of shape (len(samples), *size)

    Raises
    ------
    TypeError, ValueError
        If `seed` is not an int in its range.

    Notes
    -----
    A grid of g cells along an axis of H pixels is upsampled, linearly with half-pixel centres, to (g + 1) ceil(H / g)
    pixels, of which H are cut from a place drawn uniformly from ceil(H / g). The paper has floor(H / g), which is too
    few pixels where g does not divide H; its authors' program rounds up too.

    References
    ----------
    Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", arXiv:1806.07421.

    Examples
    --------
    >>> few, more = (
    ...     grid_masks((6, 8), (2, 3), p_keep=0.5, seed=0, image=1, samples=samples)
    ...     for samples in (range(3, 5), range(6)))
    >>> bool((few == more[3:5]).all())
    True
    """
    cells, axes = int(np.prod(grid_size)), len(size)
    blocks = -(-(cells + axes) // _BLOCK)
    # The second word keeps these streams apart from those of normal().
    counter = np.array([samples.start * blocks, 1, 0, image], np.uint64)
    numbers = np.random.Generator(np.random.Philox(counter=counter, key=check_seed(seed)))
    drawn = numbers.random((len(samples), blocks * _BLOCK))
    masks: Array = (drawn[:, :cells] < p_keep).astype(dtype).reshape(len(samples), *grid_size)
    # From the last axis to the first: the large ones are copied in long rows.
    for axis in reversed(range(axes)):
        pixels = -(-size[axis] // grid_size[axis])
        shift = (drawn[:, cells + axis] * pixels).astype(np.int64)
        masks = _stretched(masks, axis + 1, size[axis], (grid_size[axis] + 1) * pixels, shift)
    return masks


def _stretched(grids: Array, axis: int, size: int, whole: int, shift: Array) -> Array:
    """Stretch an axis linearly to `whole` pixels, of which each of the grids gives `size` from its shift on."""
    n, count = len(grids), grids.shape[axis]
    before, behind = grids.shape[1:axis], grids.shape[axis + 1 :]
    rows = n * math.prod(before)
    at = np.clip((np.arange(whole) + 0.5) * (count / whole) - 0.5, 0, count - 1)
    low = np.minimum(at.astype(np.int64), max(0, count - 2))
    share = (at - low).astype(grids.dtype)
    taken = np.repeat(shift[:, np.newaxis] + np.arange(size), rows // max(1, n), axis=0)
    place = low[taken] + count * np.arange(rows)[:, np.newaxis]
    flat = grids.reshape(rows * count, *behind)
    step = np.zeros_like(grids)  # to the next cell
    step[(slice(None),) * axis + (slice(-1),)] = np.diff(grids, axis=axis)
    made: Array = np.take(step.reshape(flat.shape), place, axis=0)
    made *= share[taken].reshape(rows, size, *[1] * len(behind))
    made += np.take(flat, place, axis=0)
    return made.reshape(n, *before, size, *behind)
