from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from convlens import ops
from convlens.perturb import normal


def test_every_image_and_sample_has_its_own_stream():
    drawn = np.concatenate([normal((3, 8, 8), seed=0, image=i, samples=range(4)) for i in range(4)])
    correlation = np.corrcoef(drawn.reshape(16, -1)) - np.eye(16)
    assert np.abs(correlation).max() < 0.35  # 192 numbers: 5 standard deviations


def test_it_is_standard_normal():
    drawn = np.sort(normal((1, 200, 200), seed=3, image=0, samples=range(5)).ravel()).astype(np.float64)
    assert abs(drawn.mean()) < 5 / np.sqrt(drawn.size)
    assert abs(drawn.std() - 1) < 5 / np.sqrt(2 * drawn.size)
    places = (np.arange(99) + 1) / 100
    exact = np.array([NormalDist().inv_cdf(p) for p in places])
    assert np.abs(np.quantile(drawn, places) - exact).max() < 0.02


def test_a_number_is_the_quantile_of_its_bits():
    drawn = normal((2, 15, 17), seed=3, image=1, samples=range(2, 3), dtype=np.float64).ravel()
    bits = np.random.Philox(counter=[0, 0, 2, 1], key=3).random_raw(255).view(np.int32)
    exact = [-np.sign(b + 0.5) * NormalDist().inv_cdf(abs(int(b) + 0.5) / 2**32) for b in bits]
    assert np.abs(drawn - exact).max() < 5e-4


def test_a_sample_is_the_same_in_any_range_and_for_any_number_of_threads():
    whole, before = normal((3, 60, 70), seed=1, image=2, samples=range(5)), ops.get_num_threads()
    try:
        ops.set_num_threads(1)
        parts = [normal((3, 60, 70), seed=1, image=2, samples=part) for part in (range(1), range(1, 4), range(4, 5))]
    finally:
        ops.set_num_threads(before)
    assert np.array_equal(np.concatenate(parts), whole)


def test_a_larger_image_begins_with_the_same_numbers():
    small, large = (normal(shape, seed=1, image=2, samples=range(3, 4))[0] for shape in ((1, 3, 5), (2, 3, 5)))
    assert np.array_equal(small[0], large[0])


@pytest.mark.parametrize(
    ("seed", "error"), [(None, TypeError), (0.5, TypeError), (-1, ValueError), (2**128, ValueError)]
)
def test_a_seed_is_an_int(seed, error):
    with pytest.raises(error, match="`seed`"):
        normal((1, 2, 2), seed=seed, image=0, samples=range(1))
