from __future__ import annotations

import numpy as np

from convlens import explain
from explain.hand import IMAGE, net
from explain.networks import images, residual


def test_negative_signals_stop_at_the_relu():
    # The gradient at channel 1 is -1, and is stopped; channel 0 passes its corner.
    assert explain.guided_backprop(net(), IMAGE, 1).values[0, 0].tolist() == [[2, 0, 0], [0, 0, 0]]


def test_it_is_the_gradient_where_that_is_positive():
    # Class 0 reads channel 0 with positive weights only: nothing is stopped.
    assert np.array_equal(explain.guided_backprop(net(), IMAGE, 0).values, explain.saliency(net(), IMAGE, 0).values)


def test_every_use_of_a_shared_relu_follows_the_rule():
    # One ReLU layer, three uses: hooks on modules see it once. Interpreted node by node in test_contract.
    model, x = residual(dtype="float64"), images(1, dtype="float64")
    assert not np.allclose(explain.guided_backprop(model, x, 1).values, explain.saliency(model, x, 1).values)
