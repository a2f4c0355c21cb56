"""Noise as a function of (seed, image, sample), not of its place in a batch."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..graph import BATCH, GraphBuilder

if TYPE_CHECKING:
    from ..program import Program, Weights

#: Numerator and denominator of the formula under Notes, from the highest power down.
_TOP, _BOTTOM = (0.010328, 0.802853, 2.515517), (0.001308, 0.189269, 1.432788, 1.0)


def normal(
    shape: Sequence[int], *, seed: int, image: int, samples: range, dtype: npt.DTypeLike = np.float32
) -> npt.NDArray[Any]:
    """Draw standard normal noise.

    Parameters
    ----------
    shape : sequence of int
        Of one image, (C, H, W).
    seed : int
        0 to 2^128 - 1.
    image : int
        The image's index in the call; any two draw from separate streams.
    samples : range
        Numbers of the draws, one after the other. Sample s is the same in any range that holds it.
    dtype : dtype
        float32 or float64, which hold the same numbers.

    Returns
    -------
    ndarray of shape (len(samples), *shape)

    Raises
    ------
    TypeError, ValueError
        If `seed` is not an int in its range.

    Notes
    -----
    32 random bits give a sign and a probability p up to 1/2, whose quantile is ``t - (2.515517 + 0.802853 t + 0.010328
    t^2) / (1 + 1.432788 t + 0.189269 t^2 + 0.001308 t^3)`` with ``t = sqrt(-2 log p)``, at most 4.5e-4 off; none is
    beyond 6.4. A Program computes it, in about half the time of NumPy's own.

    References
    ----------
    Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (Philox): image and sample are the high words
    of the counter, so a stream has 2^128 blocks to itself. Abramowitz and Stegun, "Handbook of Mathematical
    Functions", 26.2.23.

    Examples
    --------
    >>> one, two = (normal((1, 2, 2), seed=0, image=3, samples=samples) for samples in (range(1, 2), range(2)))
    >>> bool((one[0] == two[1]).all())
    True
    """
    key, size = check_seed(seed), math.prod(shape)
    bits = np.empty((len(samples), size), np.float32)
    stream = np.random.Philox(counter=np.array([0, 0, 0, image], np.uint64), key=key)
    state: Any = stream.state  # moved on: making a generator takes thrice as long, for entropy that a key does without
    for row, sample in zip(bits, samples, strict=True):
        state["state"]["counter"][2] = sample
        stream.state = state
        row[...] = stream.random_raw(-(-size // 2)).view(np.int32)[:size]
    program, weights = _quantiles(size)
    (drawn,) = program.run("normal", {"bits": bits}, weights).values()
    return np.asarray(drawn.reshape(len(samples), *shape), dtype)


@lru_cache(maxsize=8)
def _quantiles(size: int) -> tuple[Program, Weights]:
    """What makes normal numbers of random ones from -2^31 to 2^31, `size` for each sample."""
    from ..program import Entry, Weights, compile

    b = GraphBuilder()

    def number(value: float) -> str:
        return b.constant(np.float32(value))

    def polynomial(x: str, coefficients: Sequence[float]) -> str:
        value = number(coefficients[0])
        for coefficient in coefficients[1:]:
            value = b.add("Add", [b.add("Mul", [value, x]), number(coefficient)])
        return value

    signed = b.add("Add", [b.input("bits", "float32", (BATCH, size)), number(0.5)])  # never 0
    p = b.add("Mul", [b.add("Abs", [signed]), number(2.0**-32)])
    t = b.add("Sqrt", [b.add("Mul", [b.add("Log", [p]), number(-2.0)])])
    part = b.add("Div", [polynomial(t, _TOP), polynomial(t, _BOTTOM)])
    z = b.add("Mul", [b.add("Sign", [signed]), b.add("Sub", [t, part])])
    program = compile(b.build([z]), {"normal": Entry(("bits",), (z,))})
    return program, Weights({})


def check_seed(seed: Any) -> int:
    """Return `seed` if it is one."""
    try:
        number = operator.index(seed)
    except TypeError:
        raise TypeError(f"`seed` (={seed!r}) must be an int: noise without one cannot be repeated") from None
    if not 0 <= number < 2**128:
        raise ValueError(f"`seed` (={seed!r}) must be from 0 to 2**128 - 1")
    return number
