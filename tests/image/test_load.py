from __future__ import annotations

import numpy as np
import pytest

from convlens import image


def test_an_array_of_the_right_size_needs_no_pillow(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    pixels = np.arange(28 * 28, dtype=np.uint32).reshape(28, 28).astype(np.uint8)
    images, picture, recipe = image.load(pixels, "digits")
    assert images.shape == (1, 1, 28, 28)
    assert images.dtype == np.float32
    assert np.array_equal(picture, pixels)
    assert np.allclose(images[0, 0], pixels / 255)
    assert recipe is image.RECIPES["digits"]
    with pytest.raises(ImportError, match=r'pip install "convlens\[image\]"'):
        image.load(pixels[:5], "digits")


def test_normalisation_is_that_of_the_recipe():
    recipe = image.Recipe(size=(2, 3), mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 3)).astype(np.uint8)
    images, _, _ = image.load(pixels, recipe)
    for channel in range(3):
        expected = (pixels[..., channel] / 255 - recipe.mean[channel]) / recipe.std[channel]
        assert np.allclose(images[0, channel], expected, atol=1e-6)


def test_bgr_turns_the_channels():
    recipe = image.Recipe(size=(1, 1), channels="BGR", scale=1.0)
    images, _, _ = image.load(np.array([[[1, 2, 3]]], np.uint8), recipe)
    assert images.ravel().tolist() == [3, 2, 1]


@pytest.mark.parametrize("size", [(300, 500), (500, 300), (256, 256), (90, 40)])
def test_the_shorter_side_is_resized_and_the_centre_cropped(size):
    pytest.importorskip("PIL")
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[size[0] // 2 - 4 : size[0] // 2 + 4, size[1] // 2 - 4 : size[1] // 2 + 4] = 255
    images, picture, _ = image.load(pixels, "unit")
    assert images.shape == (1, 3, 224, 224)
    rows, columns = np.nonzero(picture[..., 0] > 128)
    assert abs(rows.mean() - 111.5) < 2
    assert abs(columns.mean() - 111.5) < 2


def test_files_are_read_turned_and_with_transparency_dropped(tmp_path):
    pil = pytest.importorskip("PIL.Image")
    pixels = np.zeros((224, 224, 4), np.uint8)
    pixels[:112, :, 0] = 255
    pixels[..., 3] = 255
    pil.fromarray(pixels).save(tmp_path / "upper.png")
    _, picture, _ = image.load(tmp_path / "upper.png", image.Recipe(size=(224, 224)))
    assert picture[:112, :, 0].min() == 255
    assert picture[112:].max() == 0
    exif = pil.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    pil.fromarray(pixels[..., :3]).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    _, turned, _ = image.load(str(tmp_path / "turned.jpg"), image.Recipe(size=(224, 224)))
    assert turned[120:, :, 0].min() > 200
    assert turned[:100].max() < 60


def test_colours_are_what_displays_so():
    recipe = image.RECIPES["imagenet"]
    for level in (0, 255):
        images, _, _ = image.load(np.full((224, 224, 3), level, np.uint8), recipe)
        assert np.allclose(images[0, :, :1, :1], recipe.colour(level / 255), atol=1e-6)


@pytest.mark.parametrize(
    ("source", "recipe", "error", "text"),
    [
        (np.zeros((4, 4)), "digits", TypeError, "must be uint8"),
        (np.zeros((4, 4, 2), np.uint8), "digits", ValueError, r"has the shape \(4, 4, 2\)"),
        (np.zeros((4, 4), np.uint8), "cifar", ValueError, "'imagenet', 'unit', 'digits'"),
    ],
)
def test_what_is_no_image_is_named(source, recipe, error, text):
    with pytest.raises(error, match=text):
        image.load(source, recipe)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"channels": "CMYK"}, "`channels`"),
        ({"mean": (0.5,)}, "3 number"),
        ({"resize": 100}, "`resize`"),
    ],
)
def test_a_recipe_is_checked(fields, text):
    with pytest.raises(ValueError, match=text):
        image.Recipe(size=(224, 224), **fields)
