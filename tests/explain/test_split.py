"""Sums of gradients behind the affine beginning of a network, held to the sums at its input."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import explain, get_num_threads, nn, set_num_threads
from convlens.explain import _average, _split
from convlens.transform import affine_prefix
from explain.interpreted import InterpretedNetwork
from explain.networks import SHAPE, channels_last, given, images, residual, small, two_inputs, with_biases

CALLS = {
    "integrated_gradients": {"n_steps": 16, "baselines": 0.2},
    "smooth_grad": {"n_samples": 16, "seed": 3},
}


def normalised(*, dtype="float32"):
    """What stands before the first convolution of many exports: a mean, a scale, padding; a batch norm after it."""
    x = nn.Input(SHAPE)
    y = nn.ZeroPad2d(padding=(1, 2, 0, 1))(nn.BatchNorm2d(name="scale")(x))
    y = nn.BatchNorm2d(name="after")(nn.Conv2d(out_channels=5, kernel_size=3, stride=2, name="a")(y))
    y = nn.Linear(out_features=5, name="logits")(nn.Flatten()(nn.ReLU()(y)))
    return with_biases(nn.Network(inputs=x, outputs=y), 0).astype(dtype)


NETWORKS = {each.__name__: each for each in (small, residual, channels_last, two_inputs, normalised)}


def call(method, net, x, **more):
    return getattr(explain, method)(net, x, 1, **CALLS[method], **more)


@pytest.fixture(params=[0, 1 << 40], ids=["at both ends", "at every point"])
def beginning(request, monkeypatch):
    """Where on a line the affine beginning of a network runs."""
    monkeypatch.setattr(_split, "LEAST_FLOPS", request.param)


@pytest.mark.usefixtures("beginning")
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("method", CALLS)
def test_sums_behind_the_first_layer_are_those_at_the_input(method, network, monkeypatch):
    net = NETWORKS[network](dtype="float64")
    assert affine_prefix(net.graph, net.input_name, net.output_name) is not None
    x = given(net, 2)
    split, interpreted = call(method, net, x), call(method, InterpretedNetwork(net), x)
    monkeypatch.setattr(_average, "find_split", lambda *_, **__: None)
    plain = call(method, net, x)
    scale = np.abs(plain.values).max()
    assert np.abs(split.values - plain.values).max() <= 1e-12 * scale
    assert np.abs(interpreted.values - plain.values).max() <= 1e-12 * scale
    assert not np.array_equal(split.values, plain.values)  # it was another sum
    if plain.delta is not None:
        assert np.abs(split.delta - plain.delta).max() <= 1e-12


def test_a_dear_beginning_runs_at_both_ends_of_a_line_and_a_cheap_one_at_every_point(monkeypatch):
    ran = []

    def counted(self, start, end):
        ran.append((start.shape, end.shape))
        return ends(self, start, end)

    ends = _split.Split.ends
    monkeypatch.setattr(_split.Split, "ends", counted)
    for kernel, times in ((3, 0), (7, 2)):
        conv = nn.Conv2d(out_channels=4, kernel_size=kernel)
        layers = (conv, nn.ReLU(), nn.Flatten(), nn.Linear(out_features=3))
        net = nn.Sequential(*layers, input_shape=(3, 9, 11), seed=0)
        x = np.random.default_rng(0).standard_normal((2, 3, 9, 11)).astype(np.float32)
        for method in CALLS:
            call(method, net, x)
        assert ran == [((3, 9, 11),) * 2] * times


@pytest.mark.usefixtures("beginning")
@pytest.mark.parametrize("method", CALLS)
def test_any_batch_and_threads_give_the_same_bits(method):
    net, x = small(), images(3)
    want = call(method, net, x, batch_size=16).values
    before = get_num_threads()
    try:
        for batch_size, threads in ((1, 1), (5, 1), (1, 3), (5, 3)):
            set_num_threads(threads)
            assert np.array_equal(call(method, net, x, batch_size=batch_size).values, want)
    finally:
        set_num_threads(before)
    assert np.array_equal(call(method, net, x[:1]).values, want[:1])


def test_a_cut_needs_products_before_it_and_something_behind_it():
    def chain(*layers, shape=(2, 8, 8)):
        net = nn.Sequential(*layers, input_shape=shape)
        return affine_prefix(net.graph, net.input_name, net.output_name)

    head = (nn.Flatten(), nn.Linear(out_features=3))
    assert chain(nn.ReLU(), nn.Conv2d(out_channels=4, kernel_size=3), *head) is None
    assert chain(nn.Conv2d(out_channels=4, kernel_size=3), *head) is None
    assert chain(nn.AvgPool2d(kernel_size=2), nn.ReLU(), *head) is None
    assert chain(nn.Conv2d(out_channels=4, kernel_size=3), nn.AvgPool2d(kernel_size=2), nn.ReLU(), *head) == "avg_pool1"
    assert chain(nn.Linear(out_features=4), nn.ReLU(), nn.Linear(out_features=3), shape=(7,)) == "linear1"
