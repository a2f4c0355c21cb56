from __future__ import annotations

import numpy as np
import pytest
from bounds import assert_within, normal, rounding

from convlens import ops, reference


@pytest.mark.parametrize("shape", [(2, 1, 1), (3, 7, 5), (1, 33, 70), (9, 300, 10), (0, 4, 3), (17, 64, 64)], ids=str)
def test_linear_and_its_gradients(shape, dtype, isa):
    n, f, k = shape
    x, w, b = (normal(i, *s, dtype=dtype) for i, s in enumerate([(n, f), (k, f), (k,)]))
    wide = [a.astype(np.float64) for a in (x, w, b)]
    magnitude = np.abs(wide[0]) @ np.abs(wide[1]).T + np.abs(wide[2])
    assert_within(ops.linear(x, w, b), reference.linear(*wide), rounding(dtype, f, magnitude))
    dy = normal(5, n, k, dtype=dtype)
    g = dy.astype(np.float64)
    assert_within(ops.linear_grad_input(dy, w), g @ wide[1], rounding(dtype, k, np.abs(g) @ np.abs(wide[1])))
    assert_within(ops.linear_grad_weight(dy, x), g.T @ wide[0], rounding(dtype, n, np.abs(g).T @ np.abs(wide[0])))
    assert_within(ops.linear_grad_bias(dy), g.sum(0), rounding(dtype, n, np.abs(g).sum(0)))


@pytest.mark.parametrize("shape", [(2, 1), (3, 7), (4, 33), (2, 5, 3, 4), (2, 18, 2, 2), (0, 5)], ids=str)
def test_softmax_and_its_logarithm(shape, dtype, isa):
    x = 5 * normal(1, *shape, dtype=dtype)
    eps = np.finfo(dtype).eps
    for mine, oracle, grad in (
        (ops.softmax, reference.softmax, ops.softmax_grad),
        (ops.log_softmax, reference.log_softmax, ops.log_softmax_grad),
    ):
        y, expected = mine(x), oracle(x.astype(np.float64), 1)
        assert_within(y, expected, 8 * eps * (np.abs(expected) * 4 + np.abs(x).max(initial=0) + 1))
        g, y64 = normal(2, *shape, dtype=dtype).astype(np.float64), y.astype(np.float64)
        if mine is ops.softmax:
            slope = y64 * (g - np.sum(g * y64, 1, keepdims=True))
        else:
            slope = g - np.exp(y64) * np.sum(g, 1, keepdims=True)
        assert_within(
            grad(g.astype(dtype), y), slope, 16 * eps * (np.abs(g).sum(1, keepdims=True) + 1) * np.ones(shape)
        )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_and_its_gradient(reduction, dtype, isa):
    logits, labels = 4 * normal(1, 6, 11, dtype=dtype), np.array([0, 10, 3, 3, 5, 1], np.int32)
    expected = reference.cross_entropy(logits.astype(np.float64), labels, reduction=reduction)
    loss = ops.cross_entropy(logits, labels, reduction=reduction)
    eps = np.finfo(dtype).eps
    assert np.all(np.abs(loss - expected) <= 64 * eps * np.max(np.abs(expected)))
    g = normal(2, 6, dtype=dtype) if reduction == "none" else 0.5
    log_prob = reference.log_softmax(logits.astype(np.float64), 1)
    expected = reference.cross_entropy_grad(log_prob, labels, g, reduction=reduction)
    assert_within(ops.cross_entropy_grad(logits, labels, g, reduction=reduction), expected, 64 * eps * np.ones((6, 11)))


def test_the_loss_slopes_as_its_gradient_says():
    logits, labels = normal(1, 5, 4, dtype="float64"), np.array([0, 1, 2, 3, 0])
    u, h = normal(2, 5, 4, dtype="float64"), 1e-6
    slope = (ops.cross_entropy(logits + h * u, labels) - ops.cross_entropy(logits - h * u, labels)) / (2 * h)
    assert abs(slope - np.sum(u * ops.cross_entropy_grad(logits, labels))) < 1e-8


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, 5], ValueError, "`labels` reaches from 0 to 5; classes are 0 to 2"),
        ([0, -1], ValueError, "`labels` reaches from -1"),
        ([0.0, 1.0], TypeError, "`labels` is float64; it must be integers"),
        ([[1, 0, 0], [0, 1, 0]], ValueError, r"`labels` has shape \(2, 3\); it must be \(2,\)"),
    ],
)
def test_wrong_labels_are_refused(labels, error, message):
    with pytest.raises(error, match=message):
        ops.cross_entropy(np.zeros((2, 3), np.float32), np.array(labels))


def test_what_does_not_fit_names_both_sides():
    with pytest.raises(ValueError, match=r"`x` has 4 columns, `weight` \(2, 5\) takes 5"):
        ops.linear(np.zeros((1, 4), np.float32), np.zeros((2, 5), np.float32))
    with pytest.raises(ValueError, match=r"no batch axis: pass x\[None\]"):
        ops.linear(np.zeros(4, np.float32), np.zeros((2, 4), np.float32))
