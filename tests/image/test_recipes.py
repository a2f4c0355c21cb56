"""The table of recipes, against their sources' own numbers written differently."""

from __future__ import annotations

import json

import numpy as np
import pytest

from convlens import explain, image, nn

RECIPES = image.RECIPES
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)


def test_every_recipe_names_its_source_and_prints():
    for name, recipe in RECIPES.items():
        assert recipe.source, name
        assert recipe.filter in str(recipe)
        assert json.loads(json.dumps(recipe.describe()))["source"] == recipe.source


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_gives_its_size_and_its_own_black_and_white(name):
    pytest.importorskip("PIL")
    recipe = RECIPES[name]
    for level in (0, 255):
        images, picture, used = image.load(np.full((50, 90, 3), level, np.uint8), name)
        channels = 1 if recipe.channels == "grey" else 3
        assert images.shape == (1, channels, *recipe.size)
        assert images.dtype == np.float32
        assert picture.shape[:2] == recipe.size
        assert (picture == level).all()
        assert np.allclose(images[0], recipe.colour(level / 255), atol=1e-5)
        assert used == recipe


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("imagenet", lambda p: (p / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
        ("efficientnet_lite0", lambda p: (p - 127.0) / 128.0),
        ("keras_tf", lambda p: p / 127.5 - 1.0),
        ("keras_caffe", lambda p: p[..., ::-1] - np.array([103.939, 116.779, 123.68])),
        (
            "clip",
            lambda p: (p / 255 - [0.48145466, 0.4578275, 0.40821073]) / [0.26862954, 0.26130258, 0.27577711],
        ),
        ("unit", lambda p: p / 255),
    ],
)
def test_values_are_those_of_the_source(name, expected):
    pixels = np.random.default_rng(1).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    images, picture, _ = image.load(pixels, name)
    assert np.array_equal(picture, pixels)
    assert np.allclose(images[0], np.moveaxis(expected(pixels.astype(np.float64)), -1, 0), atol=1e-5)


@pytest.mark.parametrize("size", [(40, 60), (61, 37), (500, 333), (230, 250)])
@pytest.mark.parametrize("name", ["imagenet", "resnet50", "inception_v3", "efficientnet_lite0", "clip"])
def test_resizing_is_what_torchvision_does(name, size):
    """Resize of torchvision: the shorter side, the longer one cut to an integer; CenterCrop: round half to even."""
    pil = pytest.importorskip("PIL.Image")
    recipe = RECIPES[name]
    pixels = np.random.default_rng(2).integers(0, 256, (*size, 3)).astype(np.uint8)
    short, long = sorted(size)
    other = int(recipe.resize * long / short)
    w, h = (recipe.resize, other) if size[1] <= size[0] else (other, recipe.resize)
    how = {"bilinear": pil.Resampling.BILINEAR, "bicubic": pil.Resampling.BICUBIC}[recipe.filter]
    resized = np.asarray(pil.fromarray(pixels).resize((w, h), how))
    crop = recipe.size[0]
    top, left = round((h - crop) / 2.0), round((w - crop) / 2.0)
    _, picture, _ = image.load(pixels, name)
    assert np.array_equal(picture, resized[top : top + crop, left : left + crop])


def test_the_filter_decides():
    pytest.importorskip("PIL")
    made = {
        name: image.load(PIXELS, image.Recipe(size=(16, 16), filter=name))[1].tobytes()
        for name in ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
    }
    assert len(set(made.values())) == len(made)


def test_lists_are_tuples_and_mean_and_std_may_be_left_out():
    given = image.Recipe(size=[4, 5], mean=[0.1, 0.2, 0.3])
    assert given == image.Recipe(size=(4, 5), mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0))
    assert image.load(np.zeros((4, 5, 3), np.uint8), given)[0].shape == (1, 3, 4, 5)
    grey = image.Recipe(size=(4, 5), channels="grey")
    assert (grey.mean, grey.std) == ((0.0,), (1.0,))
    for wrong in ({"size": 224}, {"mean": 0.5}):
        with pytest.raises(TypeError, match=r"must be a tuple, "):
            image.Recipe(**{"size": (4, 5), **wrong})


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"filter": "cubic"}, r"`filter` \(='cubic'\) must be one of 'nearest'"),
        ({"std": (1.0, 0.0, 1.0)}, "`std` .* must not be 0"),
        ({"mean": (0.0, float("nan"), 0.0)}, "be finite"),
        ({"size": (0, 5)}, r"`size` \(=\(0, 5\)\)"),
    ],
)
def test_a_recipe_of_ones_own_is_checked(fields, text):
    with pytest.raises(ValueError, match=text):
        image.Recipe(**{"size": (224, 224), **fields})


def test_explanations_resolve_colours_by_the_recipe_and_record_it(tmp_path):
    pytest.importorskip("PIL")
    images, _, recipe = image.load(PIXELS, image.Recipe(size=(12, 12), mean=(0.5,) * 3, std=(0.25,) * 3, source="mine"))
    net = nn.Sequential(nn.Flatten(), nn.Linear(out_features=2), input_shape=(3, 12, 12), seed=0)
    start = {"black": -2.0, "white": 2.0, "mean": 0.0}
    for name, number in start.items():
        named = explain.integrated_gradients(net, images, 1, baselines=name, recipe=recipe, n_steps=2)
        given = explain.integrated_gradients(net, images, 1, baselines=number, n_steps=2)
        assert np.allclose(named.values, given.values, atol=1e-6)
        _, description = named.save(tmp_path / name)
        stored = json.loads(description.read_text())["arguments"]
        assert stored["baselines"] == name
        assert stored["recipe"]["source"] == "mine"
        assert stored["recipe"]["mean"] == [0.5, 0.5, 0.5]
