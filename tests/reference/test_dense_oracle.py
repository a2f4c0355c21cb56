"""The oracle of dense layers, normalisation, softmax, losses and element-wise operations."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import reference


def normal(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def test_linear_and_its_gradients_by_hand():
    x, weight = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 0.0], [0.0, -1.0], [2.0, 2.0]])
    bias, dy = np.array([10.0, 20.0, 30.0]), np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    np.testing.assert_array_equal(reference.linear(x, weight, bias), [[11, 18, 36], [13, 16, 44]])
    np.testing.assert_array_equal(reference.linear_grad_input(dy, weight), [[1, 0], [2, 1]])
    np.testing.assert_array_equal(reference.linear_grad_weight(dy, x), [[1, 2], [3, 4], [3, 4]])
    np.testing.assert_array_equal(reference.linear_grad_bias(dy), [1, 1, 1])


def test_linear_names_a_wrong_feature_count():
    with pytest.raises(ValueError, match="`weight` expects 2 features, `x` has 3"):
        reference.linear(np.zeros((1, 3)), np.zeros((4, 2)))


def test_batch_norm_by_hand():
    x = np.array([[[[1.0]], [[2.0]]]])
    y = reference.batch_norm(
        x, np.array([0, 4]) * 1.0, np.array([3, 15]) * 1.0, np.array([6.0, 2.0]), np.array([1.0, 0.0]), eps=1
    )
    np.testing.assert_array_equal(y.reshape(-1), [1 / 2 * 6 + 1, -2 / 4 * 2])


def test_softmax_of_large_logits_does_not_overflow():
    y = reference.softmax(np.array([[1e5, 1e5, -1e5]]))
    np.testing.assert_array_equal(y, [[0.5, 0.5, 0.0]])


def test_softmax_of_no_images_is_empty():
    assert reference.softmax(np.zeros((0, 3))).shape == (0, 3)
    assert reference.log_softmax(np.zeros((0, 3, 2)), 1).shape == (0, 3, 2)


def test_log_softmax_keeps_digits_that_the_logarithm_of_softmax_loses():
    y = reference.log_softmax(np.array([[0.0, -800.0]]))
    np.testing.assert_array_equal(y, [[0.0, -800.0]])


def test_cross_entropy_by_hand():
    x, labels = np.log(np.array([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]])), np.array([1, 2])
    losses = np.log(np.array([4.0, 8.0]))
    np.testing.assert_allclose(reference.cross_entropy(x, labels, reduction="none"), losses, rtol=1e-14)
    np.testing.assert_allclose(reference.cross_entropy(x, labels), losses.mean(), rtol=1e-14)
    np.testing.assert_allclose(reference.cross_entropy(x, labels, reduction="sum"), losses.sum(), rtol=1e-14)
    grad = reference.cross_entropy_grad(x, labels, 3.0)
    np.testing.assert_allclose(grad, np.array([[0.5, -0.75, 0.25], [0.125, 0.75, -0.875]]) * 3 / 2, rtol=1e-14)


@pytest.mark.parametrize("labels", [[3, 0], [-1, 0]])
def test_a_label_out_of_range_is_an_error(labels):
    with pytest.raises(ValueError, match=r"`labels` run from .*; they must lie in \[0, 2\]"):
        reference.cross_entropy(np.zeros((2, 3)), np.array(labels))


def test_a_wrong_number_of_labels_is_an_error():
    with pytest.raises(ValueError, match=r"`labels` is int64\(3,\); it must be integers of shape \(2,\)"):
        reference.cross_entropy(np.zeros((2, 3)), np.zeros(3, np.int64))


def test_sigmoid_saturates_without_overflow():
    np.testing.assert_array_equal(reference.sigmoid(np.array([-1e4, 0, 1e4], np.float32)), [0, 0.5, 1])


def test_relu_and_clip_keep_nan():
    x = np.array([np.nan, -1.0, 7.0])
    np.testing.assert_array_equal(reference.relu(x), [np.nan, 0, 7])
    np.testing.assert_array_equal(reference.clip(x, 0, 6), [np.nan, 0, 6])


def test_pad_and_crop_by_hand():
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(reference.pad(x, [(0, 1), (-1, 1)], 9), [[2, 9], [4, 9], [9, 9]])


def test_resize_by_hand():
    x = np.array([[[[0.0, 4.0]]]])
    np.testing.assert_array_equal(reference.resize(x, (1, 4))[0, 0], [[0, 1, 3, 4]])
    np.testing.assert_array_equal(reference.resize(x, (1, 4), mode="nearest")[0, 0], [[0, 0, 4, 4]])
    four = np.arange(4.0).reshape(1, 1, 1, 4)  # shrinking by 2, centres lie half-way: 0.5 and 2.5
    np.testing.assert_array_equal(reference.resize(four, (1, 2), mode="nearest")[0, 0], [[0, 2]])
    upper = reference.resize(four, (1, 2), mode="nearest", nearest="round_prefer_ceil")
    np.testing.assert_array_equal(upper[0, 0], [[1, 3]])


def test_flatten_and_reshape_keep_the_order():
    x = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(reference.flatten(x), x.reshape(2, 12))
    np.testing.assert_array_equal(reference.reshape(x, (2, -1, 2)), x.reshape(2, 6, 2))


@pytest.mark.parity
def test_dense_oracles_agree_with_pytorch():
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    x, labels = normal(4, 5, 3), np.array([[0, 1, 2], [4, 4, 4], [3, 2, 1], [0, 0, 0]])
    t = torch.tensor
    mean, var, scale, bias = normal(5, seed=1), normal(5, seed=2) ** 2, normal(5, seed=3), normal(5, seed=4)
    images = normal(2, 3, 5, 7)
    pairs = [
        (reference.softmax(x, 1), f.softmax(t(x), 1)),
        (reference.log_softmax(x, 1), f.log_softmax(t(x), 1)),
        (reference.sigmoid(x), torch.sigmoid(t(x))),
        (reference.tanh(x), torch.tanh(t(x))),
        (reference.batch_norm(x, mean, var, scale, bias), f.batch_norm(t(x), *map(t, (mean, var, scale, bias)))),
        (reference.resize(images, (11, 4)), f.interpolate(t(images), (11, 4), mode="bilinear")),
        (
            reference.resize(images, (11, 4), mode="nearest", nearest="round_prefer_ceil"),
            f.interpolate(t(images), (11, 4), mode="nearest-exact"),
        ),
    ]
    for reduction in ("mean", "sum", "none"):
        logits = t(x, requires_grad=True)
        loss = f.cross_entropy(logits, t(labels), reduction=reduction)
        dloss = normal(*loss.shape, seed=5)
        loss.backward(t(dloss))
        log_prob = reference.log_softmax(x, 1)
        pairs.append((reference.cross_entropy(x, labels, reduction=reduction), loss.detach()))
        pairs.append((reference.cross_entropy_grad(log_prob, labels, dloss, reduction=reduction), logits.grad))
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-12, atol=1e-13)
