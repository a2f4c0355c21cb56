from __future__ import annotations

import numpy as np

from convlens import explain
from explain.hand import IMAGE, net
from explain.networks import images, small


def test_by_hand():
    assert explain.input_x_gradient(net(), IMAGE, 0).values[0, 0].tolist() == [[1, 0, 9], [0, 25, 0]]


def test_without_biases_it_sums_to_the_score_and_equals_integrated_gradients():
    model, x = small(dtype="float64"), images(2, dtype="float64")
    model.set_parameters({name: np.zeros_like(a) for name, a in model.parameters.items() if name.endswith("bias")})
    why = explain.input_x_gradient(model, x, 1)
    assert np.allclose(why.total(), why.score, rtol=1e-12)
    path = explain.integrated_gradients(model, x, 1, n_steps=3)
    assert np.abs(path.values - why.values).max() <= 1e-12 * np.abs(why.values).max()


def test_it_is_saliency_times_the_image():
    model, x = small(), images(2)
    assert np.array_equal(explain.input_x_gradient(model, x, 3).values, x * explain.saliency(model, x, 3).values)
