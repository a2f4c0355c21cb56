"""Calls of a network after the first of a batch size, which go straight to its Program."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import nn


def network(seed=0, **kwargs):
    layers = (nn.Conv2d(out_channels=4, kernel_size=3), nn.ReLU(), nn.Flatten(), nn.Linear(out_features=3))
    return nn.Sequential(*layers, input_shape=(2, 6, 6), seed=seed, **kwargs)


def images(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 2, 6, 6)).astype(np.float32)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_later_calls_compute_what_the_first_did(n):
    net, other = network(), network()
    for seed in range(3):
        x = images(n, seed)
        assert net(x).tobytes() == other._outputs(x).tobytes()
    assert net._replay.call((images(n),), None) is not NotImplemented


def test_new_parameters_are_used_at_once():
    net, x = network(), images(2)
    for seed in range(4):
        net.set_parameters(network(seed).parameters)
        for _ in range(3):
            assert net(x).tobytes() == network(seed)(x).tobytes()


def test_several_outputs_are_named():
    x = nn.Input((2, 6, 6))
    y = nn.Conv2d(out_channels=3, kernel_size=3, name="conv")(x)
    net = nn.Network(inputs=x, outputs=[y, nn.ReLU(name="relu")(y)])
    first, second = net(images(2)), net(images(2))
    assert list(first) == list(second) == ["conv", "relu"]
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


def test_errors_stay_after_right_calls():
    net = network()
    for _ in range(3):
        net(images(1))
    with pytest.raises(TypeError, match="scale first"):
        net(np.zeros((1, 2, 6, 6), np.uint8))
    with pytest.raises(ValueError, match="batch axis is missing"):
        net(images(1)[0])
    with pytest.raises(TypeError, match="float64"):
        net(images(1).astype(np.float64))


def test_parts_of_a_large_batch_agree_with_the_whole(monkeypatch):
    net, x = network(), images(7)
    whole = net(x).tobytes()
    monkeypatch.setattr("convlens.nn._run.ARENA_BYTES", 1)
    parted = network()
    assert [parted(x).tobytes() for _ in range(3)] == [whole] * 3
