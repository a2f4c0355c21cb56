"""Spreads and paired ratios."""

from __future__ import annotations

import numpy as np
import pytest

from convlens.cli.bench import paired_ratio, spread


def test_a_spread_is_median_and_tenths():
    found = spread(range(1, 12))
    assert (found.low, found.median, found.high) == (2, 6, 10)


def test_a_ratio_is_paired_so_that_common_weather_cancels():
    weather = np.random.default_rng(0).uniform(1, 100, 25)
    found = paired_ratio(list(0.5 * weather), list(weather))
    assert (found.low, found.median, found.high) == pytest.approx((0.5, 0.5, 0.5))


@pytest.mark.parametrize(("rounds", "rank"), [(5, 1), (6, 1), (9, 2), (20, 6), (25, 8)])
def test_the_bounds_are_those_of_the_sign_test(rounds, rank):
    """Ranks from the tables of the binomial distribution."""
    ratios = list(range(1, rounds + 1))
    found = paired_ratio(ratios, [1] * rounds)
    assert (found.low, found.high) == (rank, rounds + 1 - rank)


def test_the_bounds_hold_the_median_as_often_as_they_say():
    rng = np.random.default_rng(0)
    ones = [1.0] * 25
    held = 0
    for _ in range(400):
        found = paired_ratio(list(rng.lognormal(size=25)), ones)
        held += found.low <= 1 <= found.high
    assert 0.93 < held / 400 < 0.99
