"""`convlens bench` from its arguments to its table and its file."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from convlens.cli import main
from convlens.cli.bench import LIBRARIES
from convlens.cli.bench._run import Row, _compare

TINY = "n2 c3 h9 w8 k4 r3 s3 st1 p1 d1 g1 f32 fwd"
TABLES = Path(__file__).parents[2] / "benchmarks" / "tables.py"


def _run(capsys, *arguments):
    code = main(["bench", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The file of a run over a convolution and a network."""
    path = tmp_path_factory.mktemp("bench") / "bench.json"
    arguments = [TINY, "digits", "--peers", "numpy", "--rounds", "6", "--threads", "1", "--json", str(path)]
    assert main(["bench", *arguments]) == 0
    return json.loads(path.read_text())


def test_the_file_says_where_when_and_with_what(report):
    assert report["machine"]["cores"] >= 1
    assert report["machine"]["cpu"]
    assert report["wait"] == "active"
    assert report["libraries"]["numpy"]["version"] == np.__version__
    assert [result["title"] for result in report["results"]] == [TINY, "n1 digits"]


def test_every_row_has_times_rate_difference_and_paired_ratio(report):
    rows = report["results"][0]["rows"]
    assert list(rows) == ["convlens", "convlens_ops", "numpy"]
    numpy = rows["numpy"]
    assert 0 < numpy["ms"]["low"] <= numpy["ms"]["median"] <= numpy["ms"]["high"]
    assert numpy["rate"] == pytest.approx(2 * 2 * 9 * 8 * 4 * 27 / numpy["ms"]["median"] / 1e6)
    assert 0 <= numpy["difference"] < 1e-5
    for ratio in numpy["ratios"].values():
        assert ratio["low"] <= ratio["median"] <= ratio["high"]
    assert report["results"][1]["rows"]["convlens_ops"]["state"] == "unsupported"


def test_the_table_has_a_line_for_each_library(capsys):
    code, out, err = _run(capsys, TINY, "--peers", "--rounds", "6", "--batch", "1", "--threads", "1", "2")
    assert (code, err) == (0, "")
    title = TINY.replace("n2", "n1")
    assert f"\n{title}, 1 thread\n" in out
    assert f"\n{title}, 2 threads\n" in out
    assert "GFLOP/s" in out
    assert "x convlens_ops" in out
    assert out.count("\n  convlens_ops ") == 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["n1 c64"], "must have 13 fields"),
        (["resnet"], "PROBLEM (='resnet') must be a problem string"),
        (["{dir}/absent.npz"], "absent.npz: No such file or directory"),
        (["--rounds", "0"], "--rounds (=0) must be at least 1"),
        (["--threads", "0"], "--threads (=0) must be at least 1"),
        (["--batch", "1", "-1"], "--batch (=-1) must be at least 1"),
        (["--peers", "tensorflow"], "--peers (='tensorflow') must be one of numpy, torch"),
        (["--peers", "convlens"], "--peers (='convlens') must be one of numpy, torch"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_timed(capsys, tmp_path, arguments, text):
    code, out, err = _run(capsys, *(argument.format(dir=tmp_path) for argument in arguments))
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert text in err


def test_a_peer_that_is_absent_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, err = _run(capsys, "--peers", "ncnn")
    assert code == 1
    assert "--peers (='ncnn') is not installed: it needs ncnn; pip install ncnn" in err


def test_an_output_that_differs_is_wrong():
    ours = np.array([1.0, -2.0], np.float32)
    right, wrong, none, shape = Row("ok"), Row("ok"), Row("ok"), Row("ok")
    _compare(right, ours, ours + np.float32(1e-6), "float32")
    _compare(wrong, ours, ours + np.float32(0.01), "float32")
    _compare(none, ours, np.full_like(ours, np.nan), "float32")
    _compare(shape, ours, ours[:1], "float32")
    assert [row.state for row in (right, wrong, none, shape)] == ["ok", "wrong", "wrong", "wrong"]
    assert "differs from convlens by 0.005 of the largest value" in wrong.reason
    assert "shape (1,)" in shape.reason


def test_a_wrong_peer_makes_the_run_fail(capsys, monkeypatch):
    monkeypatch.setattr("convlens.cli.bench._run.TOLERANCE", {"float32": 0.0})
    code, out, err = _run(capsys, "n2 c64 h9 w8 k4 r3 s3 st1 p1 d1 g1 f32 fwd", "--peers", "numpy", "--rounds", "2")
    assert code == 1
    assert "WRONG" in out
    assert "numpy: it differs from convlens" in err


@pytest.mark.parity
def test_all_that_is_installed_is_timed(capsys):
    code, out, err = _run(capsys, TINY, "--rounds", "2", "--threads", "1")
    assert (code, err) == (0, "")
    for name, row in LIBRARIES.items():
        assert (f"\n  {name} " in out) == row.installed
    assert out.count("unsupported") == 0


@pytest.mark.skipif(not TABLES.exists(), reason="the benchmarks are not part of the source distribution")
def test_the_tables_hold_every_case_and_mark_losses(report):
    spec = importlib.util.spec_from_file_location("tables", TABLES)
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    rows = report["results"][0]["rows"]
    rows["numpy"]["ratios"]["convlens"] = {"median": 1.5, "low": 1.25, "high": 2.0}
    page = tables.performance(report)
    assert f"| `{TINY}` | " in page
    assert "**1.50 (1.25 2.00)**" in page
    assert "| conv fwd | 1 | 2 | 1 | 1.50, 1 lost |" in page
    text = f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n"
    replaced = tables.readme(text, report)
    assert replaced.startswith(f"before\n{tables.BEGIN}\n")
    assert replaced.endswith(f"{tables.END}\nafter\n")
    assert "old" not in replaced
    assert tables.readme(replaced, report) == replaced
