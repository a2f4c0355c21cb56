from __future__ import annotations

import numpy as np
import pytest

from convlens import explain
from convlens.perturb import normal
from explain.networks import images, small


def test_it_is_the_mean_of_gradients_at_the_noisy_images():
    model, x = small(dtype="float64"), images(2, dtype="float64")
    why = explain.smooth_grad(model, x, 1, n_samples=3, noise_level=0.2, seed=5)
    total = np.zeros_like(x)
    for sample in range(3):
        samples = range(sample, sample + 1)
        drawn = [normal(x.shape[1:], seed=5, image=i, samples=samples, dtype=x.dtype) for i in range(2)]
        noise = np.concatenate([0.2 * np.ptp(x[i]) * drawn[i] for i in range(2)])
        total += explain.saliency(model, x + noise, 1).values
    assert np.abs(why.values - total / 3).max() <= 1e-12 * np.abs(total).max()


def test_without_noise_it_is_saliency():
    model, x = small(), images(2)
    why = explain.smooth_grad(model, x, n_samples=5, noise_level=0)
    assert np.allclose(why.values, explain.saliency(model, x).values, rtol=1e-6)


def test_the_target_is_that_of_the_clean_image():
    model, x = small(), images(4)
    why = explain.smooth_grad(model, x, n_samples=2, noise_level=3.0)
    assert np.array_equal(why.target, model(x).argmax(axis=1))


def test_more_samples_keep_the_first_ones():
    # The noise of sample s does not depend on how many there are: 4 times the mean of 4 is in 8 times that of 8.
    model, x = small(dtype="float64"), images(1, dtype="float64")
    four = 4 * explain.smooth_grad(model, x, 1, n_samples=4).values
    five = 5 * explain.smooth_grad(model, x, 1, n_samples=5).values
    noise = 0.15 * np.ptp(x) * normal(x.shape[1:], seed=0, image=0, samples=range(4, 5), dtype=x.dtype)
    assert np.allclose(five - four, explain.saliency(model, x + noise, 1).values, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"n_samples": 0}, ValueError, r"`n_samples` \(=0\) must be an int of at least 1"),
        ({"noise_level": -0.1}, ValueError, r"`noise_level` \(=-0.1\) must be 0 or more"),
        ({"seed": None}, TypeError, r"`seed` \(=None\) must be an int"),
        ({"seed": -1}, ValueError, r"`seed` \(=-1\) must be from 0"),
    ],
)
def test_bad_arguments_are_named(options, error, text):
    with pytest.raises(error, match=text):
        explain.smooth_grad(small(), images(1), **options)
