from __future__ import annotations

import numpy as np
import pytest
from bounds import assert_within, normal

from convlens import ops, reference

SHAPES = [(), (5,), (3, 7), (2, 18, 3, 4), (2, 3, 4, 5, 2), (0, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh"])
def test_functions_and_their_slopes(name, shape, dtype, isa):
    x = 3 * normal(1, *shape, dtype=dtype).reshape(shape)
    wide = x.astype(np.float64)
    y = getattr(ops, name)(x)
    eps = 8 * np.finfo(dtype).eps
    assert_within(y, getattr(reference, name)(wide), eps * np.ones(shape))
    g = normal(2, *shape, dtype="float64").reshape(shape)
    y64 = y.astype(np.float64)
    slope = {"relu": 1.0 * (y64 > 0), "sigmoid": y64 * (1 - y64), "tanh": 1 - y64 * y64}[name]
    assert_within(getattr(ops, f"{name}_grad")(g.astype(dtype), y), g * slope, eps * (np.abs(g) + 1e-3))


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh"])
def test_nan_and_infinity(name):
    x = np.array([np.nan, np.inf, -np.inf], np.float32)
    np.testing.assert_array_equal(
        getattr(ops, name)(x), {"relu": [np.nan, np.inf, 0], "sigmoid": [np.nan, 1, 0]}.get(name, [np.nan, 1, -1])
    )


def test_add_pad_flatten_and_reshape(dtype, isa):
    a, b = normal(1, 2, 18, 3, 4, dtype=dtype), normal(2, 2, 18, 3, 4, dtype=dtype)
    np.testing.assert_array_equal(ops.add(a, b), a + b)
    widths = [(0, 0), (0, 0), (1, 2), (0, 3)]
    np.testing.assert_array_equal(ops.pad(a, ((1, 2), (0, 3)), 0.5), np.pad(a, widths, constant_values=0.5))
    assert ops.flatten(a).shape == (2, 216)
    assert np.shares_memory(ops.flatten(a), a)
    assert ops.reshape(a, (2, -1, 12)).shape == (2, 18, 12)


def test_shapes_must_be_equal():
    with pytest.raises(ValueError, match=r"`output` has shape \(2,\) and `grad_output` \(3,\); they must be equal"):
        ops.relu_grad(np.zeros(3, np.float32), np.zeros(2, np.float32))
