from __future__ import annotations

import numpy as np

from convlens import explain
from explain.hand import IMAGE, net
from explain.networks import CLASSES, images, small


def test_the_gradient_by_hand_is_zero_at_zero():
    why = explain.saliency(net(), IMAGE, 0)
    assert why.score[0] == 1 + 9 + 25 + 0.5
    assert why.values[0, 0].tolist() == [[1, 0, 3], [0, 5, 0]]
    assert why.total()[0] == 9.0


def test_the_other_class_has_its_own_gradient():
    # Channel 1 is -x where x is negative: d(-1 * -x)/dx = 1.
    assert explain.saliency(net(), IMAGE, 1).values[0, 0].tolist() == [[2, 1, 0], [0, 0, 1]]


def test_it_is_the_derivative():
    model, x = small(dtype="float64"), images(1, dtype="float64")
    gradient = explain.saliency(model, x, 2).values
    step = 1e-6
    rng = np.random.default_rng(0)
    for _ in range(20):
        place = tuple(int(rng.integers(size)) for size in x.shape)
        up, down = x.copy(), x.copy()
        up[place] += step
        down[place] -= step
        slope = (model(up)[0, 2] - model(down)[0, 2]) / (2 * step)
        assert abs(slope - gradient[place]) <= 1e-7 * np.abs(gradient).max()


def test_gradients_of_the_loss_sum_to_zero_over_labels_weighted_by_chance():
    # sum_k p_k d(-log p_k)/dx = -d(sum_k p_k)/dx = 0.
    model, x = small(dtype="float64"), images(1, dtype="float64")
    logits = model(x)[0]
    chances = np.exp(logits) / np.exp(logits).sum()
    maps = [explain.saliency(model, x, label, of="loss").values for label in range(CLASSES)]
    total = sum(chance * each for chance, each in zip(chances, maps, strict=True))
    assert np.abs(total).max() <= 1e-12 * max(np.abs(each).max() for each in maps)


def test_the_loss_is_reported_as_the_score():
    model, x = small(dtype="float64"), images(3, dtype="float64")
    why = explain.saliency(model, x, [0, 1, 2], of="loss")
    logits = model(x)
    expected = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(3), [0, 1, 2]]
    assert np.allclose(why.score, expected, rtol=1e-12)
    assert why.target.tolist() == [0, 1, 2]
