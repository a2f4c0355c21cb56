"""Arguments as PyTorch takes them, beside PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import ops

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5), (2, 3, 4, 5), (2, 3, 2, 2, 3, 2)])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_a_softmax_over_any_axis_but_the_batch(name, shape):
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal(shape), rng.standard_normal(shape)
    for axis in (*range(1, len(shape)), *range(1 - len(shape), 0)):
        tx = torch.tensor(x, requires_grad=True)
        ty = getattr(torch, name)(tx, axis)
        ty.backward(torch.tensor(g))
        y = getattr(ops, name)(x, axis)
        np.testing.assert_allclose(y, ty.detach().numpy(), rtol=1e-12)
        theirs = tx.grad.numpy()
        assert np.abs(getattr(ops, f"{name}_grad")(g, y, axis) - theirs).max() <= 1e-12 * np.abs(theirs).max()
    for axis in (0, -len(shape)):
        with pytest.raises(ValueError, match=r"`axis` another one than the batch"):
            getattr(ops, name)(x, axis)


@pytest.mark.parametrize("start_dim", [0, 1, 2, 3, -1, -3])
def test_flatten_counts_from_the_end_too(start_dim):
    x = np.arange(48.0).reshape(2, 3, 4, 2)
    np.testing.assert_array_equal(ops.flatten(x, start_dim), torch.flatten(torch.tensor(x), start_dim).numpy())


def test_batch_statistics_may_be_missing_in_training_alone():
    x = np.random.default_rng(0).standard_normal((5, 3, 4, 4))
    y, mean, var = ops.batch_norm(x, None, None, training=True)
    theirs = torch.nn.functional.batch_norm(torch.tensor(x), None, None, training=True).numpy()
    assert np.abs(y - theirs).max() <= 1e-12 * np.abs(theirs).max()
    np.testing.assert_allclose(mean, 0.1 * x.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(var, 0.9 + 0.1 * x.var((0, 2, 3), ddof=1), rtol=1e-12)
    with pytest.raises(ValueError, match=r"`running_mean` \(=None\) must be given"):
        ops.batch_norm(x, None, None)


def test_a_nearest_gradient_is_the_transpose_where_pytorchs_is_not():
    x, g = np.random.default_rng(0).standard_normal((2, 1, 1, 12))
    y = ops.interpolate(x, scale_factor=1.0336959768251908)
    dx = ops.interpolate_grad(g, (1, 12), scale_factor=1.0336959768251908)
    assert abs((y * g).sum() - (dx * x).sum()) <= 1e-12
