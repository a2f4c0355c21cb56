"""The table of methods and networks: its maps are right."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx.helper")
pytest.importorskip("torch")

pytestmark = pytest.mark.parity

table = pytest.importorskip("methods_networks")
zoo = pytest.importorskip("zoo")


@pytest.mark.parametrize("name", table.NETWORKS)
def test_every_map_is_its_oracles(name):
    case = table.Case(name)
    cells = {method: case.cell(method) for method in table.METHODS}
    errors = {}
    for method, cell in cells.items():
        if cell.values is None:
            continue
        want = case.oracle(method)
        assert cell.values.shape == want.shape
        assert np.abs(want).max() > 0
        errors[method] = float(np.abs(cell.values - want).max() / np.abs(want).max())
    assert max(errors.values()) <= table.SHARE, errors
