from __future__ import annotations

import numpy as np

from convlens import explain
from explain.hand import IMAGE, net
from explain.networks import images, small


def test_by_hand():
    why = explain.activations(net(), IMAGE, layer="relu1")
    assert why.values[0].tolist() == [[[1, 0, 3], [0, 5, 0]], [[0, 2, 0], [0, 0, 6]]]


def test_they_are_those_of_the_network():
    model, x = small(), images(2)
    for layer, values in model.activations(x, ["conv1", "max_pool1", "relu2"]).items():
        why = explain.activations(model, x, layer=layer)
        assert np.array_equal(why.values, values)
        assert why.layer == layer


def test_the_target_changes_the_score_alone():
    model, x = small(), images(2)
    one, other = explain.activations(model, x, 1), explain.activations(model, x, 2)
    assert np.array_equal(one.values, other.values)
    assert not np.array_equal(one.score, other.score)
