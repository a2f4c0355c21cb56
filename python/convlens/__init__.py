"""Convolutional networks on the CPU, and why they answered as they did.

``nn`` builds networks, ``train`` fits them, ``explain`` shows what an answer rests on, ``diagnose`` where a network
fails, ``plot`` draws it, ``image`` reads photographs; ``ops`` are the kernels on NumPy arrays and ``reference`` their
plain NumPy oracle.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._errors import UnsupportedError as UnsupportedError

if TYPE_CHECKING:
    from . import diagnose as diagnose
    from . import explain as explain
    from . import graph as graph
    from . import image as image
    from . import nn as nn
    from . import onnx as onnx
    from . import ops as ops
    from . import perturb as perturb
    from . import plot as plot
    from . import program as program
    from . import reference as reference
    from . import train as train
    from . import transform as transform
    from ._core import get_num_threads as get_num_threads
    from ._core import set_num_threads as set_num_threads
    from ._load import load as load
    from .nn import Network as Network

__version__ = "0.1.0"


def _load_core() -> None:
    """Load the kernels so that threads with nothing to do sleep after 0.2 to 0.5 ms.

    GCC's OpenMP otherwise lets them spin for 5 ms after a region; on a busy machine that takes the time of whoever
    works: beside two other processes on two cores, a training step of 12 ms took 48. What spins for 0.1 ms sleeps
    between two calls that follow each other, and to wake it takes 20 to 130 us. The setting is read once, when its
    library loads, and PyTorch may share that: its convolutions took twice the time with 0.1 ms, and the same with this.
    One that the caller made stays. `runtime/work.hpp` counts on it.
    """
    brief = {"GOMP_SPINCOUNT": "10000"} if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys() else {}
    os.environ.update(brief)
    try:
        import_module("._core", __name__)
    finally:
        for name in brief:
            del os.environ[name]


_load_core()

# Imported when first used: `import convlens` stays quick, and drawing needs Matplotlib only when something is drawn.
_MODULES = (
    *("diagnose", "explain", "graph", "image", "nn", "onnx", "ops"),
    *("perturb", "plot", "program", "reference", "train", "transform"),
)
_HOMES = {"Network": "nn", "load": "_load", "get_num_threads": "_core", "set_num_threads": "_core"}

__all__ = ["UnsupportedError", "__version__", *_HOMES, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module 'convlens' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
