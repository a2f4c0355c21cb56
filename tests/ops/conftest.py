from __future__ import annotations

import pytest

from convlens import _core
from convlens.ops import _call

ISAS = [row["name"] for row in _core.info()["isas"] if not row["lacking"]]


@pytest.fixture(params=ISAS)
def isa(request):
    """Each instruction set of this build that this processor runs."""
    before = _core.info()["isa"]
    _core.select_isa(request.param)
    _call.kept.clear()
    yield request.param
    _core.select_isa(before)
    _call.kept.clear()


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param
