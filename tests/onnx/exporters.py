"""PyTorch's two exporters: `script`, the older, which traces, and `dynamo`."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")

EXPORTERS = ("script", "dynamo")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The exporters speak a lot."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def by_script(net: Any, shape: tuple[int, ...], *, open_batch: bool = True, folded: bool = True) -> bytes:
    """The file's bytes; `folded` merges batch-norms into convolutions, as the exporter does unless told otherwise."""
    file = io.BytesIO()
    mode = torch.onnx.TrainingMode.EVAL if folded else torch.onnx.TrainingMode.PRESERVE
    axes = {"x": {0: "n"}} if open_batch else None
    options = {"input_names": ["x"], "dynamic_axes": axes, "training": mode, "do_constant_folding": folded}
    with quiet():
        torch.onnx.export(net, torch.randn(1, *shape), file, dynamo=False, **options)
    return file.getvalue()


def by_dynamo(net: Any, shape: tuple[int, ...], *, open_batch: bool = True) -> tuple[bytes, bytes]:
    """The file's bytes as the graph was translated, and as it is after the exporter's optimiser."""
    if importlib.util.find_spec("onnxscript") is None:
        pytest.skip("the newer exporter needs onnxscript")
    dims = ({0: torch.export.Dim("n")},) if open_batch else None
    example = (torch.randn(2 if open_batch else 1, *shape),)
    with quiet():
        made = torch.onnx.export(net, example, dynamo=True, dynamic_shapes=dims, optimize=False, verbose=False)
        plain = made.model_proto.SerializeToString()
        made.optimize()
        return plain, made.model_proto.SerializeToString()
