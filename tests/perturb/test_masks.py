from __future__ import annotations

import numpy as np
import pytest

from convlens.perturb import grid_masks


def slow(size, grid_size, *, p_keep, seed, image, sample):
    """One mask as the paper has it: a grid upsampled whole, then cut. NumPy's own interpolation, axis by axis."""
    numbers = int(np.prod(grid_size)) + len(size)
    blocks = (numbers + 3) // 4
    philox = np.random.Philox(counter=[0, 1, 0, image], key=seed)
    philox.advance(sample * blocks)
    drawn = np.random.Generator(philox).random(numbers)
    mask = (drawn[: -len(size)] < p_keep).astype(float).reshape(grid_size)
    for axis, (pixels, cells, u) in enumerate(zip(size, grid_size, drawn[-len(size) :], strict=True)):
        cell = int(np.ceil(pixels / cells))
        centres = (np.arange(cells) + 0.5) * (cells + 1) * cell / cells
        at = np.arange((cells + 1) * cell) + 0.5
        mask = np.apply_along_axis(lambda line, at=at, c=centres: np.interp(at, c, line), axis, mask)
        mask = np.take(mask, int(u * cell) + np.arange(pixels), axis=axis)
    return mask


@pytest.mark.parametrize(
    ("size", "grid_size"),
    [((20, 36), (7, 7)), ((9, 8), (4, 8)), ((5, 6), (1, 2)), ((40,), (7,)), ((7, 7), (7, 1)), ((1, 12), (1, 3))],
)
def test_against_a_plain_upsampling_of_each(size, grid_size):
    masks = grid_masks(size, grid_size, p_keep=0.4, seed=5, image=2, samples=range(3, 9), dtype=np.float64)
    assert masks.shape == (6, *size)
    for mask, sample in zip(masks, range(3, 9), strict=True):
        expected = slow(size, grid_size, p_keep=0.4, seed=5, image=2, sample=sample)
        assert np.abs(mask - expected).max() <= 1e-14


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_mask_does_not_depend_on_those_drawn_with_it(dtype):
    given = {"p_keep": 0.5, "seed": 1, "image": 4, "dtype": dtype}
    whole = grid_masks((20, 36), (7, 5), samples=range(12), **given)
    parts = [grid_masks((20, 36), (7, 5), samples=range(a, b), **given) for a, b in ((0, 1), (1, 8), (8, 12))]
    assert whole.dtype == dtype
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    assert grid_masks((20, 36), (7, 5), samples=range(0), **given).shape == (0, 20, 36)


def test_every_pixel_is_kept_as_often():
    masks = grid_masks((24, 30), (4, 5), p_keep=0.3, seed=0, image=0, samples=range(4000))
    assert (masks.min(), masks.max()) == (0, 1)
    # A mask's variance is at most p (1 - p): five standard deviations of the mean of 4000.
    assert np.abs(masks.mean(axis=0) - 0.3).max() < 5 * np.sqrt(0.3 * 0.7 / 4000)


def test_images_and_seeds_have_masks_of_their_own():
    given = {"p_keep": 0.5, "samples": range(4)}
    drawn = [grid_masks((16, 16), (8, 8), seed=s, image=i, **given).ravel() for s in (0, 1) for i in (0, 1)]
    assert np.abs(np.corrcoef(drawn) - np.eye(4)).max() < 0.3


def test_a_seed_is_an_int():
    with pytest.raises(TypeError, match="`seed`"):
        grid_masks((4, 4), (2, 2), p_keep=0.5, seed=None, image=0, samples=range(1))
