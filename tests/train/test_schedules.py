"""Schedules: their values at the places that define them."""

from __future__ import annotations

import pytest

from convlens import train


@pytest.mark.parametrize(
    ("schedule", "epoch", "factor"),
    [
        (train.Constant(), 7.3, 1),
        (train.StepDecay(every=3, factor=0.5), 2.99, 1),
        (train.StepDecay(every=3, factor=0.5), 6.0, 0.25),
        (train.ExponentialDecay(0.5), 2.0, 0.25),
        (train.CosineDecay(), 0, 1),
        (train.CosineDecay(), 5, 0.5),
        (train.CosineDecay(final=0.2), 10, 0.2),
        (train.OneCycle(warmup=0.4, start=0.1, final=0.01), 0, 0.1),
        (train.OneCycle(warmup=0.4, start=0.1, final=0.01), 2, 0.55),
        (train.OneCycle(warmup=0.4, start=0.1, final=0.01), 4, 1),
        (train.OneCycle(warmup=0.4, start=0.1, final=0.01), 10, 0.01),
        (train.LinearWarmup(2), 0.5, 0.25),
        (train.LinearWarmup(2), 9, 1),
        (train.LinearWarmup(2, train.CosineDecay()), 6, 0.5),
    ],
)
def test_factor_over_ten_epochs(schedule, epoch, factor):
    assert schedule(epoch, 10) == pytest.approx(factor)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: train.StepDecay(every=0),
        lambda: train.ExponentialDecay(0),
        lambda: train.OneCycle(warmup=1),
        lambda: train.LinearWarmup(0),
    ],
)
def test_value_without_meaning_is_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        wrong()
