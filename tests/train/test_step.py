"""The Program of a training step against the oracle's run of the same graph."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import nn, reference, train
from convlens.program import State, Weights
from convlens.train._fit import _compile
from convlens.train._graph import training_graph
from train.networks import data, residual


def _dense(dtype):
    """Everything that trains without a convolution."""
    return nn.Sequential(
        nn.BatchNorm2d(name="norm"),
        nn.Sigmoid(),
        nn.MaxPool2d(kernel_size=2),
        nn.AvgPool2d(kernel_size=2, stride=1),
        nn.Flatten(),
        nn.Linear(out_features=8),
        nn.Tanh(),
        nn.Linear(out_features=3),
        input_shape=(2, 9, 7),
        seed=1,
    ).astype(dtype)


@pytest.mark.parametrize("build", [_dense, lambda dtype: residual(dtype=dtype)], ids=["dense", "residual"])
@pytest.mark.parametrize(
    "optimizer", [train.SGD(0.05, momentum=0.9), train.AdamW(1e-2)], ids=lambda o: type(o).__name__
)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 1e-5)])
def test_steps_agree_with_the_oracle(build, optimizer, dtype, tolerance):
    """AdamW divides small gradients by their own size, so its float32 tolerance is one of steps, not of rounding."""
    net = build(dtype)
    plan = training_graph(
        net.graph, net.logits_name, net.trainable, set(net.parameters) - set(net.trainable), optimizer
    )
    program, weights = _compile(plan, dtype), Weights(plan.graph.constants)
    state, expected = State(dict(plan.state)), dict(plan.state)
    for step, n in enumerate((11, 11, 4), 1):
        images, labels = data(n, dtype, seed=step)
        inputs = {
            plan.images: images,
            plan.labels: labels,
            plan.loss_gradient: np.full(n, 1 / n, dtype),
            **{plan.scalars[k]: np.array(v, dtype) for k, v in optimizer.scalars(step, optimizer.lr).items()},
            **{name: np.array(n * size / (n * size - 1), dtype) for name, size in plan.corrections.items()},
        }
        with program.workspace(n) as workspace:
            found = workspace.run("step", inputs, weights, state=state)
        oracle = reference.run(plan.graph, {**inputs, **expected}, [plan.loss, *plan.updates.values()])
        expected = {name: oracle[tensor] for name, tensor in plan.updates.items()}
        np.testing.assert_allclose(found[plan.loss], oracle[plan.loss], rtol=10 * tolerance, atol=tolerance)
    arrays = state.arrays()
    for name, value in expected.items():
        scale = max(1.0, float(np.abs(value).max()))
        np.testing.assert_allclose(arrays[name], value, rtol=0, atol=tolerance * scale, err_msg=name)
