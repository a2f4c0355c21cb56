from __future__ import annotations

import numpy as np
import pytest

from convlens import explain, nn
from explain.hand import IMAGE, net
from explain.networks import images, residual, small


def test_by_hand():
    # Mean gradients of class 0: (1 + ... + 6) / 6 = 3.5 for channel 0, 0 for channel 1.
    why = explain.grad_cam(net(), IMAGE, 0, layer="relu1")
    assert np.allclose(why.values[0, 0], [[3.5, 0, 10.5], [0, 17.5, 0]], atol=1e-12)
    assert np.array_equal(why.values, why.layer_values)


def test_relu_cuts_what_speaks_against():
    # Class 1: 2 / 6 for channel 0, -1 for channel 1.
    raw = explain.grad_cam(net(), IMAGE, 1, layer="relu1", relu=False)
    expected = np.array([[1 / 3, -2, 1], [0, 5 / 3, -6]])
    assert np.allclose(raw.values[0, 0], expected, atol=1e-12)
    cut = explain.grad_cam(net(), IMAGE, 1, layer="relu1")
    assert np.allclose(cut.values[0, 0], np.maximum(expected, 0), atol=1e-12)
    assert raw.signed
    assert not cut.signed


def test_on_a_pooled_head_it_is_cam():
    # Global pooling and one linear layer: alpha_k = w_ck / (h w), no backward pass needed.
    model, x = residual(dtype="float64"), images(2, dtype="float64")
    why = explain.grad_cam(model, x, 3, relu=False, upsample=None)
    maps = model.activations(x, [why.layer])[why.layer]
    weights = model.parameters["logits.weight"][3]
    cam = np.einsum("k,nkhw->nhw", weights, maps)[:, np.newaxis] / (maps.shape[2] * maps.shape[3])
    assert np.abs(why.values - cam).max() <= 1e-12 * np.abs(cam).max()


def test_upsampling_is_bilinear_with_half_pixel_centres():
    model, x = residual(dtype="float64"), images(1, dtype="float64")
    why = explain.grad_cam(model, x, 1)
    height, width = why.layer_values.shape[2:]
    rows = np.clip((np.arange(20) + 0.5) * height / 20 - 0.5, 0, height - 1)
    columns = np.clip((np.arange(36) + 0.5) * width / 36 - 0.5, 0, width - 1)
    small_map = why.layer_values[0, 0]
    by_rows = np.stack([np.interp(rows, np.arange(height), small_map[:, c]) for c in range(width)], axis=1)
    full = np.stack([np.interp(columns, np.arange(width), by_rows[r]) for r in range(20)])
    assert np.allclose(why.values[0, 0], full, atol=1e-12)


def test_nothing_to_show_is_said():
    model = net()
    model.set_parameters({"linear1.weight": -np.abs(model.parameters["linear1.weight"])})
    why = explain.grad_cam(model, IMAGE, 0, layer="relu1")
    assert not why.values.any()
    assert "zero everywhere for 1 image(s)" in why.notes[0]


def test_upsample_is_checked():
    with pytest.raises(ValueError, match=r"`upsample` \(='nearest'\) must be \"bilinear\" or None"):
        explain.grad_cam(small(), images(1), upsample="nearest")


@pytest.mark.parametrize("pool", [nn.MaxPool2d(kernel_size=3, stride=2), nn.AvgPool2d(kernel_size=2, padding=1)])
def test_what_a_pool_spreads_is_averaged_before(pool):
    net = nn.Sequential(
        nn.Conv2d(out_channels=5, kernel_size=3), nn.ReLU(), pool, nn.Flatten(), nn.Linear(out_features=3),
        input_shape=(2, 11, 9), seed=0,
    ).astype("float64")  # fmt: skip
    images = np.random.default_rng(0).standard_normal((2, 2, 11, 9))
    graph, _ = explain.graph_of(net, "grad_cam", layer="relu1", relu=False, upsample=None)
    spread = {"MaxPoolGrad", "AveragePoolGrad"}.intersection(node.op for node in graph.nodes)
    assert spread == (set() if isinstance(pool, nn.MaxPool2d) else {"AveragePoolGrad"})  # its padding takes a share
    why = explain.grad_cam(net, images, 1, layer="relu1", relu=False, upsample=None)
    layer = net.activations(images, ["relu1"])["relu1"]
    tail = nn.Sequential(pool, nn.Flatten(), nn.Linear(out_features=3), input_shape=layer.shape[1:]).astype("float64")
    tail.set_parameters({name: net.parameters[name] for name in tail.parameters})
    mean = explain.saliency(tail, layer, 1).values.mean(axis=(2, 3), keepdims=True)
    expected = (mean * layer).sum(axis=1, keepdims=True)
    assert np.abs(why.values - expected).max() <= 1e-12 * np.abs(expected).max()
