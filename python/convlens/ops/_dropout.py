"""Dropout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .._arguments import checked
from ..transform import expand_dropout
from ._call import Array, Build, floats, run


@checked
def dropout(x: npt.ArrayLike, p: float = 0.5, *, seed: int, step: int = 0) -> Array:
    """Set a share of the numbers to zero and multiply the rest by ``1 / (1 - p)``, as in training.

    Parameters
    ----------
    x : ndarray of shape (N, ...), float32 or float64
    p : float
        The share that is dropped.
    seed, step : int
        What is dropped is a function of both, of the image's place in `x` and of the element's in the image: the same
        bits for any number of threads.

    Returns
    -------
    ndarray of x's shape

    References
    ----------
    Srivastava et al., JMLR 15 (2014). Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
    """
    return _dropped(x, "x", p, seed, step)


@checked
def dropout_grad(grad_output: npt.ArrayLike, p: float = 0.5, *, seed: int, step: int = 0) -> Array:
    """Carry a gradient through :func:`dropout`: what it dropped passes none, the rest is multiplied alike."""
    return _dropped(grad_output, "grad_output", p, seed, step)


def _dropped(value: npt.ArrayLike, name: str, p: float, seed: int, step: int) -> Array:
    array = floats(value, name)
    if array.ndim == 0:
        raise ValueError(f"`{name}` is a number; it must be (N, ...)")
    if array.size == 0:
        return np.array(array)

    def build(b: Build) -> Sequence[str]:
        return [expand_dropout(b.builder, "x", "key", p)]

    key = np.array([seed % 2**64, step % 2**64], np.uint64).view(np.int64)
    rows = {"x": array.reshape(len(array), -1), "key": key}
    return run(("dropout", p), rows, build, ("key",))[0].reshape(array.shape)
