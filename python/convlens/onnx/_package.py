"""The onnx package, imported when a file is read or written and not before."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any

#: The graph's operators are those of this opset.
OPSET = 21


def onnx_package(name: str = "onnx") -> Any:
    """Import a module of the onnx package, or say which command installs it."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError('ONNX files need an extra: pip install "convlens[onnx]"') from error


@functools.cache
def schema_of(op: str) -> Any:
    """ONNX's description of an operator in the pinned opset, None where it has none."""
    defs = onnx_package("onnx.defs")
    return defs.get_schema(op, OPSET, "") if defs.has(op, OPSET, "") else None
