"""The package's flat namespace."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import convlens as cl


@pytest.mark.parametrize("name", cl.__all__)
def test_every_name_is_there(name):
    if name == "plot":
        pytest.importorskip("matplotlib")
    assert getattr(cl, name) is not None
    assert name in dir(cl)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        cl.nonsense  # noqa: B018


def test_versions_of_package_core_and_project_agree():
    from convlens._core import info

    assert info()["version"] == cl.__version__
    project = Path(__file__).parents[1] / "pyproject.toml"
    assert re.search(r'^version = "(.*)"$', project.read_text(), re.MULTILINE)[1] == cl.__version__


def test_threads_are_set_and_read_back():
    before = cl.get_num_threads()
    try:
        cl.set_num_threads(3)
        assert cl.get_num_threads() == 3
    finally:
        cl.set_num_threads(before)
