"""Mutated files and bombs do no harm: hostile_files.py bounds memory and watches for imports and execution."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="bounds memory as Linux does"),
]


def _outcomes(kind, count):
    script = Path(__file__).with_name("hostile_files.py")
    command = [sys.executable, script, kind, str(count)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr
    outcomes = json.loads(ran.stdout)
    assert outcomes["read"] + outcomes["ValueError"] + outcomes.get("UnsupportedError", 0) == outcomes["files"]
    assert "forbidden" not in outcomes
    return outcomes


def test_ten_thousand_mutated_checkpoints_do_no_harm():
    outcomes = _outcomes("checkpoints", 10_000)
    assert outcomes["files"] == 10_000
    assert outcomes["slowest_ms"] < 5_000
    # The mutations reach what they are meant for.
    assert outcomes["begun"] > 8_000
    assert outcomes["ended"] > 1_500
    assert outcomes["read"] > 500
    assert outcomes["UnsupportedError"] > 50


def test_checkpoints_that_ask_for_much_get_little():
    outcomes = _outcomes("bombs", 0)
    assert outcomes["files"] == 27
    # One storage under a thousand names.
    assert outcomes["read"] == 1
    assert outcomes["slowest_ms"] < 60_000


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_mutated_networks_do_no_harm(kind):
    if kind == "safetensors":
        pytest.importorskip("safetensors")
    outcomes = _outcomes(kind, 5_000)
    assert outcomes["slowest_ms"] < 5_000
    assert outcomes["begun"] > 1_000
    assert outcomes["read"] > 50
