from __future__ import annotations

import pytest

from convlens import _core


@pytest.fixture(params=[row["name"] for row in _core.info()["isas"] if not row["lacking"]])
def isa(request):
    """Each instruction set of this build that this processor runs."""
    before = _core.info()["isa"]
    _core.select_isa(request.param)
    yield request.param
    _core.select_isa(before)
