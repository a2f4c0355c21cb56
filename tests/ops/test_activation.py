"""Activations on every instruction set, in both precisions: the oracle, slopes, far out, near 0, PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from bounds import assert_within, normal

from convlens import ops, reference

SIXTH = 0.16666666666666666
# Name, arguments after x, the oracle.
ACTIVATIONS = {
    "clip": ((-0.5, 1.5), lambda x: reference.clip(x, -0.5, 1.5)),
    "elu": ((0.7,), lambda x: reference.elu(x, 0.7)),
    "gelu": ((), reference.gelu),
    "hardsigmoid": ((), reference.hardsigmoid),
    "hardswish": ((), reference.hardswish),
    "hardtanh": ((-2.0, 1.0), lambda x: reference.hardtanh(x, -2.0, 1.0)),
    "leaky_relu": ((0.2,), lambda x: reference.leaky_relu(x, 0.2)),
    "mish": ((), reference.mish),
    "relu6": ((), reference.relu6),
    "selu": ((), reference.selu),
    "silu": ((), reference.silu),
    "softplus": ((), reference.softplus),
}
SHAPES = [(), (5,), (3, 7), (2, 18, 3, 4), (2, 3, 4, 5, 2), (0, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_the_oracles(name, shape, dtype, isa):
    rest, oracle = ACTIVATIONS[name]
    x = np.asarray(4 * normal(1, *shape, dtype=dtype)).reshape(shape)
    wide = np.asarray(x, np.float64)
    assert_within(getattr(ops, name)(x, *rest), oracle(wide), 8 * np.finfo(dtype).eps * (1 + np.abs(wide)))


def test_gelus_approximation_is_the_oracles(dtype, isa):
    x = 3 * normal(1, 4, 50, dtype=dtype)
    expected = reference.gelu(x.astype(np.float64), "tanh")
    assert_within(ops.gelu(x, approximate="tanh"), expected, 16 * np.finfo(dtype).eps * (1 + np.abs(x)))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_gradient_is_the_slope(name):
    rest, _ = ACTIVATIONS[name]
    x, g, h = 3 * normal(1, 3, 40, dtype="float64"), normal(2, 3, 40, dtype="float64"), 1e-5
    f = getattr(ops, name)
    slope = (f(x + h, *rest) - f(x - h, *rest)) / (2 * h)
    assert_within(getattr(ops, f"{name}_grad")(g, x, *rest), g * slope, 1e-8 * np.ones(x.shape))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nothing_breaks_far_out(name, dtype, isa):
    rest, oracle = ACTIVATIONS[name]
    x = np.array([-100, -50, -20, 20, 50, 88, 89, 100, 700, 1e4, -1e4], dtype)
    eps = np.finfo(dtype).eps
    y, expected = getattr(ops, name)(x, *rest), oracle(x.astype(np.float64))
    assert_within(y, expected, 8 * eps * np.abs(x))
    slope = getattr(ops, f"{name}_grad")(np.ones_like(x), x, *rest)
    assert np.all(np.isfinite(slope))
    wide = x.astype(np.float64)
    flat = getattr(ops, f"{name}_grad")(np.ones_like(wide), wide, *rest)
    assert_within(slope, flat, 100 * eps * np.ones(x.shape))
    assert np.isnan(getattr(ops, name)(np.array([np.nan], dtype), *rest)).all()


# What is near its limit keeps its relative accuracy: values, not only differences from 0, are right.
RELATIVE = {
    "softplus": ([-80.0, -50.0, -20.0, -5.0, 0.0, 3.0, 80.0], ()),
    "elu": ([-1e-20, -1e-6, -1e-3, -0.1, -1.0, 1e-20], (1.0,)),
    "selu": ([-1e-20, -1e-6, -1e-3, -0.1, -1.0, 1e-20], ()),
    "mish": ([-60.0, -20.0, -3.0, -1e-6, 1e-6, 3.0], ()),
    "silu": ([-60.0, -20.0, -3.0, -1e-6, 1e-6, 3.0], ()),
    "expm1": ([-1e-20, 1e-6, -0.3, -0.4, 0.35, 5.0, -5.0], ()),
    "log1p": ([-1e-20, 1e-6, -0.3, -0.9, 0.35, 5.0, 1e9], ()),
    "erf": ([-1e-20, 1e-6, -0.3, -0.99, 1.01, 2.5, -3.7, 5.5], ()),
}
SLOWLY = {"expm1": np.expm1, "log1p": np.log1p, "erf": reference.erf}


@pytest.mark.parametrize("name", RELATIVE)
def test_small_results_keep_their_relative_accuracy(name, dtype, isa):
    points, rest = RELATIVE[name]
    x = np.array(points, dtype)
    wide = x.astype(np.float64)
    expected = SLOWLY[name](wide) if name in SLOWLY else getattr(reference, name)(wide, *rest)
    assert_within(getattr(ops, name)(x, *rest), expected, 16 * np.finfo(dtype).eps * np.abs(expected))


@pytest.mark.parametrize("weight", [[0.25], [0.1, -0.2, 0.0, 0.5, 1.5]])
@pytest.mark.parametrize("shape", [(4, 5), (3, 5, 4, 2), (2, 5, 3)], ids=str)
def test_prelu_and_its_gradients(weight, shape, dtype, isa):
    x, weight, g = normal(1, *shape, dtype=dtype), np.array(weight, dtype), normal(2, *shape, dtype=dtype)
    slope = weight.reshape((-1,) + (1,) * (len(shape) - 2)).astype(np.float64)
    eps = 16 * np.finfo(dtype).eps
    assert_within(ops.prelu(x, weight), reference.prelu(x.astype(np.float64), slope), eps * np.abs(x))
    dx, dw = ops.prelu_grad(g, x, weight)
    wide = g.astype(np.float64)
    assert_within(dx, wide * np.where(x > 0, 1, slope), eps * np.abs(g))
    through = wide * np.minimum(x, 0)
    axes = tuple(a for a in range(len(shape)) if a != 1) if len(weight) > 1 else tuple(range(len(shape)))
    assert_within(dw, through.sum(axes).reshape(dw.shape), 8 * eps * np.abs(through).sum(axes).reshape(dw.shape))


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"`weight` has 3 numbers; `x`, \(2, 5\), takes 1 or 5"):
        ops.prelu(np.zeros((2, 5), np.float32), np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=r"`approximate` \(='fast'\) must be 'none' or 'tanh'"):
        ops.gelu(np.zeros((2, 5), np.float32), approximate="fast")
    with pytest.raises(ValueError, match=r"`min_val` \(=2\) must not be above `max_val` \(=1\)"):
        ops.hardtanh(np.zeros((2, 5), np.float32), 2.0, 1.0)
    with pytest.raises(ValueError, match=r"`grad_output` has shape \(5, 2\); it must have the result's, \(2, 5\)"):
        ops.mish_grad(np.zeros((5, 2), np.float32), np.zeros((2, 5), np.float32))


@pytest.mark.parity
@pytest.mark.parametrize("name", [*ACTIVATIONS, "gelu tanh"])
def test_pytorch_has_the_same_values_and_gradients(name):
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    rest, keywords = (), {}
    theirs = {"clip": lambda x: torch.clamp(x, -0.5, 1.5), "hardsigmoid": lambda x: f.relu6(x + 3) / 6}.get(name)
    if name == "gelu tanh":
        name, keywords = "gelu", {"approximate": "tanh"}
    else:
        rest = ACTIVATIONS[name][0]
    theirs = theirs or (lambda x: getattr(f, name)(x, *rest, **keywords))
    x = np.concatenate([5 * normal(1, 200, dtype="float64"), [-100, -50, -6, -3, -2, -0.5, 0, 1, 1.5, 3, 6, 50, 100]])
    g = normal(2, *x.shape, dtype="float64")
    tensor = torch.tensor(x, requires_grad=True)
    y = theirs(tensor)
    y.backward(torch.tensor(g))
    ours = getattr(ops, f"{name}_grad")(g, x, *rest, **keywords)
    for mine, other in ((getattr(ops, name)(x, *rest, **keywords), y.detach().numpy()), (ours, tensor.grad.numpy())):
        assert np.abs(mine - other).max() <= 1e-8 * np.abs(other).max()
