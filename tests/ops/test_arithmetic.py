"""Arithmetic with broadcasting, on every instruction set, in both precisions."""

from __future__ import annotations

import numpy as np
import pytest
from bounds import assert_within, normal

from convlens import ops, reference

PAIRS = [
    ((3, 4), (3, 4)),
    ((2, 18, 5, 4), (18, 1, 1)),
    ((2, 18, 5, 4), (2, 18, 1, 1)),
    ((2, 1, 5, 4), (2, 18, 5, 4)),
    ((2, 18, 5, 4), ()),
    ((5,), (1,)),
    ((), (4, 3)),
    ((), ()),
    ((1, 7), (6, 7)),
]
BINARY = {
    "add": (reference.add, lambda a, b: (1, 1)),
    "sub": (reference.sub, lambda a, b: (1, -1)),
    "mul": (reference.mul, lambda a, b: (b, a)),
    "div": (reference.div, lambda a, b: (1 / b, -a / b**2)),
    "maximum": (reference.maximum, lambda a, b: (a > b, b > a)),
    "minimum": (reference.minimum, lambda a, b: (a < b, b < a)),
    "pow": (reference.pow, lambda a, b: (b * a ** (b - 1), a**b * np.log(a))),
}


def operands(shapes, dtype):
    return [np.asarray(np.abs(normal(i, *shape, dtype=dtype)) + dtype_of(dtype, 0.5)) for i, shape in enumerate(shapes)]


def dtype_of(dtype, value):
    return np.dtype(dtype).type(value)


def summed(gradient, shape):
    extra = gradient.ndim - len(shape)
    axes = tuple(i for i in range(gradient.ndim) if i < extra or (shape[i - extra] == 1 and gradient.shape[i] != 1))
    return gradient.sum(axes, keepdims=True).reshape(shape)


@pytest.mark.parametrize("shapes", PAIRS, ids=str)
@pytest.mark.parametrize("name", BINARY)
def test_binary_functions_and_their_gradients(name, shapes, dtype, isa):
    function, slopes = BINARY[name]
    a, b = operands(shapes, dtype)
    wide = [x.astype(np.float64) for x in (a, b)]
    eps, y = np.finfo(dtype).eps, function(*wide)
    assert_within(getattr(ops, name)(a, b), y, 16 * eps * (1 + np.abs(y)) * (1 + np.abs(np.log(wide[0]))))
    g = np.asarray(normal(5, *y.shape, dtype=dtype))
    for mine, operand, slope in zip(getattr(ops, f"{name}_grad")(g, a, b), (a, b), slopes(*wide), strict=True):
        expected = np.broadcast_to(g * slope, y.shape)
        assert_within(mine, summed(expected, operand.shape), 64 * eps * (1 + summed(np.abs(expected), operand.shape)))


UNARY = {
    "abs": (reference.abs, np.sign),
    "exp": (reference.exp, np.exp),
    "log": (reference.log, lambda x: 1 / x),
    "reciprocal": (reference.reciprocal, lambda x: -1 / x**2),
    "sqrt": (reference.sqrt, lambda x: 0.5 / np.sqrt(x)),
    "expm1": (reference.expm1, np.exp),
    "log1p": (reference.log1p, lambda x: 1 / (1 + x)),
}


@pytest.mark.parametrize("shape", [(), (5,), (3, 7), (2, 18, 3, 4), (0, 3)], ids=str)
@pytest.mark.parametrize("name", UNARY)
def test_unary_functions_and_their_gradients(name, shape, dtype, isa):
    function, slope = UNARY[name]
    (x,) = operands([shape], dtype)
    wide, eps = x.astype(np.float64), 16 * np.finfo(dtype).eps
    assert_within(getattr(ops, name)(x), function(wide), eps * (1 + np.abs(function(wide))))
    g = np.asarray(normal(3, *shape, dtype=dtype))
    expected = g * slope(wide)
    assert_within(getattr(ops, f"{name}_grad")(g, x), expected, eps * (1 + np.abs(expected)))


def test_signs(dtype, isa):
    x = np.array([-2.0, 0.0, 3.0], dtype)
    np.testing.assert_array_equal(ops.neg(x), reference.neg(x))
    np.testing.assert_array_equal(ops.sign(x), reference.sign(x))


@pytest.mark.parametrize("name", ["greater", "greater_equal", "less", "less_equal", "equal"])
def test_comparisons_give_bool(name, dtype, isa):
    a, b = np.round(normal(1, 2, 5, 4, 3, dtype=dtype)), np.round(normal(2, 5, 1, 1, dtype=dtype))
    y = getattr(ops, name)(a, b)
    assert y.dtype == bool
    np.testing.assert_array_equal(y, getattr(reference, name)(a, b))
    np.testing.assert_array_equal(getattr(ops, name)(a, 1.0), getattr(reference, name)(a, 1.0))
    assert getattr(ops, name)(a[:0], b).shape == (0, 5, 4, 3)


def test_where_chooses_and_carries_gradients(dtype, isa):
    a, b = normal(1, 2, 5, 4, 3, dtype=dtype), normal(2, 5, 1, 1, dtype=dtype)
    condition = normal(3, 2, 5, 4, 3) > 0
    np.testing.assert_array_equal(ops.where(condition, a, b), reference.where(condition, a, b))
    g = normal(4, 2, 5, 4, 3, dtype=dtype)
    da, db = ops.where_grad(g, condition, a, b)
    np.testing.assert_array_equal(da, np.where(condition, g, 0))
    expected = np.where(condition, 0, g).astype(np.float64).sum((0, 2, 3)).reshape(5, 1, 1)
    assert_within(db, expected, 64 * np.finfo(dtype).eps * np.ones(db.shape))


@pytest.mark.parametrize("exponent", [-3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 2.5])
def test_powers_of_numbers(exponent, dtype, isa):
    x = np.array([0.3, 1.0, 2.0, 7.5, 0.0, -1.5, -2.0, np.inf], dtype)
    with np.errstate(all="ignore"):
        expected = np.power(x.astype(np.float64), exponent)
    y = ops.pow(x, exponent)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    finite = np.isfinite(expected)
    bound = 8 * np.finfo(dtype).eps * (1 + abs(exponent)) * np.abs(expected[finite])
    assert_within(y[finite], expected[finite], bound)
    np.testing.assert_array_equal(y[~finite], expected[~finite])


def test_large_powers_err_by_the_logarithms_rounding(dtype, isa):
    a, b = np.linspace(0.02, 30, 500).astype(dtype), np.linspace(-20, 20, 500).astype(dtype)
    assert ops.pow(dtype_of(dtype, 1e-2), dtype_of(dtype, -300)) == np.inf
    expected = a.astype(np.float64) ** b.astype(np.float64)
    size = np.abs(b.astype(np.float64) * np.log(a.astype(np.float64)))
    assert_within(ops.pow(a, b), expected, (2 * size + 4) * np.finfo(dtype).eps * expected)


def test_numbers_take_the_arrays_dtype():
    x = normal(1, 3, 4)
    assert ops.mul(x, 2).dtype == np.float32
    np.testing.assert_array_equal(ops.mul(x, 2), 2 * x)
    assert ops.sub(1, 2.5) == -1.5


def test_what_does_not_broadcast_names_both():
    with pytest.raises(ValueError, match=r"`a` \(3,\) and `b` \(2,\) do not broadcast: sizes, counted from the last"):
        ops.mul(np.zeros(3, np.float32), np.zeros(2, np.float32))
    with pytest.raises(TypeError, match="`b` is int64; kernels compute in float32 or float64"):
        ops.mul(np.zeros(3, np.float32), np.zeros(3, np.int64))
    with pytest.raises(TypeError, match="`b` is float64 and `a` float32; convert"):
        ops.mul(np.zeros(3, np.float32), np.zeros(3))


@pytest.mark.parametrize(("base", "exponent"), [(0.0, 0.0), (0.0, 2.0), (-2.0, 3.0), (-2.0, 0.0), (3.0, 1.0)])
@pytest.mark.parity
def test_gradients_of_powers_are_pytorchs(base, exponent):
    torch = pytest.importorskip("torch")
    a, b = (torch.tensor([value], dtype=torch.float64, requires_grad=True) for value in (base, exponent))
    (a**b).backward()
    da, db = ops.pow_grad(np.ones(1), np.array([base]), np.array([exponent]))
    np.testing.assert_allclose(da, a.grad.numpy(), rtol=1e-14)
    if base >= 0:
        np.testing.assert_allclose(db, b.grad.numpy(), rtol=1e-14)
    np.testing.assert_allclose(ops.pow_grad(np.ones(1), np.array([base]), exponent)[0], da, rtol=1e-14)
