from __future__ import annotations

import numpy as np
import pytest
from bounds import normal

from convlens import ops, reference


def arguments(shape, dtype):
    c = shape[1]
    x = 2 * normal(1, *shape, dtype=dtype) + 1
    vectors = [normal(2, c, dtype=dtype), np.abs(normal(3, c, dtype=dtype)) + 0.5, normal(4, c, dtype=dtype)]
    return x, vectors[0], vectors[1], vectors[2], normal(5, c, dtype=dtype)


@pytest.mark.parametrize("shape", [(4, 3), (5, 18, 3, 4), (2, 33, 1, 1), (1, 2, 5, 5)], ids=str)
def test_inference_is_the_oracles(shape, dtype, isa):
    args = arguments(shape, dtype)
    expected = reference.batch_norm(*(a.astype(np.float64) for a in args))
    limit = 64 * np.finfo(dtype).eps * np.abs(expected).max()
    np.testing.assert_allclose(ops.batch_norm(*args), expected, rtol=0, atol=limit)


@pytest.mark.parametrize("shape", [(4, 3), (5, 18, 3, 4), (1, 2, 5, 5)], ids=str)
def test_training_follows_the_batch(shape, dtype, isa):
    x, mean, var, weight, bias = arguments(shape, dtype)
    axes = (0, 2, 3)[: len(shape) - 1]
    wide = x.astype(np.float64)
    count = wide.size / shape[1]
    expected = reference.batch_norm(wide, wide.mean(axes), wide.var(axes), weight.astype(float), bias.astype(float))
    y, new_mean, new_var = ops.batch_norm(x, mean, var, weight, bias, training=True, momentum=0.25)
    limit = 256 * np.finfo(dtype).eps * np.abs(expected).max()
    np.testing.assert_allclose(y, expected, rtol=0, atol=limit)
    np.testing.assert_allclose(new_mean, 0.75 * mean + 0.25 * wide.mean(axes), rtol=0, atol=limit)
    np.testing.assert_allclose(
        new_var, 0.75 * var + 0.25 * wide.var(axes) * count / (count - 1), rtol=0, atol=4 * limit
    )


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(6, 3), (3, 18, 3, 4)], ids=str)
def test_gradients_are_slopes(shape, training):
    x, mean, var, weight, bias = arguments(shape, "float64")
    dy = normal(6, *shape, dtype="float64")

    def loss(x, weight, bias):
        y = ops.batch_norm(x, mean, var, weight, bias, training=training)
        return np.sum((y[0] if training else y) * dy)

    grads = ops.batch_norm_grad(dy, x, mean, var, weight, training=training)
    h = 1e-6
    for i, value in enumerate((x, weight, bias)):
        u = normal(7, *value.shape, dtype="float64")
        ends = [loss(*(v + s * h * u if i == j else v for j, v in enumerate((x, weight, bias)))) for s in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * h)
        assert abs(slope - np.sum(u * grads[i])) < 1e-7 * max(1, abs(slope))


def test_one_value_a_channel_has_no_variance():
    with pytest.raises(ValueError, match="one value a channel has no variance"):
        ops.batch_norm(np.ones((1, 3), np.float32), np.zeros(3, np.float32), np.ones(3, np.float32), training=True)
