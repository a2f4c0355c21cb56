"""Every model of the onnx package's suite that imports: the same graph, and the same bytes, after export and import."""

from __future__ import annotations

import pytest

pytest.importorskip("onnx.helper")

from onnx_models import unchanged, valid
from onnx_suite import cases

import convlens as cl
from convlens.onnx._package import schema_of


def _check(model, batched):
    """Whether a model imports; if it does, it must come back."""
    try:
        first = cl.onnx.import_model(model, batched=batched).graph
    except (ValueError, cl.UnsupportedError):
        return False
    written = valid(cl.onnx.to_model(first))
    if any(schema_of(node.op) is None for node in first.nodes):
        return True  # quantised: written out in ONNX's operators
    again = cl.onnx.import_model(written, batched=batched).graph
    unchanged(first, again)
    data = written.SerializeToString(deterministic=True)
    assert cl.onnx.to_model(again).SerializeToString(deterministic=True) == data
    return True


@pytest.mark.slow
@pytest.mark.parametrize("batched", [True, False])
def test_models_are_the_same_after_export_and_import(batched):
    failures, count = {}, 0
    for case in cases():
        try:
            count += _check(case.model, batched)
        except Exception as error:
            failures[case.name] = f"{type(error).__name__}: {str(error)[:400]}"
    assert not failures
    assert count > 300
