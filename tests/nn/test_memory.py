"""memory="low" and max_bytes: one copy of the weights, and a bound on what a call works in."""

from __future__ import annotations

import numpy as np
import pytest

import convlens as cl
from convlens._spill import _mapping
from convlens.program import Program


def network(**options):
    layers = [cl.nn.Conv2d(out_channels=96, kernel_size=3, padding=1) for _ in range(3)]
    chain = [each for layer in layers for each in (layer, cl.nn.BatchNorm2d(), cl.nn.ReLU())]
    head = [cl.nn.AdaptiveAvgPool2d(output_size=1), cl.nn.Flatten(), cl.nn.Linear(out_features=7)]
    return cl.nn.Sequential(*chain, *head, input_shape=(96, 20, 18), seed=0, **options)


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(5, 96, 20, 18)).astype(np.float32)


@pytest.fixture
def taken(monkeypatch):
    """Bytes of every Workspace that is taken."""
    sizes = []
    own = Program.workspace

    def workspace(program, n):
        made = own(program, n)
        sizes.append(made.nbytes)
        return made

    monkeypatch.setattr(Program, "workspace", workspace)
    return sizes


def resident(net):
    """Bytes of weights that no file holds: plain and packed."""
    plain = {id(a): a.nbytes for a in net.graph.constants.values() if _mapping(a) is None}
    return sum(plain.values()) + net.weights.nbytes


def test_low_memory_keeps_one_copy_of_the_weights(images):
    fast, low = network(), network(memory="low")
    np.testing.assert_array_equal(low(images), fast(images))
    why = [cl.explain.saliency(net, images, 3).values for net in (low, fast)]
    np.testing.assert_array_equal(*why)
    whole = sum(array.nbytes for array in fast.parameters.values())
    assert resident(low) < 1.05 * whole < 4 * whole < resident(fast)


@pytest.mark.parametrize("ending", ["onnx", "npz"])
def test_low_memory_of_what_is_loaded_and_saved_again(ending, images, tmp_path):
    pytest.importorskip("onnx")
    path = tmp_path / f"net.{ending}"
    net = network()
    cl.onnx.export(net, path) if ending == "onnx" else net.save(path)
    low = cl.load(path, memory="low")
    path.unlink()
    np.testing.assert_array_equal(low(images), net(images))
    assert resident(low) < 1.05 * sum(array.nbytes for array in net.parameters.values())
    low.save(tmp_path / "again.npz")
    np.testing.assert_array_equal(cl.load(tmp_path / "again.npz")(images), net(images))


def test_low_memory_trains_and_takes_new_parameters(images):
    fast, low = network(), network(memory="low")
    for net in (fast, low):
        cl.train.fit(net, images, np.arange(5) % 7, epochs=1, batch_size=5, seed=0)
    np.testing.assert_array_equal(low(images), fast(images))
    low.set_parameters({"linear1.bias": np.zeros(7)})
    assert resident(low) < 1.05 * sum(array.nbytes for array in fast.parameters.values())


def test_copies_and_pickles_of_a_network_keep_its_options():
    import pickle

    net = network(memory="low", max_bytes=10**8)
    for copy in (net.astype("float64"), pickle.loads(pickle.dumps(net))):
        assert (copy.memory, copy.max_bytes) == ("low", 10**8)


def test_a_bound_may_be_set_later(images, taken):
    net = network()
    whole = net(images)
    bound = max(taken) - 1
    net.max_bytes = bound
    taken.clear()
    np.testing.assert_array_equal(net(images), whole)
    assert max(taken) <= bound


def test_bad_options_are_refused(images):
    with pytest.raises(ValueError, match=r"`memory` \(='small'\) must be 'fast' or 'low' \(one copy of the weights\)"):
        network(memory="small")
    with pytest.raises(ValueError, match=r"`max_bytes` \(=0\) must be"):
        network(max_bytes=0)
    net = network(max_bytes=1000)
    with pytest.raises(ValueError, match=r"`max_bytes` \(=1000\) must be at least \d+: one image takes so many on \d"):
        net(images)
    with pytest.raises(ValueError, match=r"`max_bytes` \(=1000\) must be at least"):
        cl.explain.saliency(net, images, 3)
