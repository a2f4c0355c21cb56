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


def saved(pil, folder, pixels, mode, name, **options):
    picture = pixels if isinstance(pixels, pil.Image) else pil.fromarray(pixels)
    if picture.mode != mode:
        picture = picture.convert(mode)
    picture.save(folder / name, **options)
    return folder / name


@pytest.mark.parametrize(
    ("mode", "name", "note"),
    [
        ("L", "a.png", "grey repeated"),
        ("1", "a.png", "grey repeated"),
        ("P", "a.png", "palette looked up"),
        ("P", "a.gif", "palette looked up"),
        ("CMYK", "a.tif", "CMYK converted without its colour profile"),
        ("CMYK", "a.jpg", "CMYK converted without its colour profile"),
        ("RGBA", "a.png", "opaque transparency channel dropped"),
        ("LA", "a.png", "opaque transparency channel dropped"),
        ("YCbCr", "a.tif", "YCbCr converted to RGB"),
        ("LAB", "a.tif", None),
    ],
)
def test_modes_become_rgb_and_it_is_said(tmp_path, mode, name, note):
    pil = pytest.importorskip("PIL.Image")
    pixels = np.full((8, 8, 3), 255, np.uint8)
    pixels[:4] = 0
    picture = pil.new("LAB", (8, 8), (255, 128, 128)) if mode == "LAB" else pixels
    path = saved(pil, tmp_path, picture, mode, name)
    images, shown, recipe = image.load(path, image.Recipe(size=(8, 8)))
    assert images.shape == (1, 3, 8, 8)
    assert shown.shape == (8, 8, 3)
    if mode != "LAB":
        assert np.abs(shown[:3].astype(int)).max() < 40
        assert shown[5:].min() > 215
        assert any(note in text for text in recipe.notes), recipe.notes
    assert recipe.describe()["notes"] == recipe.notes


def test_plain_rgb_needs_no_note(tmp_path):
    pil = pytest.importorskip("PIL.Image")
    path = saved(pil, tmp_path, np.zeros((8, 8, 3), np.uint8), "RGB", "a.png")
    recipe = image.Recipe(size=(8, 8))
    assert image.load(path, recipe)[2] is recipe


def test_colour_for_a_grey_network_is_luma(tmp_path):
    pytest.importorskip("PIL")
    _, shown, recipe = image.load(np.tile(np.array([200, 100, 50], np.uint8), (30, 30, 1)), "digits")
    assert abs(int(shown[5, 5]) - (0.299 * 200 + 0.587 * 100 + 0.114 * 50)) < 1
    assert recipe.notes == ("colour made grey (0.299 R + 0.587 G + 0.114 B)",)


def test_transparency_is_laid_on_white():
    pytest.importorskip("PIL")
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4, :, 3] = 255
    _, shown, recipe = image.load(pixels, image.Recipe(size=(8, 8)))
    assert shown[:4].max() == 0
    assert shown[4:].min() == 255
    assert recipe.notes == ("transparency laid on white",)


def test_sixteen_bits_keep_black_white_and_between(tmp_path):
    pil = pytest.importorskip("PIL.Image")
    values = np.repeat(np.linspace(0, 65535, 8).astype(np.uint16)[np.newaxis], 8, axis=0)
    pil.fromarray(values).save(tmp_path / "a.png")
    _, shown, recipe = image.load(tmp_path / "a.png", image.Recipe(size=(8, 8), channels="grey", mean=(0,), std=(1,)))
    assert np.array_equal(shown[0], np.rint(values[0] / 257.0))
    assert "16 bits divided by 257 to 8" in recipe.notes


def test_pictures_and_lists_are_taken_too(tmp_path):
    pil = pytest.importorskip("PIL.Image")
    grey, colour = np.full((9, 9), 7, np.uint8), np.full((9, 9, 3), 9, np.uint8)
    pil.fromarray(colour).save(tmp_path / "a.png")
    recipe = image.Recipe(size=(6, 5), scale=1.0)
    images, shown, used = image.load([grey, pil.fromarray(colour), tmp_path / "a.png"], recipe)
    assert images.shape == (3, 3, 6, 5)
    assert shown.shape == (3, 6, 5, 3)
    assert images[:, 0, 0, 0].tolist() == [7, 9, 9]
    assert used.notes == ("image 0: grey repeated for red, green and blue",)
    stacked, _, _ = image.load(np.stack([colour, colour]), recipe)
    assert stacked.shape == (2, 3, 6, 5)
    one, single, _ = image.load(pil.fromarray(colour), recipe)
    assert (one.shape, single.shape) == ((1, 3, 6, 5), (6, 5, 3))


@pytest.mark.parametrize("orientation", range(2, 9))
def test_every_orientation_is_turned_upright(tmp_path, orientation):
    pil = pytest.importorskip("PIL.Image")
    ops = pytest.importorskip("PIL.ImageOps")
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:4, :6] = 255
    exif = pil.Exif()
    exif[0x0112] = orientation
    # What the camera stores is what turns into the upright picture: try the eight.
    stored = next(
        turned
        for how in [None, *pil.Transpose]
        for turned in [pil.fromarray(upright) if how is None else pil.fromarray(upright).transpose(how)]
        if np.array_equal(_turned(ops, turned, exif), upright)
    )
    stored.save(tmp_path / "a.png", exif=exif)
    _, shown, recipe = image.load(tmp_path / "a.png", image.Recipe(size=(16, 24)))
    assert np.array_equal(shown, upright)
    assert "turned upright as its EXIF orientation says" in recipe.notes


def _turned(ops, picture, exif):
    picture = picture.copy()
    picture.getexif()[0x0112] = exif[0x0112]
    return np.asarray(ops.exif_transpose(picture))


@pytest.mark.filterwarnings("ignore")  # Pillow warns of tags it skips
def test_broken_files_are_named_and_do_no_harm(tmp_path):
    pil = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 20, 3)).astype(np.uint8)
    recipe = image.Recipe(size=(8, 8))
    (tmp_path / "no.png").write_text("this is no image")
    with pytest.raises(ValueError, match=r"`source` \(='.*no.png'\) is no whole image that Pillow reads"):
        image.load(tmp_path / "no.png", recipe)
    for ending in ("png", "jpg", "gif", "tif", "bmp"):
        pil.fromarray(pixels).save(tmp_path / f"a.{ending}")
        whole = (tmp_path / f"a.{ending}").read_bytes()
        (tmp_path / f"cut.{ending}").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ValueError, match="no whole image"):
            image.load(tmp_path / f"cut.{ending}", recipe)
        for trial in range(60):
            changed = bytearray(whole)
            for place in rng.integers(0, len(whole), 1 + trial % 8):
                changed[place] = rng.integers(0, 256)
            (tmp_path / f"changed.{ending}").write_bytes(changed)
            try:
                image.load(tmp_path / f"changed.{ending}", recipe)
            except (ValueError, TypeError) as error:
                assert "`source`" in str(error)  # noqa: PT017
    with pytest.raises(FileNotFoundError):
        image.load(tmp_path / "missing.png", recipe)


def test_huge_and_elongated_images_are_refused(tmp_path, monkeypatch):
    pil = pytest.importorskip("PIL.Image")
    pil.new("L", (100, 100)).save(tmp_path / "a.png")
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"is too large: .* raise PIL.Image.MAX_IMAGE_PIXELS if you trust it"):
        image.load(tmp_path / "a.png", "imagenet")
    with pytest.raises(ValueError, match=r"`source` is 1 x 9000: .* crop it first"):
        image.load(np.zeros((1, 9000, 3), np.uint8), "imagenet")


@pytest.mark.parametrize(
    ("source", "recipe", "error", "text"),
    [
        (np.zeros((4, 4)), "digits", TypeError, "must be uint8"),
        (np.zeros((4, 4, 2), np.uint8), "digits", ValueError, r"has the shape \(4, 4, 2\)"),
        (np.zeros((3, 40, 40), np.uint8), "imagenet", ValueError, r"channels first.*np.moveaxis\(source, 0, -1\)"),
        (np.zeros((0, 4), np.uint8), "digits", ValueError, r"has the shape \(0, 4\)"),
        ([], "digits", ValueError, "`source` is empty"),
        (np.zeros((4, 4), np.uint8), "cifar", ValueError, r"`recipe` \(='cifar'\) .*'imagenet', .*'digits'"),
        (np.zeros((4, 4), np.uint8), 5, ValueError, r"`recipe` \(=5\) must be a Recipe or one of"),
    ],
)
def test_what_is_no_image_is_named(source, recipe, error, text):
    with pytest.raises(error, match=text):
        image.load(source, recipe)


@pytest.mark.parametrize(("mode", "value", "text"), [("F", 0.5, "floating-point"), ("I", 70000, "beyond 16 bits")])
def test_pixels_without_known_levels_are_refused(mode, value, text):
    pil = pytest.importorskip("PIL.Image")
    with pytest.raises(TypeError, match=f"`source` holds .*{text}.* uint8 array"):
        image.load(pil.new(mode, (30, 30), value), "digits")


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
