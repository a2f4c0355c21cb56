from __future__ import annotations

import numpy as np
import pytest
from bounds import normal

from convlens import ops, reference

GRIDS = [(0.25, 0, 0, 15), (0.125, 7, 0, 31), (0.5, -3, -8, 7), (0.03125, 128, 0, 255)]
SHAPES = [(5,), (3, 7), (2, 18, 3, 4), (2, 3, 4, 5, 6)]


def test_rounding_is_to_even(dtype, isa):
    x = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.7, -0.2, 1e9, np.inf, np.nan], dtype)
    np.testing.assert_array_equal(ops.round(x), np.rint(x))
    np.testing.assert_array_equal(reference.round(x), np.rint(x))
    assert ops.round(x[:0]).shape == (0,)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_values_of_a_grid_and_the_gradient_through_it(grid, shape, dtype, isa):
    scale, zero, low, high = grid
    x, g = 2 * normal(1, *shape, dtype=dtype), normal(2, *shape, dtype=dtype)
    y = ops.fake_quantize_per_tensor_affine(x, *grid)
    np.testing.assert_array_equal(y, reference.fake_quantize_per_tensor_affine(x, *grid))
    steps = np.rint(x / scale) + zero
    want = np.where((steps >= low) & (steps <= high), g, 0)
    np.testing.assert_array_equal(ops.fake_quantize_per_tensor_affine_grad(g, x, *grid), want)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1])
def test_each_slice_has_its_own_grid(axis, dtype, isa):
    x, g = 2 * normal(1, 2, 18, 3, 4, dtype=dtype), normal(2, 2, 18, 3, 4, dtype=dtype)
    rng = np.random.default_rng(0)
    scale = 2.0 ** rng.integers(-5, 1, x.shape[axis])
    zero = rng.integers(0, 16, x.shape[axis])
    y = ops.fake_quantize_per_channel_affine(x, scale, zero, axis, 0, 15)
    np.testing.assert_array_equal(y, reference.fake_quantize_per_channel_affine(x, scale, zero, axis, 0, 15))
    back = ops.fake_quantize_per_channel_affine_grad(g, x, scale, zero, axis, 0, 15)
    for i in range(x.shape[axis]):
        one = ops.fake_quantize_per_tensor_affine_grad(
            np.take(g, i, axis), np.take(x, i, axis), float(scale[i]), int(zero[i]), 0, 15
        )
        np.testing.assert_array_equal(np.take(back, i, axis), one)


@pytest.mark.parity
def test_grids_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    x, g = normal(1, 2, 5, 4, 3, dtype="float64"), normal(2, 2, 5, 4, 3, dtype="float64")
    for grid in GRIDS:
        given = torch.tensor(x, requires_grad=True)
        y = torch.fake_quantize_per_tensor_affine(given, *grid)
        y.backward(torch.tensor(g))
        np.testing.assert_allclose(ops.fake_quantize_per_tensor_affine(x, *grid), y.detach().numpy(), atol=1e-8)
        back = ops.fake_quantize_per_tensor_affine_grad(g, x, *grid)
        np.testing.assert_allclose(back, given.grad.numpy(), atol=1e-8)
    scale, zero = np.array([0.25, 0.5, 0.125, 1, 0.0625], np.float32), np.array([0, 3, 7, 15, 8], np.int32)
    given = torch.tensor(x, requires_grad=True)
    y = torch.fake_quantize_per_channel_affine(given, torch.tensor(scale), torch.tensor(zero), 1, 0, 15)
    y.backward(torch.tensor(g))
    np.testing.assert_allclose(
        ops.fake_quantize_per_channel_affine(x, scale, zero, 1, 0, 15), y.detach().numpy(), atol=1e-8
    )
    back = ops.fake_quantize_per_channel_affine_grad(g, x, scale, zero, 1, 0, 15)
    np.testing.assert_allclose(back, given.grad.numpy(), atol=1e-8)


def test_wrong_grids_are_named():
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"`scale` \(=0\) must be positive"):
        ops.fake_quantize_per_tensor_affine(x, 0, 0, 0, 255)
    with pytest.raises(ValueError, match=r"`zero_point` \(=-1\) must lie in \[0, 255\]"):
        ops.fake_quantize_per_tensor_affine(x, 1.0, -1, 0, 255)
    with pytest.raises(ValueError, match=r"`quant_min` \(=7\) must be less than `quant_max` \(=7\)"):
        ops.fake_quantize_per_tensor_affine(x, 1.0, 7, 7, 7)
    with pytest.raises(TypeError, match=r"`scale` \(=\(1.0, 2.0\)\) must be one number"):
        ops.fake_quantize_per_tensor_affine(x, [1.0, 2.0], 7, 0, 7)
    with pytest.raises(ValueError, match="`scale` must have 3 numbers, one for each slice along `axis`"):
        ops.fake_quantize_per_channel_affine(x, [1.0, 2.0], [0, 0, 0], 1, 0, 7)
    with pytest.raises(ValueError, match=r"`axis` \(=2\) must lie in \[-2, 1\]"):
        ops.fake_quantize_per_channel_affine(x, [1.0] * 3, [0] * 3, 2, 0, 7)
