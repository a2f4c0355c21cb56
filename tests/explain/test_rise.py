from __future__ import annotations

import importlib

import numpy as np
import pytest

from convlens import explain, nn
from convlens.perturb import grid_masks
from explain.hand import IMAGE, net
from explain.interpreted import InterpretedNetwork
from explain.networks import images, linear, small


def paper(model, x, target, masks, p_keep, baseline=0.0):
    """The sum of Petsiuk et al. for one image, one mask after the other."""
    total = np.zeros(x.shape[1:])
    for mask in masks:
        score = model((x * mask + baseline * (1 - mask))[np.newaxis].astype(model.dtype))[0, target]
        total += score * mask
    return total / (len(masks) * p_keep)


def test_by_hand(monkeypatch):
    # Class 0 scores 10.5 with the first mask, 26.5 with the second, 18.5 in the mean; n_samples times p_keep is 1.
    masks = np.array([[[1, 1, 1], [0, 0, 1]], [[1, 0, 0], [1, 1, 0]]], np.float32)
    module = importlib.import_module("convlens.explain.rise")
    monkeypatch.setattr(module, "grid_masks", lambda *_, samples, **__: masks[list(samples)])
    given = {"n_samples": 2, "grid_size": 2, "p_keep": 0.5}
    assert explain.rise(net(), IMAGE, 0, **given).values[0, 0].tolist() == [[0, -8, -8], [8, 8, -8]]
    assert explain.rise(net(), IMAGE, 0, center=False, **given).values[0, 0].tolist() == [
        [37, 10.5, 10.5],
        [26.5, 26.5, 10.5],
    ]


@pytest.mark.parametrize("baseline", [0.0, 0.7])
def test_against_the_papers_sum_mask_by_mask(baseline):
    model, x = small(dtype="float64"), images(2, dtype="float64")
    given = {"n_samples": 40, "grid_size": (4, 6), "p_keep": 0.3, "seed": 3, "baselines": baseline}
    raw = explain.rise(model, x, [1, 3], center=False, **given)
    why = explain.rise(model, x, [1, 3], **given)
    for image, target in enumerate([1, 3]):
        masks = grid_masks((20, 36), (4, 6), p_keep=0.3, seed=3, image=image, samples=range(40), dtype=np.float64)
        expected = paper(model, x[image], target, masks, 0.3, baseline)
        assert np.abs(raw.values[image, 0] - expected).max() <= 1e-12 * np.abs(expected).max()
        seen = x[image] * masks[:, None] + baseline * (1 - masks[:, None])
        scores = model(seen)[:, target]
        covariance = np.tensordot(scores, masks - masks.mean(axis=0), axes=1) / 40 / 0.3
        assert np.abs(why.values[image, 0] - covariance).max() <= 1e-12 * np.abs(expected).max()


def test_of_a_linear_network_it_is_the_masks_covariance_with_the_products():
    """Its expectation is known, and it is unbiased: the error is what the standard error says."""
    model, weight = linear(dtype="float64")
    x = images(1, dtype="float64")
    n, cells = 3000, (4, 6)
    why = explain.rise(model, x, 2, n_samples=n, grid_size=cells, seed=1)
    products = (weight[2] * x[0]).sum(axis=0)
    # The covariance of two pixels, from masks of another seed and ten times as many.
    many = np.concatenate(
        [grid_masks((20, 36), cells, p_keep=0.5, seed=9, image=0, samples=range(i, i + n)) for i in range(0, 10 * n, n)]
    ).reshape(10 * n, -1)
    expected = ((many @ products.ravel().astype(np.float32)) @ (many - np.float32(0.5)) / (10 * n) / 0.5).reshape(
        20, 36
    )
    share = (why.values[0, 0] - expected) / why.standard_error[0, 0]
    assert np.abs(share).max() < 5
    assert 0.7 < np.sqrt(np.mean(share**2)) < 1.5  # one, and neighbours err together
    assert np.corrcoef(why.values.ravel(), expected.ravel())[0, 1] > 0.9


def test_the_standard_error_is_the_spread_over_seeds():
    model, x = small(), images(1)
    found = [explain.rise(model, x, 1, n_samples=160, seed=seed) for seed in range(40)]
    spread = np.std([why.values for why in found], axis=0, ddof=1)
    said = np.sqrt(np.mean([why.standard_error**2 for why in found], axis=0))
    assert 0.8 < np.median(said / spread) < 1.25
    assert explain.rise(model, x, 1, n_samples=15).standard_error is None


def test_a_number_added_to_all_scores_changes_nothing():
    model, x = small(dtype="float64"), images(1, dtype="float64")
    before = explain.rise(model, x, 1, n_samples=30).values
    model.set_parameters({"linear1.bias": model.parameters["linear1.bias"] + 100})
    assert np.abs(explain.rise(model, x, 1, n_samples=30).values - before).max() <= 1e-11


def test_evidence_outside_the_receptive_field_is_noise():
    # Only pixels of the left half count; the columns that share a cell with one are left out.
    model = nn.Sequential(nn.Flatten(), nn.Linear(out_features=2), input_shape=(1, 20, 36), seed=0)
    weight = np.zeros((2, 20, 36), np.float32)
    weight[1, :, :18] = 0.1
    model.set_parameters({"linear1.weight": weight.reshape(2, -1)})
    why = explain.rise(model, np.ones((1, 1, 20, 36), np.float32), 1, n_samples=2000, grid_size=(5, 12))
    values, error = why.values[0, 0], why.standard_error[0, 0]
    assert np.abs(values / error)[:, 26:].max() < 5
    assert (values / error)[:, :14].min() > 5


def test_one_image_with_several_targets_runs_once():
    runs = []
    model = InterpretedNetwork(small(), lambda: runs.append(1))
    x = images(2)
    why = explain.rise(model, x[[0, 0, 1, 0]], [1, 3, 1, 1], n_samples=20, batch_size=10)
    assert len(runs) == 1 + 2 * 2
    alone = explain.rise(small(), x, [1, 1], n_samples=20)
    other = explain.rise(small(), x[:1], 3, n_samples=20)
    assert np.allclose(why.values[[0, 1]], np.concatenate([alone.values[:1], other.values]), atol=1e-6)
    assert why.values[0].tobytes() == why.values[3].tobytes()
    assert not np.allclose(why.values[0], why.values[2], atol=1e-3)


def test_a_place_of_an_output_of_maps_is_explained():
    layers = [nn.Conv2d(out_channels=2, kernel_size=3, padding=1)]
    model = nn.Sequential(*layers, input_shape=(1, 12, 12), seed=0).astype("float64")
    model.set_parameters({"conv1.weight": np.full((2, 1, 3, 3), 0.5)})
    x = np.ones((1, 1, 12, 12))
    why = explain.rise(model, x, (1, 3, 8), n_samples=800, grid_size=12)
    assert np.unravel_index(why.values[0, 0].argmax(), (12, 12)) == (3, 8)


def test_an_interrupt_keeps_what_was_done():
    count = 0

    def interrupt():
        nonlocal count
        count += 1
        if count == 6:
            raise KeyboardInterrupt

    why = explain.rise(InterpretedNetwork(small(), interrupt), images(2), 1, n_samples=60, batch_size=15)
    assert not why.converged
    assert "interrupted after 60 of 120 samples; NaN where none was done" in why.notes
    assert np.isfinite(why.values[0]).all()
    assert np.isnan(why.values[1]).all()


def test_small_images_have_fewer_cells():
    model = nn.Sequential(nn.Flatten(), nn.Linear(out_features=2), input_shape=(1, 5, 9), seed=0)
    why = explain.rise(model, np.ones((1, 1, 5, 9), np.float32), 0, n_samples=4)
    assert why.arguments["grid_size"] == (5, 7)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"n_samples": 0}, ValueError, r"`n_samples` \(=0\) must be an int of at least 1"),
        ({"p_keep": 0}, ValueError, r"`p_keep` \(=0\) must be a probability between 0 and 1"),
        ({"p_keep": 1.0}, ValueError, r"`p_keep` \(=1.0\)"),
        ({"grid_size": 21}, ValueError, r"`grid_size` \(=21\) must be at most the image, 20 x 36"),
        ({"grid_size": 1}, ValueError, "of 2 cells or more"),
        ({"grid_size": (7, 7, 7)}, ValueError, r"an int or \(cells down, cells across\); all channels share a mask"),
        ({"grid_size": 2.5}, TypeError, r"`grid_size` \(=2.5\)"),
        ({"seed": None}, TypeError, r"`seed` \(=None\) must be an int"),
        ({"baselines": "black"}, ValueError, "needs `recipe`"),
    ],
)
def test_bad_arguments_are_named(options, error, text):
    with pytest.raises(error, match=text):
        explain.rise(small(), images(1), **options)
