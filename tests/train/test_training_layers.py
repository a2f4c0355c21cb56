"""Dropout in training: its gradient, its bits, resuming; and training through the other new layers."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import nn, ops, reference, train
from convlens.train._graph import training_graph
from train.networks import data


def network(dtype="float32", seed=0):
    x = nn.Input((2, 9, 7))
    y = nn.Dropout(p=0.25, name="drop1")(nn.ReLU()(nn.Conv2d(out_channels=4, kernel_size=3, name="conv")(x)))
    y = nn.PReLU(num_parameters=20, name="act")(nn.Linear(out_features=20, name="hidden")(nn.Flatten()(y)))
    y = nn.Dropout(p=0.5, name="drop2")(nn.LayerNorm(normalized_shape=20, name="norm")(y))
    return nn.Network(inputs=x, outputs=nn.Linear(out_features=3, name="head")(y), seed=seed).astype(dtype)


def fit(net, **changes):
    images, labels = data(dtype=net.dtype)
    return train.fit(net, images, labels, **{"epochs": 3, "batch_size": 8, "progress": False, **changes})


def test_gradients_agree_with_central_differences():
    """With SGD at a learning rate of 1 a parameter's update is its negative gradient."""
    net = network("float64")
    images, labels = data(5, "float64")
    plan = training_graph(net.graph, net.logits_name, net.trainable, (), train.SGD(1.0))
    given = {
        plan.images: images,
        plan.labels: labels,
        plan.loss_gradient: np.full(5, 0.2),
        plan.dropout_key: np.array([3, 4]),
        **{tensor: np.array(1.0) for tensor in plan.scalars.values()},
    }
    rng = np.random.default_rng(1)
    results = reference.run(plan.graph, {**given, **plan.state}, list(plan.updates.values()))
    for name in net.trainable:
        direction = rng.normal(size=plan.state[name].shape)
        ends = [
            reference.run(plan.graph, {**given, **plan.state, name: plan.state[name] + step * direction}, [plan.loss])
            for step in (1e-6, -1e-6)
        ]
        slope = (ends[0][plan.loss].mean() - ends[1][plan.loss].mean()) / 2e-6
        gradient = plan.state[name] - results[plan.updates[name]]
        assert slope == pytest.approx(np.sum(gradient * direction), abs=1e-7), name


def test_each_layer_and_step_draws_its_own_mask():
    net = nn.Sequential(
        nn.Dropout(p=0.5, name="a"), nn.Dropout(p=0.5, name="b"), nn.Flatten(), nn.Linear(out_features=2),
        input_shape=(1, 30, 30),
    )  # fmt: skip
    plan = training_graph(net.graph, net.logits_name, net.trainable, (), train.SGD(1.0))
    given = {plan.images: np.ones((2, 1, 30, 30), np.float32)}
    kept = [
        reference.run(plan.graph, {**given, plan.dropout_key: np.array([seed, step])}, ["a", "b"])
        for seed, step in ((0, 0), (0, 1), (1, 0))
    ]
    shares = [np.mean(drawn["b"] != 0) for drawn in kept]
    np.testing.assert_allclose(shares, 0.25, atol=0.06)
    assert 0.4 < np.mean((kept[0]["a"] == 0) == (kept[1]["a"] == 0)) < 0.6
    assert 0.4 < np.mean((kept[0]["a"] == 0) == (kept[2]["a"] == 0)) < 0.6


def test_threads_change_no_bit_of_what_is_learnt():
    before, results = ops.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            ops.set_num_threads(threads)
            net = network()
            fit(net)
            results.append({name: array.tobytes() for name, array in net.parameters.items()})
    finally:
        ops.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_resuming_gives_the_bits_of_training_without_a_break(tmp_path):
    whole, broken, resumed = network(), network(), network(seed=9)
    fit(whole, epochs=4)
    fit(broken, epochs=2, checkpoint=tmp_path / "c.npz")
    fit(resumed, epochs=4, checkpoint=tmp_path / "c.npz")
    for name, array in whole.parameters.items():
        np.testing.assert_array_equal(resumed.parameters[name], array, err_msg=name)


def test_another_seed_drops_otherwise_and_inference_never():
    images, _ = data()
    one, two = network(), network()
    np.testing.assert_array_equal(one(images), one(images))
    fit(one, seed=1, batch_size=37, epochs=1)
    fit(two, seed=2, batch_size=37, epochs=1)
    assert any(one.parameters[name].tobytes() != two.parameters[name].tobytes() for name in one.parameters)
    # One batch holds all images: without dropout their order would matter to rounding alone.
    assert not np.allclose(one.parameters["hidden.weight"], two.parameters["hidden.weight"], atol=1e-5)


def test_a_network_with_dropout_learns():
    net = network()
    history = fit(net, epochs=30, optimizer=train.Adam(3e-3))
    images, labels = data()
    assert history.loss[-1] < 0.7 * history.loss[0]
    assert np.mean(net(images).argmax(1) == labels) > 0.8


LAYERS = [nn.ELU, nn.GELU, nn.Hardswish, nn.Hardsigmoid, nn.LeakyReLU, nn.Mish, nn.PReLU, nn.SELU, nn.SiLU, nn.Softplus]


@pytest.mark.parity
@pytest.mark.parametrize("layer", LAYERS)
def test_training_through_an_activation_is_pytorchs(layer):
    torch = pytest.importorskip("torch")
    net = nn.Sequential(
        nn.Conv2d(out_channels=4, kernel_size=3, name="0"), layer(name="1"), nn.GroupNorm(num_groups=2, name="2"),
        nn.Flatten(), nn.Linear(out_features=3, name="4"), input_shape=(2, 9, 7),
    ).astype("float64")  # fmt: skip
    twin = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3), getattr(torch.nn, layer.__name__)(), torch.nn.GroupNorm(2, 4), torch.nn.Flatten(),
        torch.nn.Linear(140, 3),
    ).double()  # fmt: skip
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            parameter.copy_(torch.from_numpy(net.parameters[name].copy()))
    images, labels = data(dtype="float64")
    fit(net, epochs=3, batch_size=37, optimizer=train.SGD(0.1))
    optimizer = torch.optim.SGD(twin.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(twin(torch.tensor(images)), torch.tensor(labels)).backward()
        optimizer.step()
    # PyTorch's own backward of Hardsigmoid multiplies by a sixth in float32.
    tolerance = 1e-6 if layer is nn.Hardsigmoid else 1e-8
    for name, parameter in twin.named_parameters():
        other = parameter.detach().numpy()
        assert np.abs(net.parameters[name] - other).max() <= tolerance * max(np.abs(other).max(), 0.1), name
