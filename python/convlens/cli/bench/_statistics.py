"""Medians, spreads and paired ratios; every bound holds for any distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Median, 10th and 90th percentile."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Ratio:
    """The median of paired ratios and its confidence bounds."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Describe a sample."""
    low, median, high = (float(v) for v in np.percentile(values, (10, 50, 90)))
    return Spread(median, low, high)


def paired_ratio(ours: Sequence[float], theirs: Sequence[float], confidence: float = 0.95) -> Ratio:
    """Compare two libraries round by round, so that what slows both cancels.

    Parameters
    ----------
    ours, theirs : sequence of float
        Seconds of each round.
    confidence : float
        Of the interval. Fewer than 6 rounds cannot give 95 %: then it is the smallest and largest ratio.

    Returns
    -------
    Ratio
        The median of ``ours / theirs`` and its sign-test interval.

    Notes
    -----
    Of n ratios in order, the k-th smallest and k-th largest enclose the true median with probability
    ``1 - 2 P(B < k)``, B binomial of n tosses of a fair coin; k is the largest that reaches `confidence`.

    Examples
    --------
    >>> paired_ratio([1.0, 2.0, 3.0], [2.0, 2.0, 2.0])
    Ratio(median=1.0, low=0.5, high=1.5)
    """
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    n, k, tail = len(ratios), 1, 2.0 ** -len(ratios)
    while k < n // 2 and 2 * (tail + math.comb(n, k) / 2**n) <= 1 - confidence:
        tail += math.comb(n, k) / 2**n
        k += 1
    return Ratio(float(np.median(ratios)), ratios[k - 1], ratios[n - k])
