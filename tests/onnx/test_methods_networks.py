"""The table of methods and networks: its maps are right, and the page is current."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx.helper")
pytest.importorskip("torch")

pytestmark = pytest.mark.parity

table = pytest.importorskip("methods_networks")
zoo = pytest.importorskip("zoo")


@pytest.fixture(scope="module")
def rows():
    """What was computed so far, by network."""
    return {}


@pytest.mark.parametrize("name", table.NETWORKS)
def test_every_map_is_its_oracles(name, rows):
    case = table.Case(name)
    rows[name] = {method: case.cell(method) for method in table.METHODS}
    errors = {}
    for method, cell in rows[name].items():
        if cell.values is None:
            continue
        want = case.oracle(method)
        assert cell.values.shape == want.shape
        assert np.abs(want).max() > 0
        errors[method] = float(np.abs(cell.values - want).max() / np.abs(want).max())
    assert max(errors.values()) <= table.SHARE, errors


def test_the_page_is_current(rows):
    if set(rows) != set(table.NETWORKS):
        pytest.fail("run the whole file: the page is made of every network's row")
    assert table.page({name: rows[name] for name in table.NETWORKS}) == table.PAGE.read_text(encoding="utf-8"), (
        "run PYTHONPATH=python:tests:tests/onnx python tests/onnx/methods_networks.py"
    )
