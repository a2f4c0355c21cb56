"""Optimizers: several steps against plain NumPy, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import reference, train
from convlens.graph import GraphBuilder


def _sgd(p, gradients, *, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    velocity = np.zeros_like(p)
    for g in gradients:
        g = g + weight_decay * p
        velocity = momentum * velocity + g
        p = p - lr * (g + momentum * velocity if nesterov else velocity)
    return p


def _adam(p, gradients, *, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    mean, square = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(gradients, 1):
        if decoupled:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        mean = betas[0] * mean + (1 - betas[0]) * g
        square = betas[1] * square + (1 - betas[1]) * g**2
        unbiased, unbiased_square = mean / (1 - betas[0] ** t), square / (1 - betas[1] ** t)
        p = p - lr * unbiased / (np.sqrt(unbiased_square) + eps)
    return p


CASES = {
    "sgd": (train.SGD(0.1), lambda p, g: _sgd(p, g, lr=0.1)),
    "sgd-decay": (train.SGD(0.1, weight_decay=0.3), lambda p, g: _sgd(p, g, lr=0.1, weight_decay=0.3)),
    "momentum": (
        train.SGD(0.1, momentum=0.8, weight_decay=0.2),
        lambda p, g: _sgd(p, g, lr=0.1, momentum=0.8, weight_decay=0.2),
    ),
    "nesterov": (
        train.SGD(0.1, momentum=0.8, nesterov=True, weight_decay=0.2),
        lambda p, g: _sgd(p, g, lr=0.1, momentum=0.8, nesterov=True, weight_decay=0.2),
    ),
    "adam": (train.Adam(0.1), lambda p, g: _adam(p, g, lr=0.1)),
    "adam-decay": (
        train.Adam(0.1, betas=(0.7, 0.95), eps=1e-3, weight_decay=0.2),
        lambda p, g: _adam(p, g, lr=0.1, betas=(0.7, 0.95), eps=1e-3, weight_decay=0.2),
    ),
    "adamw": (
        train.AdamW(0.1, weight_decay=0.2),
        lambda p, g: _adam(p, g, lr=0.1, weight_decay=0.2, decoupled=True),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_several_steps_agree_with_plain_numpy(case):
    optimizer, plain = CASES[case]
    rng = np.random.default_rng(0)
    start = rng.normal(size=(3, 4))
    gradients = rng.normal(size=(6, 3, 4))

    builder = GraphBuilder()
    for name in ("p", "g", *optimizer.slots):
        builder.input(name, "float64", (3, 4))
    scalars = {name: builder.input(f"scalar/{name}", "float64", ()) for name in optimizer.scalars(1, 1.0)}
    new, news = optimizer.update(builder, "p", "g", {slot: slot for slot in optimizer.slots}, scalars)
    graph = builder.build([new, *news.values()])

    state = {"p": start, **{slot: np.zeros((3, 4)) for slot in optimizer.slots}}
    for step, gradient in enumerate(gradients, 1):
        numbers = {scalars[name]: np.array(value) for name, value in optimizer.scalars(step, optimizer.lr).items()}
        results = reference.run(graph, {**state, "g": gradient, **numbers})
        state = {"p": results[new], **{slot: results[tensor] for slot, tensor in news.items()}}
    np.testing.assert_allclose(state["p"], plain(start, gradients), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda: train.SGD(-1), r"`lr` \(=-1\) must be a finite number of at least 0"),
        (lambda: train.SGD(float("nan")), "`lr`"),
        (lambda: train.SGD(0.1, nesterov=True), "`nesterov` needs a `momentum`"),
        (lambda: train.Adam(betas=(0.9, 1.0)), "`betas`"),
        (lambda: train.AdamW(weight_decay=-1), "`weight_decay`"),
    ],
)
def test_wrong_value_is_named(wrong, text):
    with pytest.raises(ValueError, match=text):
        wrong()
