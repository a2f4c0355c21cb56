"""Occlusion of boxes, held to whole forward passes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from convlens import explain, nn, ops
from convlens.explain import _regions
from convlens.explain._local import LocalImage, find_local
from convlens.explain._task import Task
from convlens.explain.occlusion import windows
from explain.networks import with_biases

SHAPE = (3, 44, 60)


def _finished(x, y, dtype, **options):
    y = nn.Linear(out_features=5, name="logits")(nn.Flatten()(nn.GlobalAvgPool2d()(y)))
    return with_biases(nn.Network(inputs=x, outputs=y, **options), 0).astype(dtype)


def plain(dtype, **options):
    """Pools that pad, that have a ceiling, that count what they pad; padding beside a convolution's own; groups."""
    x = nn.Input(SHAPE)
    y = nn.ZeroPad2d(padding=(1, 0, 0, 2))(x)
    y = nn.ReLU()(nn.Conv2d(out_channels=20, kernel_size=(5, 3), stride=2, padding=(2, 1), name="a")(y))
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
    g = nn.ReLU()(nn.Conv2d(out_channels=16, kernel_size=3, padding=1, name="f")(f))
    return _finished(x, nn.Conv2d(out_channels=16, kernel_size=3, padding=1, name="g")(g), dtype, **options)


@pytest.fixture
def free(monkeypatch):
    monkeypatch.setattr(_regions, "LEAST_SHARE", 0.0)
    monkeypatch.setattr(_regions, "LEAST_PRODUCTS", 0)


def images(n, dtype):
    return np.random.default_rng(0).standard_normal((n, *SHAPE)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("network", [plain, residual])
def test_boxes_have_the_bits_of_the_whole(network, dtype, free, monkeypatch):
    """Without Winograd's algorithm, whose tiles lie on the grid of a whole tensor."""
    net, x = network(dtype, winograd=False), images(2, dtype)
    for window, stride in ((8, 4), ((5, 9), (5, 7))):
        call = {"window": window, "stride": stride, "baselines": 0.3}
        boxes = explain.occlusion(net, x, 1, **call)
        with monkeypatch.context() as patch:
            patch.setitem(explain.occlusion.__globals__, "find_local", lambda *_: None)
            whole = explain.occlusion(net, x, 1, **call)
        assert whole.values.any()
        assert np.array_equal(boxes.values, whole.values)


def test_boxes_go_by_winograd_where_that_takes_less(free):
    net, direct, x = residual("float32"), residual("float32", winograd=False), images(1, "float32")
    local = find_local(Task(net, "", x, method="occlusion"), windows(SHAPE[1:], (24, 24), (12, 12)))
    assert _by_winograd(local._rest)
    boxes = set().union(*(_by_winograd(part) for part in local._parts if part))
    assert boxes
    assert boxes <= _by_winograd(local._clean)
    assert {part.tile for part in local.regions.regions} == {1, _regions.TILE}
    maps = [explain.occlusion(each, x, 1, window=24, stride=12).values for each in (net, direct)]
    assert not np.array_equal(*maps)
    assert np.allclose(*maps, rtol=0, atol=1e-4 * np.abs(maps[1]).max())


def _by_winograd(program):
    return {choice.node for choice in program.convolutions if "Winograd" in choice.algorithm}


@pytest.mark.parametrize("window", [5, (7, 12), 24])
def test_tiles_in_boxes_have_the_bits_of_those_around(window, free, monkeypatch):
    """What is covered with itself changes nothing."""
    monkeypatch.setattr(_regions, "LEAST_TILED", -np.inf)
    monkeypatch.setattr(_regions, "LARGEST_BOX", 1.0)
    net, x = residual("float32"), images(2, "float32")
    side = (window, window) if isinstance(window, int) else window
    assert find_local(Task(net, "", x, method="occlusion"), windows(SHAPE[1:], side, (5, 5))).regions.tiled
    values = explain.occlusion(net, x, 1, window=window, stride=5, baselines=x).values
    assert np.array_equal(values, np.zeros_like(values))


@pytest.mark.parametrize("bounded", [False, True])
def test_windows_side_by_side_have_the_same_bits(bounded, free):
    net, x = residual("float32"), images(2, "float32")
    call = {"window": 8, "stride": 4}
    before, maps = ops.get_num_threads(), []
    net.max_bytes = 2**24 if bounded else None
    try:
        for threads, at_once in ((1, None), (2, None), (3, 5), (3, 2), (2, 1)):
            ops.set_num_threads(threads)
            maps.append(explain.occlusion(net, x, 1, **call, batch_size=at_once).values)
    finally:
        ops.set_num_threads(before)
    assert all(np.array_equal(each, maps[0]) for each in maps[1:])


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_leaves_the_windows_done(threads, free, monkeypatch):
    net, x = residual("float32"), images(1, "float32")
    whole = explain.occlusion(net, x, 1, window=8, stride=8).values
    logits, calls = LocalImage.logits, itertools.count()

    def interrupted(*args):
        if next(calls) >= 4:
            raise KeyboardInterrupt
        return logits(*args)

    before = ops.get_num_threads()
    monkeypatch.setattr(LocalImage, "logits", interrupted)
    ops.set_num_threads(threads)
    try:
        why = explain.occlusion(net, x, 1, window=8, stride=8, batch_size=2)
    finally:
        ops.set_num_threads(before)
    done = ~np.isnan(why.values)
    assert not why.converged
    assert 0 < done.mean() < 1
    assert np.array_equal(why.values[done], whole[done])


def test_padding_before_a_convolution_is_its_own(free):
    net = plain("float32")
    rows, columns = [(i, i + 8) for i in range(0, 36, 4)], [(i, i + 8) for i in range(0, 52, 4)]
    found = _regions.find_regions(net.graph, net.input_name, net.output_name, rows, columns)
    first = found.regions[1]
    assert [node.op for node in first.nodes] == ["Conv", "Relu"]
    assert first.reads[0].window.pads == (2 + 1, 1, 2, 1 + 2)


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
