"""Networks over signals (N, C, L): trained by fit, explained by every method, maps along the length."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import explain, nn, train
from explain.interpreted import InterpretedNetwork
from explain.networks import with_biases

METHODS = explain.methods()
LENGTH = 40
OPTIONS = {"occlusion": {"window": 5, "stride": 2}}


def network(seed=0, dtype="float32"):
    layers = [
        nn.Conv1d(out_channels=6, kernel_size=5, padding=(1, 2)),
        nn.BatchNorm1d(),
        nn.ReLU(),
        nn.MaxPool1d(kernel_size=2),
        nn.Conv1d(out_channels=8, kernel_size=3, dilation=2, padding="same"),
        nn.ReLU(),
        nn.AvgPool1d(kernel_size=3, stride=2),
        nn.Flatten(),
        nn.Linear(out_features=3),
    ]
    return with_biases(nn.Sequential(*layers, input_shape=(2, LENGTH), seed=seed), seed).astype(dtype)


def signals(n=3, dtype="float32"):
    return np.random.default_rng(0).standard_normal((n, 2, LENGTH)).astype(dtype)


def call(name, net, x, target=None, **more):
    return METHODS[name].function(net, x, target, **{**METHODS[name].options, **OPTIONS.get(name, {}), **more})


@pytest.mark.parametrize("name", METHODS)
def test_maps_have_the_signals_own_axes_and_the_oracles_values(name):
    net, x = network(dtype="float64"), signals(dtype="float64")
    compiled, plain = call(name, net, x), call(name, InterpretedNetwork(net), x)
    kind = METHODS[name].values
    if kind == "layer":
        assert compiled.values.shape == (3, *net.graph.types[compiled.layer].per_image)
    else:
        assert compiled.values.shape == (3, 2 if kind == "input" else 1, LENGTH)
    assert np.abs(compiled.values - plain.values).max() <= 1e-8 * np.abs(plain.values).max()


@pytest.mark.parametrize("name", [name for name, row in METHODS.items() if row.values != "layer"])
@pytest.mark.parametrize("place", [6, 31])
def test_a_peak_is_found_where_it_is(name, place):
    layers = [nn.Conv1d(out_channels=2, kernel_size=3, padding=1, bias=False), nn.ReLU(), nn.Flatten()]
    net = nn.Sequential(*layers, nn.Linear(out_features=2), input_shape=(1, LENGTH), seed=0)
    weight = np.zeros((2, 2, LENGTH))
    weight[1, 0, place - 1 : place + 2] = 1
    kernel = np.zeros((2, 1, 3))
    kernel[0, 0] = 0.5, 1, 0.5
    net.set_parameters({"conv1.weight": kernel, "linear1.weight": weight.reshape(2, -1)})
    x = np.zeros((1, 1, LENGTH), np.float32)
    x[0, 0, place] = 1
    fine = {"occlusion": {"window": 3, "stride": 1}, "rise": {"grid_size": LENGTH, "n_samples": 1000}}
    found = np.abs(call(name, net, x, 1, **fine.get(name, {})).values[0]).sum(axis=0)
    assert found.max() > 0
    assert abs(np.flatnonzero(found >= 0.999 * found.max()).mean() - place) <= 1


def test_a_signal_is_blurred_along_its_length():
    why = explain.integrated_gradients(network(), signals(), baselines="blur", n_steps=4)
    assert np.isfinite(why.values).all()


def test_wrong_windows_say_what_a_signal_takes():
    with pytest.raises(ValueError, match=r"`window` \(=\(3, 3\)\) must be an int or \(length,\)"):
        explain.occlusion(network(), signals(), window=(3, 3))
    with pytest.raises(ValueError, match=r"`window` \(=\(41,\)\) is larger than the image, 40"):
        explain.occlusion(network(), signals(), window=41)


def test_drawing_a_signals_map_says_how():
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match=r"whose map is a curve: draw it with Matplotlib's axes.plot"):
        explain.saliency(network(), signals(1)).plot()


def test_a_layer_of_other_axes_is_not_upsampled():
    x = nn.Input((1, 8, 8))
    h = nn.Conv1d(out_channels=4, kernel_size=3, name="conv")(nn.Reshape(shape=(2, 32))(x))
    net = nn.Network(inputs=x, outputs=nn.Linear(out_features=2)(nn.Flatten()(nn.ReLU()(h))))
    images = np.ones((1, 1, 8, 8), np.float32)
    with pytest.raises(ValueError, match=r"a map of other axes cannot be upsampled to them; pass upsample=None"):
        explain.grad_cam(net, images, layer="conv")
    assert explain.grad_cam(net, images, layer="conv", upsample=None).values.shape == (1, 1, 30)


def test_a_network_over_signals_learns():
    """Where the bump is: left, in the middle or right."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 240)
    x = 0.3 * rng.standard_normal((240, 2, LENGTH)).astype(np.float32)
    for i, label in enumerate(labels):
        x[i, 0, 8 + 12 * label : 12 + 12 * label] += 1.5
    net = network(seed=3)
    train.fit(net, x, labels, epochs=6, batch_size=24, optimizer=train.Adam(1e-2))
    assert np.mean(net(x).argmax(axis=1) == labels) > 0.95
