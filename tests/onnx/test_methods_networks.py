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
def cells():
    return {}


@pytest.mark.parametrize("name", table.NETWORKS)
def test_every_map_is_its_oracles(name, cells):
    case = table.Case(name)
    cells[name] = {method: case.cell(method) for method in table.METHODS}
    errors = {}
    for method, cell in cells[name].items():
        if cell.values is None:
            continue
        want = case.oracle(method)
        assert cell.values.shape == want.shape
        assert np.abs(want).max() > 0
        errors[method] = float(np.abs(cell.values - want).max() / np.abs(want).max())
    assert max(errors.values()) <= table.SHARE, errors


def test_the_page_is_current(cells):
    if set(cells) != set(table.NETWORKS):
        cells = {name: {m: table.Case(name).cell(m) for m in table.METHODS} for name in table.NETWORKS}
    assert table.page({name: cells[name] for name in table.NETWORKS}) == table.PAGE.read_text(encoding="utf-8"), (
        "run PYTHONPATH=tests:tests/onnx python tests/onnx/methods_networks.py"
    )
