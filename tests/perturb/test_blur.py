from __future__ import annotations

import numpy as np
import pytest

from convlens.perturb import gaussian_blur


def test_a_dot_becomes_a_gaussian():
    image = np.zeros((1, 41, 61))
    image[0, 20, 30] = 1.0
    blurred = gaussian_blur(image, 2.0)[0]
    rows, columns = np.mgrid[:41, :61]
    expected = np.exp(-((rows - 20) ** 2 + (columns - 30) ** 2) / 8)
    # The kernel ends at four standard deviations, where it is exp(-8) of its peak.
    assert np.abs(blurred - expected / expected.sum()).max() <= np.exp(-8) * blurred.max()


@pytest.mark.parametrize("sigma", [0.5, 3.0, 20.0])
def test_edges_reflect_so_nothing_is_lost(sigma):
    image = np.random.default_rng(0).random((2, 3, 5, 7))
    blurred = gaussian_blur(image, sigma)
    assert np.allclose(blurred.sum(axis=(2, 3)), image.sum(axis=(2, 3)))
    assert blurred.std() < image.std()


def test_the_dtype_stays():
    assert gaussian_blur(np.ones((1, 4, 4), np.float32), 1.0).dtype == np.float32


@pytest.mark.parametrize("sigma", [0, -1, np.nan, np.inf])
def test_sigma_is_positive(sigma):
    with pytest.raises(ValueError, match="`sigma`"):
        gaussian_blur(np.ones((1, 4, 4)), sigma)
