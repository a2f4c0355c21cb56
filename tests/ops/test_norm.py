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


# The function, arguments after x, the shape of weight and bias.
OWN = {
    "layer of features": ("layer_norm", (5, 33), ((33,),), (33,)),
    "layer of images": ("layer_norm", (3, 18, 3, 4), ((18, 3, 4),), (18, 3, 4)),
    "instance": ("instance_norm", (3, 18, 3, 4), (), (18,)),
    "instance of one channel": ("instance_norm", (2, 1, 5, 7), (), (1,)),
    "group": ("group_norm", (3, 18, 3, 4), (3,), (18,)),
    "group of one": ("group_norm", (3, 18, 3, 4), (18,), (18,)),
    "one group": ("group_norm", (2, 6, 1, 1), (1,), (6,)),
    "group of features": ("group_norm", (4, 12), (4,), (12,)),
}


def own(case, dtype):
    name, shape, rest, vector = OWN[case]
    x = 3 * normal(1, *shape, dtype=dtype) + np.dtype(dtype).type(100)
    return name, rest, x, normal(2, *vector, dtype=dtype), normal(3, *vector, dtype=dtype)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("case", OWN)
def test_normalising_by_an_images_own_statistics_is_the_oracles(case, affine, dtype, isa):
    name, rest, x, weight, bias = own(case, dtype)
    vectors = (weight, bias) if affine else ()
    expected = getattr(reference, name)(x.astype(np.float64), *rest, *(v.astype(np.float64) for v in vectors))
    # The mean, 100, is what rounds: two passes lose eps * 100 / deviation, one would lose its square.
    limit = 16 * np.finfo(dtype).eps * 100 * np.abs(expected).max()
    np.testing.assert_allclose(getattr(ops, name)(x, *rest, *vectors), expected, rtol=0, atol=limit)


@pytest.mark.parametrize("case", OWN)
def test_gradients_of_own_statistics_are_slopes(case):
    name, rest, x, weight, bias = own(case, "float64")
    dy, f = normal(6, *x.shape, dtype="float64"), getattr(ops, name)
    grads = getattr(ops, f"{name}_grad")(dy, x, *rest, weight)
    values, h = (x, weight, bias), 1e-5
    for i, value in enumerate(values):
        u = normal(7, *value.shape, dtype="float64")
        moved = [[v + s * h * u if i == j else v for j, v in enumerate(values)] for s in (1, -1)]
        ends = [np.sum(f(v, *rest, w, b) * dy) for v, w, b in moved]
        assert grads[i].shape == value.shape
        assert abs((ends[0] - ends[1]) / (2 * h) - np.sum(u * grads[i])) < 1e-7 * np.sum(np.abs(u * grads[i])) + 1e-8


@pytest.mark.parity
@pytest.mark.parametrize("case", OWN)
def test_pytorch_normalises_alike(case):
    torch = pytest.importorskip("torch")
    name, rest, x, weight, bias = own(case, "float64")
    tensors = [torch.tensor(v, requires_grad=True) for v in (x, weight, bias)]
    f = getattr(torch.nn.functional, name)
    if name == "instance_norm":
        y = f(tensors[0], weight=tensors[1], bias=tensors[2])
    else:
        y = f(tensors[0], *rest, tensors[1], tensors[2])
    dy = normal(6, *x.shape, dtype="float64")
    y.backward(torch.tensor(dy))
    grads = getattr(ops, f"{name}_grad")(dy, x, *rest, weight)
    ours = (getattr(ops, name)(x, *rest, weight, bias), *grads)
    theirs = (y.detach().numpy(), *(t.grad.numpy() for t in tensors))
    for mine, other in zip(ours, theirs, strict=True):
        assert np.abs(mine - other).max() <= 1e-8 * max(np.abs(other).max(), 1e-3)


def test_wrong_sizes_are_named():
    x = np.zeros((2, 6, 3, 3), np.float32)
    with pytest.raises(ValueError, match=r"`channels` \(=6\) must be divisible by `num_groups` \(=4\)"):
        ops.group_norm(x, 4)
    with pytest.raises(ValueError, match=r"`normalized_shape` \(=\(6, 3\)\) must be the last sizes of `x`"):
        ops.layer_norm(x, (6, 3))
    with pytest.raises(ValueError, match=r"`weight` has shape \(3,\); it must be \(6,\)"):
        ops.instance_norm(x, np.zeros(3, np.float32))
