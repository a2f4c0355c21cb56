from __future__ import annotations

import numpy as np
import pytest

from convlens import explain
from convlens.explain.occlusion import windows
from explain.hand import IMAGE, net
from explain.networks import images, linear, small


def test_by_hand():
    # Covering one pixel of class 0 loses weight times pixel where that is positive.
    why = explain.occlusion(net(), IMAGE, 0, window=1)
    assert why.values[0, 0].tolist() == [[1, 0, 9], [0, 25, 0]]


def test_overlapping_windows_are_averaged():
    # Windows of 1 x 2, stride 1: pixel 1 of row 0 is covered twice, losing 1 + 0 and 0 + 9.
    why = explain.occlusion(net(), IMAGE, 0, window=(1, 2), stride=1)
    assert why.values[0, 0].tolist() == [[1, 5, 9], [25, 25, 25]]


def test_against_a_plain_loop():
    model, x = small(dtype="float64"), images(2, dtype="float64")
    why = explain.occlusion(model, x, [1, 3], window=(6, 5), stride=(4, 5), baselines=0.5)
    lost, count = np.zeros((2, 20, 36)), np.zeros((20, 36))
    clean = model(x)[[0, 1], [1, 3]]
    for top in range(0, 20, 4):
        for left in range(0, 36, 5):
            if top - 4 + 6 >= 20 or left - 5 + 5 >= 36:
                continue  # the window before reached the edge already
            covered = x.copy()
            covered[:, :, top : top + 6, left : left + 5] = 0.5
            lost[:, top : top + 6, left : left + 5] += (clean - model(covered)[[0, 1], [1, 3]])[:, None, None]
            count[top : top + 6, left : left + 5] += 1
    assert (count > 0).all()
    assert np.allclose(why.values[:, 0], lost / count, rtol=1e-10, atol=1e-12)


def test_a_linear_network_loses_the_covered_products():
    model, weight = linear(dtype="float64")
    x = images(1, dtype="float64")
    why = explain.occlusion(model, x, 2, window=(5, 6), stride=(5, 6), baselines=1.0)
    products = (weight[2] * (x[0] - 1.0)).sum(axis=0)
    blocks = products.reshape(4, 5, 6, 6).sum(axis=(1, 3))
    assert np.allclose(why.values[0, 0], np.kron(blocks, np.ones((5, 6))), rtol=1e-9, atol=1e-11)


def test_the_last_window_hangs_over_the_edge():
    assert windows((5, 5), (2, 3), (2, 2))[-1] == (slice(4, 5), slice(2, 5))
    assert len(windows((5, 5), (5, 5), (1, 1))) == 1


def test_defaults_are_recorded():
    arguments = explain.occlusion(small(), images(1)).describe()["arguments"]
    assert arguments["window"] == [3, 3]
    assert arguments["stride"] == [2, 2]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"window": 21}, ValueError, r"`window` \(=\(21, 21\)\) is larger than the image, 20 x 36: give at most"),
        ({"window": 3, "stride": 4}, ValueError, r"must be at most `window`.*pixels would be skipped"),
        ({"window": 0}, ValueError, r"`window` \(=0\) must be an int of at least 1"),
        ({"window": (2, 3, 3)}, ValueError, r"an int or \(height, width\); all channels are covered"),
        ({"window": 3, "stride": 1.5}, TypeError, r"`stride` \(=1.5\)"),
        ({"window": 3, "baselines": "black"}, ValueError, "needs `recipe`"),
    ],
)
def test_bad_arguments_are_named(options, error, text):
    with pytest.raises(error, match=text):
        explain.occlusion(small(), images(1), **options)
