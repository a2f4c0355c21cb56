"""The onnx package, imported when a file is read and not before."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def onnx_package(name: str = "onnx") -> Any:
    """Import a module of the onnx package, or say which command installs it."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError('ONNX files need an extra: pip install "convlens[onnx]"') from error
