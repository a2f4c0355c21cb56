"""Noise as a function of (seed, image, sample), not of its place in a batch."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def normal(shape: Sequence[int], *, seed: int, image: int, sample: int) -> npt.NDArray[Any]:
    """Draw standard normal noise.

    Parameters
    ----------
    shape : sequence of int
        Of one image, (C, H, W).
    seed : int
        0 to 2^128 - 1.
    image, sample : int
        The image's index in the call and the number of the sample; any two pairs draw from separate streams.

    Returns
    -------
    ndarray of shape `shape`, float64

    Raises
    ------
    TypeError, ValueError
        If `seed` is not an int in its range.

    References
    ----------
    Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (Philox): image and sample are the high words
    of the counter, so a stream has 2^128 blocks to itself.

    Examples
    --------
    >>> a = normal((1, 2, 2), seed=0, image=3, sample=1)
    >>> bool((a == normal((1, 2, 2), seed=0, image=3, sample=1)).all())
    True
    """
    counter = np.array([0, 0, sample, image], np.uint64)
    return np.random.Generator(np.random.Philox(counter=counter, key=check_seed(seed))).standard_normal(tuple(shape))


def check_seed(seed: Any) -> int:
    """Return `seed` if it is one."""
    try:
        number = operator.index(seed)
    except TypeError:
        raise TypeError(f"`seed` (={seed!r}) must be an int: noise without one cannot be repeated") from None
    if not 0 <= number < 2**128:
        raise ValueError(f"`seed` (={seed!r}) must be from 0 to 2**128 - 1")
    return number
