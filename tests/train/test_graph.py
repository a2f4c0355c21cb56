"""The training graph: gradients of whole networks, batch statistics."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import nn, reference, train
from convlens.train._graph import training_graph
from train.networks import data, residual


def _plan(net, followed=None):
    buffers = set(net.parameters) - set(net.trainable) if followed is None else followed
    return training_graph(net.graph, net.logits_name, net.trainable, buffers, train.SGD(1.0))


def _step(plan, images, labels, state):
    n = len(images)
    inputs = {
        plan.images: images,
        plan.labels: labels,
        plan.loss_gradient: np.full(n, 1 / n),
        **{tensor: np.array(1.0) for tensor in plan.scalars.values()},
        **{tensor: np.array(n * size / (n * size - 1)) for tensor, size in plan.corrections.items()},
    }
    results = reference.run(plan.graph, {**inputs, **state}, [plan.loss, *plan.updates.values()])
    return results[plan.loss].mean(), {name: results[tensor] for name, tensor in plan.updates.items()}


@pytest.mark.parametrize("norm", [False, True], ids=["plain", "batch-norm"])
def test_gradients_agree_with_central_differences(norm):
    """With SGD at a learning rate of 1 a parameter's update is its negative gradient."""
    net = residual(dtype="float64", norm=norm)
    images, labels = data(5, "float64")
    plan = _plan(net)
    state = {name: array.copy() for name, array in plan.state.items()}
    rng = np.random.default_rng(1)
    for name in state:
        state[name] = state[name] + 0.1 * rng.normal(size=state[name].shape)
    if norm:
        state["norm.running_var"] = np.abs(state["norm.running_var"])
    _, updates = _step(plan, images, labels, state)
    for name in net.trainable:
        gradient = state[name] - updates[name]
        for index in rng.choice(gradient.size, size=min(6, gradient.size), replace=False):
            place = np.unravel_index(index, gradient.shape)
            losses = []
            for sign in (1, -1):
                moved = {**state, name: state[name].copy()}
                moved[name][place] += sign * 1e-6
                losses.append(_step(plan, images, labels, moved)[0])
            assert gradient[place] == pytest.approx((losses[0] - losses[1]) / 2e-6, abs=1e-7), (name, place)


def test_running_statistics_follow_the_batch():
    net = nn.Sequential(
        nn.BatchNorm2d(momentum=0.3, name="norm"), nn.Flatten(), nn.Linear(out_features=3), input_shape=(2, 9, 7)
    ).astype("float64")
    images, labels = data(5, "float64")
    plan = _plan(net)
    _, updates = _step(plan, images, labels, dict(plan.state))
    np.testing.assert_allclose(updates["norm.running_mean"], 0.3 * images.mean((0, 2, 3)), rtol=1e-12)
    unbiased = images.transpose(1, 0, 2, 3).reshape(2, -1).var(axis=1, ddof=1)
    np.testing.assert_allclose(updates["norm.running_var"], 0.7 + 0.3 * unbiased, rtol=1e-12)


def test_batch_norm_whose_statistics_are_frozen_runs_as_in_inference():
    net = residual(dtype="float64")
    images, labels = data(5, "float64")
    plan = _plan(net, followed=set())
    loss, updates = _step(plan, images, labels, dict(plan.state))
    logits = reference.run(net.graph, {"images": images})["head"]
    expected = reference.cross_entropy(logits, labels, reduction="mean")
    assert loss == pytest.approx(float(expected), rel=1e-12)
    assert "norm.running_mean" not in updates
