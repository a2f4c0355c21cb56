"""Occlusion of boxes, held to whole forward passes."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import explain, nn
from convlens.explain import _regions
from explain.networks import with_biases

SHAPE = (3, 44, 60)


def _finished(x, y, dtype, **options):
    y = nn.Linear(out_features=5, name="logits")(nn.Flatten()(nn.GlobalAvgPool2d()(y)))
    return with_biases(nn.Network(inputs=x, outputs=y, **options), 0).astype(dtype)


def plain(dtype, **options):
    """Pools that pad, that have a ceiling, that count what they pad; dilation, strides beyond the kernel, groups."""
    x = nn.Input(SHAPE)
    y = nn.ReLU()(nn.Conv2d(out_channels=20, kernel_size=(5, 3), stride=2, padding=(2, 1), name="a")(x))
    y = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)(y)
    y = nn.SiLU()(nn.BatchNorm2d(name="norm")(nn.Conv2d(out_channels=24, kernel_size=3, padding="same", name="b")(y)))
    y = nn.MaxPool2d(kernel_size=2, ceil_mode=True)(nn.ZeroPad2d(padding=(0, 1, 2, 0))(y))
    y = nn.ReLU6()(nn.Conv2d(out_channels=24, kernel_size=1, stride=1, groups=4, name="c")(y))
    return _finished(x, nn.Conv2d(out_channels=8, kernel_size=2, name="d")(y), dtype, **options)


def residual(dtype, **options):
    """Branches of one and of another size, joined; the input is scaled first."""
    x = nn.Input(SHAPE)
    a = nn.ReLU()(nn.Conv2d(out_channels=16, kernel_size=3, padding=1, name="a")(nn.BatchNorm2d(name="scale")(x)))
    b = nn.ReLU()(nn.Conv2d(out_channels=16, kernel_size=3, padding=1, name="b")(a))
    c = nn.ReLU()(nn.Add(name="sum")(a, nn.Conv2d(out_channels=16, kernel_size=1, name="b1")(b)))
    d = nn.Conv2d(out_channels=32, kernel_size=3, stride=2, padding=1, name="d")(c)
    e = nn.ReLU()(nn.Add(name="down")(d, nn.Conv2d(out_channels=32, kernel_size=1, stride=2, name="e")(c)))
    f = nn.AvgPool2d(kernel_size=2)(nn.Concat()(e, d))
    return _finished(x, nn.ReLU()(nn.Conv2d(out_channels=8, kernel_size=3, padding=1, name="f")(f)), dtype, **options)


@pytest.fixture
def free(monkeypatch):
    monkeypatch.setattr(_regions, "LEAST_SHARE", 0.0)
    monkeypatch.setattr(_regions, "LEAST_PRODUCTS", 0)


def images(n, dtype):
    return np.random.default_rng(0).standard_normal((n, *SHAPE)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("network", [plain, residual])
def test_boxes_have_the_bits_of_the_whole(network, dtype, free, monkeypatch):
    """Of the network without Winograd's algorithm, whose tiles lie on the grid of a whole tensor."""
    net, direct, x = network(dtype), network(dtype, winograd=False), images(2, dtype)
    for window, stride in ((8, 4), ((5, 9), (5, 7))):
        call = {"window": window, "stride": stride, "baselines": 0.3}
        boxes = explain.occlusion(net, x, 1, **call)
        assert np.array_equal(explain.occlusion(net, x, 1, **call, batch_size=3).values, boxes.values)
        with monkeypatch.context() as patch:
            patch.setitem(explain.occlusion.__globals__, "find_local", lambda *_: None)
            whole = explain.occlusion(direct, x, 1, **call)
        assert whole.values.any()
        assert np.array_equal(boxes.values, whole.values)


@pytest.mark.parametrize(("network", "least"), [(plain, 3), (residual, 4)])
def test_boxes_reach_as_deep_as_a_patch_is_small(network, least, free):
    net = network("float32")
    rows, columns = [(i, i + 8) for i in range(0, 36, 4)], [(i, i + 8) for i in range(0, 52, 4)]
    found = _regions.find_regions(net.graph, net.input_name, net.output_name, rows, columns)
    assert found is not None
    assert len(found.regions) >= least
    assert found.share < 0.7
    for region in found.regions:
        box = region.box
        assert box.height * box.width <= 0.8 * np.prod(region.size)
        assert all(0 <= top <= region.size[0] - box.height for top in box.tops)


def test_a_network_of_few_products_runs_whole():
    net = plain("float32")
    found = _regions.find_regions(net.graph, net.input_name, net.output_name, [(0, 8)], [(0, 8)])
    assert found is None
