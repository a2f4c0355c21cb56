"""Arrays with one flat row per image."""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt


def rows(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return `values` with one flat row per image; unlike ``reshape(n, -1)`` this works on none.

    >>> import numpy as np
    >>> rows(np.zeros((0, 2, 3))).shape
    (0, 6)
    """
    return values.reshape(len(values), math.prod(values.shape[1:]))
