"""Gradients and rules against PyTorch in float64: a network, and the points where a derivative is a convention."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import reference
from convlens.graph import GraphBuilder
from convlens.transform import DECONVNET, GRADIENT, GUIDED, backward

pytestmark = pytest.mark.parity


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def weights():
    rng = np.random.default_rng(0)
    shapes = {"w1": (4, 2, 3, 3), "b1": (4,), "w2": (4, 1, 3, 3), "scale": (4,), "shift": (4,), "dense": (5, 8)}
    values = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return {**values, "mean": rng.normal(size=4), "var": rng.uniform(0.5, 2, size=4)}


def network(values):
    """A stem, a residual branch with a depthwise convolution and batch-norm, the ReLU's input read twice."""
    b = GraphBuilder()
    x = b.input("x", "float64", ("N", 2, 9, 12))
    c = {name: b.constant(value, name) for name, value in values.items()}
    stem = b.add("Conv", [x, c["w1"], c["b1"]], {"pads": (1, 1, 1, 1), "strides": (2, 1)})
    stem = b.add("MaxPool", [b.add("Relu", [stem])], {"kernel_shape": (3, 2), "strides": (1, 2), "pads": (1, 0, 1, 0)})
    branch = b.add("Conv", [stem, c["w2"]], {"pads": (1, 1, 1, 1), "group": 4})
    branch = b.add("BatchNormalization", [branch, c["scale"], c["shift"], c["mean"], c["var"]], {"epsilon": 1e-3})
    joined = b.add("Relu", [b.add("Add", [b.add("Relu", [branch]), stem])])
    pooled = b.add("AveragePool", [joined], {"kernel_shape": (5, 3), "strides": (5, 3)})
    b.add("Gemm", [b.add("Flatten", [pooled]), c["dense"]], {"transB": 1}, name="logits")
    return b.build(["logits"])


def in_pytorch(torch, x, v, relu):
    f = torch.nn.functional
    stem = relu(f.conv2d(x, v["w1"], v["b1"], stride=(2, 1), padding=1))
    stem = f.max_pool2d(f.pad(stem, (0, 0, 1, 1), value=-torch.inf), (3, 2), (1, 2))
    branch = f.conv2d(stem, v["w2"], padding=1, groups=4)
    branch = f.batch_norm(branch, v["mean"], v["var"], v["scale"], v["shift"], eps=1e-3)
    joined = relu(relu(branch) + stem)
    return f.linear(f.avg_pool2d(joined, (5, 3)).flatten(1), v["dense"])


def relus(torch):
    class Rule(torch.autograd.Function):
        guided = True

        @classmethod
        def forward(cls, ctx, x):
            ctx.save_for_backward(x)
            return x.clamp(min=0)

    class Guided(Rule):
        @staticmethod
        def backward(ctx, r):
            return r * (r > 0) * (ctx.saved_tensors[0] > 0)

    class Deconvnet(Rule):
        @staticmethod
        def backward(ctx, r):
            return r * (r > 0)

    return {"gradient": torch.relu, "guided": Guided.apply, "deconvnet": Deconvnet.apply}


@pytest.mark.parametrize("rules", [GRADIENT, GUIDED, DECONVNET], ids=lambda rules: rules.name)
def test_a_network_has_pytorchs_gradients(torch, rules):
    values = weights()
    graph = network(values)
    rng = np.random.default_rng(1)
    x, seed = rng.normal(size=(3, 2, 9, 12)), rng.normal(size=(3, 5))
    wrt = ["x", "w1", "b1", "w2", "scale", "shift", "dense"]
    full, names = backward(graph, "logits", wrt, rules)
    found = reference.run(full, {"x": x, "seed": seed})
    tensors = {name: torch.tensor(value, requires_grad=name in wrt) for name, value in values.items()}
    tensors["x"] = torch.tensor(x, requires_grad=True)
    logits = in_pytorch(torch, tensors["x"], tensors, relus(torch)[rules.name])
    np.testing.assert_allclose(found["logits"], logits.detach().numpy(), rtol=1e-11, atol=1e-11)
    logits.backward(torch.tensor(seed))
    for name in wrt:
        theirs = tensors[name].grad.numpy()
        assert np.abs(found[names[name]] - theirs).max() <= 1e-12 * np.abs(theirs).max(), name


POINTS = np.array([-4.0, -3.0, -1.0, -0.0, 0.0, 0.5, 3.0, 6.0, 7.0])
BOUNDS = {"low": np.array(0.0), "high": np.array(6.0), "minus": np.array(-1.0), "slope": np.array([0.25])}


@pytest.mark.parametrize(
    ("op", "operands", "attributes", "theirs"),
    [
        ("Relu", [], {}, lambda t, x: t.relu(x)),
        ("Clip", ["low", "high"], {}, lambda t, x: t.nn.functional.relu6(x)),
        ("Clip", ["minus", "high"], {}, lambda t, x: t.clamp(x, -1, 6)),
        ("Clip", ["minus", "high"], {"gradient_at_bounds": 0}, lambda t, x: t.nn.functional.hardtanh(x, -1, 6)),
        ("Clip", ["low", "high"], {"gradient_at_bounds": 1}, lambda t, x: t.clamp(x, 0, 6)),
        ("Clip", ["low"], {"gradient_at_bounds": 1}, lambda t, x: t.clamp(x, min=0)),
        ("LeakyRelu", [], {"alpha": 0.25}, lambda t, x: t.nn.functional.leaky_relu(x, 0.25)),
        ("PRelu", ["slope"], {}, lambda t, x: t.nn.functional.prelu(x, t.tensor([0.25], dtype=x.dtype))),
        ("Elu", [], {}, lambda t, x: t.nn.functional.elu(x)),
        ("Elu", [], {"alpha": 0.5}, lambda t, x: t.nn.functional.elu(x, 0.5)),
        ("Selu", [], {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}, lambda t, x: t.selu(x)),
        # Its own backward multiplies by a sixth in float32, in float64 too.
        ("HardSigmoid", [], {"alpha": 1 / 6}, lambda t, x: t.nn.functional.relu6(x + 3) / 6),
        ("HardSwish", [], {}, lambda t, x: t.nn.functional.hardswish(x)),
        ("Abs", [], {}, lambda t, x: x.abs()),
        ("Max", ["high"], {}, lambda t, x: t.maximum(x, t.tensor(6.0, dtype=x.dtype))),
        ("Min", ["high"], {}, lambda t, x: t.minimum(x, t.tensor(6.0, dtype=x.dtype))),
        ("ReduceMax", [], {"keepdims": 0}, lambda t, x: x.amax()),
    ],
)
def test_conventions_at_kinks_are_pytorchs(torch, op, operands, attributes, theirs):
    for points in (POINTS, np.concatenate([POINTS, [7.0]])):
        b = GraphBuilder()
        x = b.input("x", "float64", points.shape)
        constants = [b.constant(BOUNDS[name]) for name in operands]
        full, names = backward(b.build([b.add(op, [x, *constants], attributes, name="y")]), "y", ["x"])
        tensor = torch.tensor(points, requires_grad=True)
        y = theirs(torch, tensor)
        y.sum().backward()
        found = reference.run(full, {"x": points, "seed": np.ones(y.shape)})
        np.testing.assert_allclose(found["y"], y.detach().numpy(), rtol=4e-16)
        np.testing.assert_allclose(found[names["x"]], tensor.grad.numpy(), rtol=4e-16)
