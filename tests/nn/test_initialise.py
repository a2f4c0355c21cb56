"""Initial weights: variance, reproducibility, independence."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import nn


def _network(seed, *more, init="kaiming_uniform"):
    return nn.Sequential(
        nn.Conv2d(out_channels=64, kernel_size=3, init=init), nn.Flatten(), *more, input_shape=(32, 8, 8), seed=seed
    )


def test_same_seed_gives_the_same_bits():
    first, second, other = (_network(seed).parameters["conv1.weight"] for seed in (3, 3, 4))
    assert first.tobytes() == second.tobytes()
    assert first.tobytes() != other.tobytes()


def test_appending_a_layer_leaves_those_before_it_alone():
    short, long = _network(0), _network(0, nn.Linear(out_features=10))
    assert short.parameters["conv1.weight"].tobytes() == long.parameters["conv1.weight"].tobytes()


@pytest.mark.parametrize(
    ("init", "variance"),
    [
        ("kaiming_uniform", 2 / (32 * 9)),
        ("kaiming_normal", 2 / (32 * 9)),
        ("glorot_uniform", 2 / (32 * 9 + 64 * 9)),
        ("glorot_normal", 2 / (32 * 9 + 64 * 9)),
    ],
)
def test_variance_is_that_of_the_scheme(init, variance):
    weight = _network(0, init=init).parameters["conv1.weight"].astype(np.float64)
    # 18432 draws: the standard error of the variance is 1 % for a normal draw.
    assert weight.var() == pytest.approx(variance, rel=0.04)
    assert abs(weight.mean()) < 4 * np.sqrt(variance / weight.size)
    if init.endswith("uniform"):
        assert np.abs(weight).max() <= np.sqrt(3 * variance)


def test_biases_are_zero_and_batch_norm_starts_as_the_identity():
    net = nn.Sequential(nn.Conv2d(out_channels=4, kernel_size=1), nn.BatchNorm2d(), input_shape=(1, 2, 2))
    parameters = net.parameters
    assert not parameters["conv1.bias"].any()
    assert (parameters["batch_norm1.weight"] == 1).all()
    assert (parameters["batch_norm1.running_var"] == 1).all()
    assert not parameters["batch_norm1.running_mean"].any()
