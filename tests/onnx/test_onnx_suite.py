"""The node tests of the onnx package, and the files that it ships, over every operator that imports."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("onnx.helper")

from onnx_suite import cases, run


def _left_out() -> dict[str, str]:
    """The reason for each case that is left out, by its name."""
    found, reason = {}, ""
    for line in Path(__file__).with_name("left_out.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            found[line.strip()] = reason
        elif not line.startswith("#"):
            reason = line.rstrip(":")
    return found


LEFT_OUT = _left_out()
_CASES = cases()


@pytest.mark.parametrize("case", _CASES, ids=lambda case: f"{case.kind}-{case.name}")
def test_case_of_the_onnx_suite(case):
    reason = LEFT_OUT.get(case.name)
    if reason is None:
        run(case)
        return
    try:
        way = run(case)
    except AssertionError:
        pytest.skip(reason)
    pytest.fail(f"it passes ({way}); take it from left_out.txt")


def test_suite_is_there(capsys):
    counts = Counter(case.kind for case in _CASES if case.name not in LEFT_OUT)
    left_out = Counter(LEFT_OUT[case.name] for case in _CASES if case.name in LEFT_OUT)
    with capsys.disabled():
        print(f"\nonnx suite: {sum(counts.values())} cases of operators that import, {dict(counts)}; left out:")
        for reason, count in left_out.most_common():
            print(f"  {count} {reason}")
    assert counts["node"] > 550
    assert counts["pytorch-converted"] > 60
    assert counts["pytorch-operator"] > 30
