from __future__ import annotations

import sys

import numpy as np
import pytest

from convlens import explain, image, nn
from explain.interpreted import InterpretedNetwork
from explain.networks import images, residual, small


def squares():
    """score = sum of sigmoid(x_i): smooth, and integrals are known."""
    net = nn.Sequential(nn.Sigmoid(), nn.Flatten(), nn.Linear(out_features=1, bias=False), input_shape=(1, 2, 3))
    net.set_parameters({"linear1.weight": np.ones((1, 6))})
    return net.astype("float64")


def test_a_smooth_path_is_integrated_exactly():
    # Every pixel by itself: the integral is sigmoid(x_i) - sigmoid(b_i).
    x = np.array([[[[1.0, -2.0, 0.5], [3.0, 0.0, -1.0]]]])
    start = np.array([[[[0.0, 1.0, 0.5], [-1.0, 2.0, -1.0]]]])
    why = explain.integrated_gradients(squares(), x, baselines=start, n_steps=24)

    def sigmoid(value):
        return 1 / (1 + np.exp(-value))

    assert np.allclose(why.values, sigmoid(x) - sigmoid(start), atol=1e-12)
    assert abs(why.delta[0]) < 1e-12


def test_delta_is_the_sum_minus_the_difference_of_the_scores():
    model, x = residual(dtype="float64"), images(3, dtype="float64")
    start = np.full((2, 1, 1), 0.25)
    why = explain.integrated_gradients(model, x, 2, baselines=start, n_steps=5)
    ends = model(x)[:, 2] - model(np.broadcast_to(start, x.shape).copy())[:, 2]
    assert np.allclose(why.delta, why.total() - ends, rtol=1e-9, atol=1e-12)
    assert np.abs(why.delta).max() > 1e-6  # five steps are few: the error is shown, not hidden
    better = explain.integrated_gradients(model, x, 2, baselines=start, n_steps=500)
    assert np.abs(better.delta).max() < 0.1 * np.abs(why.delta).max()


def test_auto_stops_for_each_image_by_itself_and_keeps_its_promise():
    model, x = residual(dtype="float64"), images(3, dtype="float64")
    x[1] = 0.0  # nothing on this path changes: it converges at once
    why = explain.integrated_gradients(model, x, n_steps="auto", tolerance=0.02)
    assert why.converged
    ends = why.score - model(np.zeros_like(x))[np.arange(3), why.target]
    assert (np.abs(why.delta) <= 0.02 * np.abs(ends) + 1e-15).all()
    alone = explain.integrated_gradients(model, x[:1], n_steps="auto", tolerance=0.02)
    assert np.array_equal(alone.values[0], why.values[0])
    fine = explain.integrated_gradients(model, x, why.target, n_steps=2000)
    change = np.abs(fine.values - why.values).sum(axis=(1, 2, 3))
    assert (change <= 0.05 * np.abs(fine.values).sum(axis=(1, 2, 3)) + 1e-15).all()


def test_auto_says_when_it_gives_up(monkeypatch):
    # By its full name: the package's attribute of this name is the function.
    monkeypatch.setattr(sys.modules["convlens.explain.integrated_gradients"], "MOST_STEPS", 16)
    why = explain.integrated_gradients(residual(), images(2), n_steps="auto", tolerance=1e-9)
    assert not why.converged
    assert "not within tolerance (=1e-09) after 16 steps: images 0, 1" in why.notes


def test_an_interrupted_auto_keeps_the_coarser_map():
    model, x = small(dtype="float64"), images(2, dtype="float64")
    runs = {"count": 0}

    def third_doubling():
        runs["count"] += 1
        if runs["count"] == 2 + 1 + 2:
            raise KeyboardInterrupt

    why = explain.integrated_gradients(InterpretedNetwork(model, third_doubling), x, n_steps="auto")
    assert not why.converged
    assert "interrupted at 8 steps" in why.notes[0] or "interrupted at 16 steps" in why.notes[0]
    assert np.isfinite(why.values).any()


def test_a_baseline_equal_to_the_image_explains_nothing():
    x = images(2)
    why = explain.integrated_gradients(small(), x, 1, baselines=x)
    assert not why.values.any()
    assert not why.delta.any()


def test_named_baselines_come_from_the_recipe():
    recipe = image.Recipe(size=(20, 36), channels="grey", mean=(0.4,), std=(0.2,))
    net = nn.Sequential(nn.Flatten(), nn.Linear(out_features=1), input_shape=(1, 20, 36)).astype("float64")
    x = images(1, dtype="float64", shape=(1, 20, 36))
    for name, number in (("black", -2.0), ("white", 3.0), ("mean", 0.0)):
        named = explain.integrated_gradients(net, x, baselines=name, recipe=recipe, n_steps=2)
        plain = explain.integrated_gradients(net, x, baselines=number, n_steps=2)
        assert np.allclose(named.values, plain.values, atol=1e-12), name
        assert named.describe()["arguments"]["baselines"] == name
    blurred = explain.integrated_gradients(net, x, baselines="blur", n_steps=2)
    assert np.abs(blurred.values).sum() > 0


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"n_steps": 0}, ValueError, r"`n_steps` \(=0\) must be an int of at least 1"),
        ({"n_steps": "many"}, ValueError, 'or "auto"'),
        ({"n_steps": 2.5}, TypeError, r"`n_steps` \(=2.5\)"),
        ({"n_steps": "auto", "tolerance": 0}, ValueError, "`tolerance`"),
        ({"baselines": np.zeros((3, 3))}, ValueError, r"`baselines` has the shape \(3, 3\); it must be a number"),
        ({"baselines": "black"}, ValueError, "needs `recipe`"),
        ({"baselines": "grey"}, ValueError, "'black', 'white', 'mean', 'blur'"),
        ({"baselines": np.nan}, ValueError, "NaN"),
        ({"baselines": [None]}, TypeError, "must be a number, an array"),
    ],
)
def test_bad_arguments_are_named(options, error, text):
    with pytest.raises(error, match=text):
        explain.integrated_gradients(small(), images(1), **options)
