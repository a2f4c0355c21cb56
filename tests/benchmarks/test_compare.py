"""`python -m benchmarks.compare`: its list, its driver with workers that fake, its file and its tables. No peers."""

from __future__ import annotations

import json
import math
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from convlens import UnsupportedError
from convlens.cli.bench import Ratio

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    not (ROOT / "benchmarks" / "compare").exists(), reason="the benchmarks are not part of the source distribution"
)
#: Figures of the libraries that fake, in seconds.
FIGURES = {"convlens": [0.01, 0.03, 0.02], "fast": [0.02, 0.02, 0.02], "ours": [0.005] * 3}
NOW = {
    "date": "2026-01-01",
    "machine": {"cpu": "processor", "cores": 2, "system": "system"},
    "python": "3",
    "isa": "avx2",
    "wait": "passive",
    "versions": {"convlens": "1"},
    "source": "a",
}


class Fake:
    """A library with figures instead of times; one is wrong, one refuses, one breaks, one leaves."""

    def __init__(self, group, name, threads, folder):
        self.name, self.turns = name, 0

    def __call__(self, message, *arguments):
        if message == "prepare":
            if self.name == "refuses":
                raise UnsupportedError("no such layer")
            if self.name == "breaks":
                raise OSError("no such file")
            return 0.0
        if message == "output":
            return np.array([1.0, 2.0]) * (2 if self.name == "wrong" else 1)
        self.turns += 1
        figures = FIGURES.get(self.name, [0.04])
        return figures[(self.turns - 2) % len(figures)]  # the first one only says how long a call takes


@pytest.fixture
def compare(monkeypatch):
    """The modules of the package."""
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.compare import cases, made, measure, records, tables

    return {"cases": cases, "made": made, "measure": measure, "records": records, "tables": tables}


class Direct:
    """A worker without a process."""

    def __init__(self, factory, *arguments):
        self.ask = factory(*arguments)


@pytest.fixture
def direct(compare, monkeypatch):
    """Fakes answer in this process."""

    @contextmanager
    def workers(factories, arguments, **settings):
        yield {name: Direct(factory, *arguments) for name, factory in factories.items()}

    monkeypatch.setattr(compare["measure"], "workers", workers)


def _libraries(compare, *names):
    library = compare["made"].Library
    return lambda group: {name: library(None, (), f"{name}'s note", peer=name != "ours") for name in names}


def _measure(compare, path, names, *, resume=False, **settings):
    records = compare["records"].Records(path, NOW, resume=resume)
    case = compare["cases"].Case("forward", "resnet18")
    said = []
    chosen = compare["measure"].Settings(**{"rounds": 3, "seconds": 1.5, **settings})
    compare["measure"].measure([case], _libraries(compare, *names), records, path.parent, chosen, said.append, Fake)
    return case, records, said


def test_rounds_alternate_and_the_file_has_them_at_once(compare, direct, tmp_path):
    path = tmp_path / "run.jsonl"
    case, records, _ = _measure(compare, path, ["convlens", "fast", "ours"])
    rows = records.results[case.key].rows
    assert rows["convlens"].times == FIGURES["convlens"] * 2  # two turns a round: six in all, for bounds of 95 %
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["run", "case", "round", "round", "round"]
    _, results = compare["records"].read(path)
    assert results == records.results


def test_what_a_library_cannot_or_computes_otherwise_is_in_its_row(compare, tmp_path):
    case, records, said = _measure(compare, tmp_path / "run.jsonl", ["convlens", "wrong", "refuses", "breaks"])
    rows = records.results[case.key].rows
    assert {name: row.state for name, row in rows.items()} == {
        "convlens": "ok",
        "wrong": "wrong",
        "refuses": "unsupported",
        "breaks": "error",
    }
    assert rows["wrong"].difference == pytest.approx(1)
    assert rows["refuses"].reason == "no such layer"
    assert "breaks: OSError: no such file" in rows["breaks"].reason
    assert any("differs from convlens by 1 of the values" in line for line in said)
    assert compare["tables"].fastest(records.results[case.key]) is None  # nobody right to be compared with


def test_a_run_that_was_stopped_goes_on_where_it_ended(compare, direct, tmp_path):
    path = tmp_path / "run.jsonl"
    case, records, _ = _measure(compare, path, ["convlens", "fast"], rounds=2)
    with path.open("a") as file:
        file.write('{"kind": "rou')  # the line that was being written
    with pytest.raises(ValueError, match="exists: --resume continues it"):
        compare["records"].Records(path, NOW, resume=False)
    for name, other in (("source", "b"), ("isa", "avx512")):
        with pytest.raises(ValueError, match=f"was measured with another {name}"):
            compare["records"].Records(path, {**NOW, name: other}, resume=True)
    case, records, _ = _measure(compare, path, ["convlens", "ours"], resume=True, rounds=3)
    assert records.rounds(case) == 3
    turns = {name: [not math.isnan(t) for t in row.times] for name, row in records.results[case.key].rows.items()}
    both = len(turns["fast"])
    missed = turns["fast"].count(False)
    assert turns == {
        "convlens": [True] * both,
        "fast": [True] * (both - missed) + [False] * missed,
        "ours": [False] * (both - missed) + [True] * missed,
    }
    assert 0 < missed < both
    with pytest.raises(compare["measure"].Stopped):
        _measure(compare, path, ["convlens", "fast"], resume=True, rounds=4, limit=1e-9)
    assert compare["records"].read(path)[1][case.key].rounds == 3


def test_ratios_bounds_and_the_fastest_peer_are_those_computed_by_hand(compare):
    row, case = compare["records"].Row, compare["cases"].Case("forward", "resnet18")
    ours = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    slow, fast = [2.0] * 6, [1.0, 1.0, 1.0, 1.0, 2.0, 2.0]
    rows = {
        "convlens": row("ok", times=ours),
        "slow": row("ok", times=slow),
        "fast": row("ok", times=fast),
        "wrong": row("wrong", times=[0.1] * 6),
        "ours": row("ok", peer=False, times=[0.5] * 6),
        "late": row("ok", times=[math.nan, math.nan, math.nan, 8.0, 10.0, 12.0]),
    }
    result = compare["records"].Result(case, rows, rounds=3, turns=6)
    found = compare["tables"].ratios(result)
    # Of six ratios in order the smallest and the largest enclose the median with 1 - 2 / 2**6 = 0.969.
    assert found["slow"] == Ratio(1.75, 0.5, 3.0)
    assert found["fast"] == Ratio(2.75, 1.0, 4.0)
    assert found["late"] == Ratio(0.5, 0.5, 0.5)  # turn by turn, those that both had
    assert set(found) == {"slow", "fast", "ours", "late"}
    assert compare["tables"].fastest(result).name == "fast"


def test_the_tables_have_every_library_and_keep_losses(compare, direct, tmp_path):
    path = tmp_path / "run.jsonl"
    case, records, _ = _measure(compare, path, ["convlens", "fast", "ours", "refuses"])
    records.results[case.key].rows["convlens"].times = [0.021, 0.022, 0.024, 0.024, 0.025, 0.026]
    libraries = _libraries(compare, "convlens", "fast", "ours")
    tables = compare["tables"]
    text = tables.section(records.runs, records.results, libraries)
    assert "| `resnet18 n1 t1` | 6 | 24 [21.5 25.5] | 20 [20 20] **1.20 (1.05 1.30)** | 5 [5 5] 4.80" in text
    assert "| forward | 1 | 1 | 1 | 1.20 | 1 |" in text
    assert "processor, 2 cores" in text
    page = f"before\n{tables.COMPARED}\nold\n{tables.COMPARED_END}\nafter\n"
    assert tables.put(page, text) == f"before\n{text}\nafter\n"
    assert tables.put(tables.put("page\n", text), text) == f"page\n\n{text}\n"


def test_the_list_has_each_case_once_and_patterns_choose(compare):
    keys = [case.key for case in compare["cases"].cases()]
    assert len(keys) == len(set(keys))
    select = compare["cases"].select
    assert [case.key for case in select(["forward resnet18 * t2"])] == [
        "forward resnet18 n1 t2",
        "forward resnet18 n8 t2",
    ]
    with pytest.raises(ValueError, match="fits no case"):
        select(["forward lenet"])


def test_every_group_has_convlens_first_and_a_serving_process_times_it(compare, tmp_path):
    for group in dict.fromkeys(case.group for case in compare["cases"].cases()):
        assert next(iter(compare["made"].libraries(group))) == "convlens"
    handle = compare["made"].serve("layer", "convlens", 64, tmp_path)
    with pytest.raises(RuntimeError, match="prepare a case first"):
        handle("output")
    handle("prepare", compare["cases"].Case("layer", "n1 c3 h5 w5 k4 r3 s3 st1 p1 d1 g1 f32 fwd"))
    assert handle("output").shape == (1, 4, 5, 5)
    begun = time.perf_counter()
    seconds = handle("turn", 3, 1)
    assert 0 < 3 * seconds < time.perf_counter() - begun
