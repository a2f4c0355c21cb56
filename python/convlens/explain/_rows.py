"""Arrays with one flat row per image."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def rows(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return `values` with one flat row per image; unlike ``reshape(n, -1)`` this works on none.

    >>> rows(np.zeros((0, 2, 3))).shape
    (0, 6)
    """
    return values.reshape(len(values), int(np.prod(values.shape[1:], dtype=np.int64)))
