from __future__ import annotations

import numpy as np
import pytest

from convlens.perturb import normal


def test_every_image_and_sample_has_its_own_stream():
    drawn = [normal((3, 8, 8), seed=0, image=i, sample=s).ravel() for i in range(4) for s in range(4)]
    correlation = np.corrcoef(drawn) - np.eye(16)
    assert np.abs(correlation).max() < 0.35  # 192 numbers: 5 standard deviations


def test_it_is_standard_normal():
    drawn = normal((1, 200, 200), seed=3, image=0, sample=0)
    assert abs(drawn.mean()) < 0.025
    assert abs(drawn.std() - 1) < 0.02


def test_a_larger_image_begins_with_the_same_numbers():
    small, large = (normal(shape, seed=1, image=2, sample=3) for shape in ((1, 4, 4), (2, 4, 4)))
    assert np.array_equal(small[0], large[0])


@pytest.mark.parametrize(
    ("seed", "error"), [(None, TypeError), (0.5, TypeError), (-1, ValueError), (2**128, ValueError)]
)
def test_a_seed_is_an_int(seed, error):
    with pytest.raises(error, match="`seed`"):
        normal((1, 2, 2), seed=seed, image=0, sample=0)
