"""GELU as files write it out."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("onnx.helper")

from onnx_models import model, node, random, reference

import convlens as cl
from convlens import explain
from convlens.explain import _regions

X = random(2, 3, 24, 20)
# The products of PyTorch's exporters, of Keras's, and the other orders.
FACTORS = {
    "(x t) half": ("x t", "p half"),
    "(half x) t": ("half x", "p t"),
    "t (x half)": ("x half", "t p"),
    "x (t half)": ("t half", "x p"),
    "(half t) x": ("half t", "p x"),
    "half (t x)": ("t x", "half p"),
}


def _written(
    factors="(x t) half",
    scaling="Div",
    *,
    shape=(),
    scale=None,
    half=0.5,
    one=1.0,
    source="x",
    result="y",
    outputs=("y",),
    before=(),
    after=(),
    **weights,
):
    """A model with a GELU of `source`; tensors of it are s, e, t and p."""
    first, second = FACTORS[factors]
    nodes = [
        node(scaling, "x scale", "s"),
        node("Erf", "s", "e"),
        node("Add", "one e" if factors == "x (t half)" else "e one", "t"),
        node("Mul", first, "p"),
        node("Mul", second, "y"),
    ]
    for each in nodes:
        each.input[:] = [source if name == "x" else name for name in each.input]
        each.output[:] = [result if name == "y" else name for name in each.output]
    scale = (math.sqrt(2) if scaling == "Div" else math.sqrt(0.5)) if scale is None else scale
    numbers = {"scale": scale, "one": one, "half": half}
    weights |= {name: np.full(shape, value, np.float32) for name, value in numbers.items()}
    return model([*before, *nodes, *after], ("batch", *X.shape[1:]), weights=weights, outputs=outputs)


def _operators(net):
    return [each.op for each in net.graph.nodes]


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1)])
@pytest.mark.parametrize("scaling", ["Mul", "Div"])
@pytest.mark.parametrize("factors", FACTORS)
def test_gelu_written_out_is_one_operator(factors, scaling, shape):
    made = _written(factors, scaling, shape=shape)
    net = cl.onnx.load(made)
    assert _operators(net) == ["Gelu"]
    np.testing.assert_allclose(net(X), reference(made, X)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "numbers",
    [
        {"half": np.nextafter(np.float32(0.5), 1)},
        {"one": np.nextafter(np.float32(1), 2)},
        {"scale": 1.41422},
        {"scale": math.sqrt(0.5)},
        {"shape": (3, 1, 1)},
    ],
)
def test_other_numbers_are_no_gelu(numbers):
    made = _written(**numbers)
    net = cl.onnx.load(made)
    assert "Gelu" not in _operators(net)
    np.testing.assert_allclose(net(X), reference(made, X)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("inner", ["s", "e", "t", "p"])
def test_what_is_asked_for_within_stays(inner):
    made = _written(outputs=("y", inner))
    net = cl.onnx.load(made, outputs=["y", inner])
    assert _operators(net) == ["Div", "Erf", "Add", "Mul", "Mul"]
    assert _operators(cl.onnx.load(made, outputs=["y"])) == ["Gelu"]
    read = _written(outputs=("z",), after=[node("Add", f"y {inner}", "z")])
    assert "Erf" in _operators(cl.onnx.load(read))


def _network(**options):
    """Two convolutions with a GELU between them, and two logits."""
    weights = {"w": random(16, 3, 3, 3, seed=1), "v": random(16, 16, 3, 3, seed=2) / 12, "l": random(16, 2, seed=3)}
    before = [node("Conv", "x w", "a", pads=[1, 1, 1, 1])]
    after = [
        node("Conv", "b v", "c", pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", "c", "d"),
        node("Flatten", "d", "f"),
        node("MatMul", "f l", "logits"),
    ]
    made = _written(source="a", result="b", outputs=("logits",), before=before, after=after, **weights)
    return cl.load(made.SerializeToString(), **options)


def test_a_score_has_the_bits_of_the_network():
    net = _network()
    assert np.array_equal(explain.saliency(net, X, 1).score, net(X)[:, 1])


def test_boxes_have_the_bits_of_the_whole(monkeypatch):
    monkeypatch.setattr(_regions, "LEAST_SHARE", 0.0)
    monkeypatch.setattr(_regions, "LEAST_PRODUCTS", 0)
    net = _network(winograd=False)
    boxes = explain.occlusion(net, X, 1, window=5, stride=4)
    monkeypatch.setitem(explain.occlusion.__globals__, "find_local", lambda *_: None)
    whole = explain.occlusion(net, X, 1, window=5, stride=4)
    assert whole.values.any()
    assert np.array_equal(boxes.values, whole.values)
