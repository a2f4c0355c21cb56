from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from convlens import explain, nn, plot
from convlens.plot._colours import INK, PLAIN, QUIET, SIGNED, UNSIGNED, contrast, ink_on, luminance
from convlens.plot._maps import reduce_map
from convlens.plot._picture import shown

RNG = np.random.default_rng(0)
MAP = RNG.standard_normal((3, 20, 36))
HISTORY = {"loss": [1.0, 0.5], "accuracy": [0.5, 0.8], "validation_loss": [1.1, 0.7], "validation_accuracy": [0.4, 0.7]}

PICTURES = {
    "signed_map": lambda: plot.signed_map(MAP, RNG.random((20, 36)), title="A map"),
    "signed_map_alone": lambda: plot.signed_map(MAP),
    "overlay": lambda: plot.overlay(np.abs(MAP[:1]), RNG.random((3, 20, 36)), title="A map"),
    "feature_maps": lambda: plot.feature_maps(np.abs(RNG.standard_normal((10, 6, 9)))),
    "signed_features": lambda: plot.feature_maps(RNG.standard_normal((100, 6, 9)), most=7),
    "kernels": lambda: plot.kernels(RNG.standard_normal((8, 1, 3, 3))),
    "colour_kernels": lambda: plot.kernels(RNG.standard_normal((8, 3, 5, 5))),
    "deep_kernels": lambda: plot.kernels(RNG.standard_normal((8, 16, 3, 3)), most=20),
    "compare": lambda: plot.compare(
        {"saliency": MAP[np.newaxis], "grad_cam": np.abs(MAP[np.newaxis, :1])}, RNG.random((1, 1, 20, 36))
    ),
    "loss_curves": lambda: plot.loss_curves(HISTORY),
    "confusion_matrix": lambda: plot.confusion_matrix(RNG.integers(0, 30, (10, 10))),
    "large_confusion": lambda: plot.confusion_matrix(RNG.integers(0, 30, (60, 60))),
    "gallery": lambda: plot.gallery(RNG.random((7, 1, 8, 8)), [f"number {i}" for i in range(7)], columns=3),
}


@pytest.mark.parametrize("make", PICTURES.values(), ids=PICTURES)
def test_every_picture_can_be_written_and_described(make):
    picture = make()
    written = io.BytesIO()
    picture.savefig(written)
    assert written.getvalue().startswith(b"\x89PNG")
    assert len(picture.alt_text) > 20
    assert picture.alt_text.encode() in written.getvalue()
    assert picture.alt_text.endswith(".")


@pytest.mark.parametrize("ending", ["svg", "pdf", "png"])
def test_files_carry_the_alternative_text(tmp_path, ending):
    picture = plot.signed_map(MAP)
    picture.savefig(tmp_path / f"map.{ending}")
    assert (tmp_path / f"map.{ending}").stat().st_size > 1000
    if ending == "svg":
        assert "Signed map" in (tmp_path / "map.svg").read_text()


def test_no_state_of_pyplot_is_touched():
    code = (
        "import sys, numpy as np; from convlens import plot; plot.signed_map(np.eye(4)); "
        "plot.compare({'a': np.ones((1, 1, 4, 4))}); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**__import__("os").environ, "DISPLAY": ""})


def test_without_matplotlib_the_error_has_the_command():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "try:\n    import convlens.plot\n"
        "except ImportError as error:\n    assert 'pip install \"convlens[plot]\"' in str(error), error\n"
        "else:\n    raise SystemExit('no error')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_captions_name_reduction_clipping_and_scale():
    caption = plot.signed_map(MAP).caption
    assert "ummed over 3 channels" in caption
    assert "clipped at the 99th percentile" in caption
    limit = np.percentile(np.abs(MAP.sum(axis=0)), 99)
    assert f"scale ±{limit:.3g}" in caption
    assert "One channel, not clipped" in plot.overlay(np.abs(MAP[0])).caption
    assert "scale given" in plot.signed_map(MAP, limit=2.0).caption
    assert "All 10 channels, one common scale" in plot.feature_maps(np.ones((10, 2, 2))).caption
    assert "The 3 strongest of 10 channels" in plot.feature_maps(np.ones((10, 2, 2)), most=3).caption
    assert "each map has its own scale" in plot.compare({"a": MAP[np.newaxis]}).caption.lower()


def test_zero_is_the_middle_of_a_signed_map():
    reduced = reduce_map([[-1.0, 0.0, 3.0]], signed=True, percentile=100)
    colours = reduced.rgba(veil=False)[0, :, :3]
    assert np.allclose(colours[1], SIGNED(0.5)[:3], atol=0.01)
    assert min(colours[1]) > 0.95
    # The same distance from zero has the same share of the scale on both sides.
    assert np.allclose(colours[0], SIGNED((1 - 1 / 3) / 2)[:3], atol=0.02)


def test_values_beyond_the_limit_are_clipped_and_nothing_is_rescaled():
    spike = np.full((10, 10), 0.1)
    spike[0, 0] = 1000.0
    reduced = reduce_map(spike, signed=True, percentile=99)
    assert reduced.limit < 20
    assert np.array_equal(reduced.map, spike)


def test_colours_keep_their_order_in_grey_print():
    for colours in (UNSIGNED, PLAIN):
        levels = [luminance(colours(i / 20)[:3]) for i in range(21)]
        assert levels == sorted(levels)
    against = [luminance(SIGNED(i / 40)[:3]) for i in range(21)]
    speaks_for = [luminance(SIGNED(1 - i / 40)[:3]) for i in range(21)]
    assert against == sorted(against)
    assert speaks_for == sorted(speaks_for)
    # What speaks strongly for is clearly lighter than what speaks strongly against.
    assert speaks_for[0] > against[0] + 0.08


def test_text_has_contrast():
    assert contrast(INK, "white") >= 4.5
    assert contrast(QUIET, "white") >= 4.5
    assert all(contrast(ink_on(PLAIN(i / 50)), PLAIN(i / 50)) >= 4.5 for i in range(51))


@pytest.mark.parametrize("values", [np.zeros((5, 6)), np.full((5, 6), np.nan), np.zeros((2, 5, 6))])
def test_empty_maps_are_drawn_and_said_to_be_empty(values):
    picture = plot.signed_map(values, np.zeros((5, 6)))
    picture.savefig(io.BytesIO())
    assert "zero everywhere" in picture.caption
    assert "zero everywhere" in picture.alt_text
    plot.overlay(values).savefig(io.BytesIO())


def test_the_words_say_where():
    values = np.zeros((20, 36))
    values[3, 30], values[17, 2] = 2.0, -1.0
    text = plot.signed_map(values).alt_text
    assert "Its highest value, 2, is at row 3, column 30 of 20 x 36; its lowest, -1, at row 17, column 2" in text


def test_pictures_are_taken_in_every_layout():
    grey = RNG.random((6, 7))
    assert np.array_equal(shown(grey), grey)
    assert shown(grey[np.newaxis]).shape == (6, 7)
    assert shown(grey[..., np.newaxis]).shape == (6, 7)
    assert shown(np.zeros((3, 6, 7))).shape == (6, 7, 3)
    assert shown(np.zeros((1, 3, 6, 7))).shape == (6, 7, 3)
    assert shown(np.full((6, 7, 3), 255, np.uint8)).max() == 1.0
    assert (shown(4 * grey - 2).min(), shown(4 * grey - 2).max()) == (0, 1)
    with pytest.raises(ValueError, match=r"`picture` has the shape \(2, 6, 7\)"):
        shown(np.zeros((2, 6, 7)))


def test_an_explanation_draws_itself_by_its_sign():
    net = nn.Sequential(
        nn.Conv2d(out_channels=6, kernel_size=3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(out_features=3),
        input_shape=(1, 9, 11),
    )
    x = RNG.standard_normal((2, 1, 9, 11)).astype(np.float32)
    assert "Signed map" in explain.saliency(net, x)[0].plot(x[0]).alt_text
    cam = explain.grad_cam(net, x, 1)[1].plot(x[1])
    assert "Map of importance" in cam.alt_text
    assert "Grad-CAM at relu1, class 1" in cam.alt_text
    assert "Signed map" in explain.grad_cam(net, x, 1, relu=False)[1].plot(x[1]).alt_text
    assert "grid of 6 feature maps" in explain.activations(net, x)[0].plot().alt_text
    both = {"saliency": explain.saliency(net, x), "grad_cam": explain.grad_cam(net, x)}
    assert "2 image(s) explained by saliency, grad_cam" in plot.compare(both, x, captions=["one", "two"]).alt_text


def test_methods_of_one_image_may_stand_in_several_rows():
    maps = dict.fromkeys("abcd", MAP[np.newaxis])
    picture = plot.compare(maps, [np.zeros((*MAP.shape[-2:], 3))], columns=3, width=2.0)
    boxes = [axes.get_subplotspec() for axes in picture.axes]
    assert [(box.rowspan.start, box.colspan.start) for box in boxes] == [(r, c) for r in range(2) for c in range(3)]
    assert [axes.get_title() for axes in picture.axes] == ["image", "a", "b", "c", "d", ""]
    assert not picture.axes[5].axison


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: plot.signed_map(np.zeros((2, 3, 4, 5))), "one map is"),
        (lambda: plot.signed_map(MAP, percentile=0), "`percentile`"),
        (lambda: plot.signed_map(MAP, limit=-1), "`limit`"),
        (lambda: plot.feature_maps(np.zeros((4, 4))), "`activations`"),
        (lambda: plot.feature_maps(MAP, most=0), "`most`"),
        (lambda: plot.kernels(np.zeros((3, 3))), "`weight`"),
        (lambda: plot.compare({}), "`maps` is empty"),
        (lambda: plot.compare({"a": np.zeros((2, 1, 3, 3))}, np.zeros((1, 1, 3, 3))), "as many images"),
        (lambda: plot.compare({"a": np.zeros((2, 1, 3, 3))}, columns=1), r"`columns` \(=1\) is for one image"),
        (lambda: plot.compare({"a": np.zeros((1, 1, 3, 3))}, columns=0), r"`columns` \(=0\) must be at least 1"),
        (lambda: plot.compare({"a": np.zeros((3, 3))}), "must be .N, C, H, W."),
        (lambda: plot.loss_curves({"loss": []}), "train for an epoch first"),
        (lambda: plot.confusion_matrix(np.zeros((2, 3))), "`matrix`"),
        (lambda: plot.confusion_matrix(np.zeros((2, 2)), ["a"]), "1 names for 2 classes"),
        (lambda: plot.gallery([]), "`pictures` is empty"),
        (lambda: plot.gallery(np.zeros((2, 1, 3, 3)), ["a"]), "1 texts for 2 pictures"),
    ],
)
def test_wrong_arguments_are_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_the_gradient_of_a_loss_raises_and_lowers_it():
    net = nn.Sequential(nn.Flatten(), nn.Linear(out_features=3), input_shape=(1, 4, 4), seed=0)
    why = explain.saliency(net, np.ones((1, 1, 4, 4), np.float32), 1, of="loss")
    drawn = why[0].plot()
    assert "orange raises and purple lowers" in drawn.alt_text
    assert f"class 1, loss {why.score[0]:.3g}" in drawn.alt_text
