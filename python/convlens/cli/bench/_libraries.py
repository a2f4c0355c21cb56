"""The libraries that are timed: a row each."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import _ncnn, _numpy, _onnx, _ours, _torch
from ._call import Call, Make
from ._case import case_of


@dataclass(frozen=True)
class Library:
    """One way to compute a case.

    ``modules`` must be installed; the first names the distribution whose version is reported. ``make(case, threads)``
    returns the call to time, or raises UnsupportedError. ``note`` says what its call includes.
    """

    make: Make
    modules: tuple[str, ...]
    note: str

    @property
    def installed(self) -> bool:
        """Whether all of it can be imported."""
        return all(importlib.util.find_spec(module) is not None for module in self.modules)

    @property
    def version(self) -> str:
        """Of the distribution, as pip knows it."""
        from ... import __version__

        return __version__ if self.modules[0] == "convlens" else importlib.metadata.version(self.modules[0])


#: The first is compared with all the others.
LIBRARIES = {
    "convlens": Library(_ours.layer, ("convlens",), "a network of one layer, or a network: weights packed once"),
    "convlens_ops": Library(_ours.ops, ("convlens",), "`convlens.ops`: weights packed in every call"),
    "numpy": Library(_numpy.make, ("numpy",), "NumPy's best: im2col with BLAS, slices"),
    "torch": Library(_torch.make, ("torch",), "eager, contiguous"),
    "torch_channels_last": Library(_torch.make_channels_last, ("torch",), "eager, tensors channels-last beforehand"),
    "onnxruntime": Library(_onnx.make_onnxruntime, ("onnxruntime", "onnx"), "weights packed once"),
    "openvino": Library(_onnx.make_openvino, ("openvino", "onnx"), "weights packed once"),
    "ncnn": Library(_ncnn.make, ("ncnn",), "weights packed once; a call for each image, as it has no batch"),
}
OURS = ("convlens", "convlens_ops")


def library(name: str, threads: int) -> Callable[..., Any]:
    """Answer a library's messages, in its process.

    ``"prepare", text, n`` makes a case; ``"output"`` gives its result; ``"time", count, warm`` makes `count` timed
    calls after `warm` others, and gives the seconds of one.
    """
    call: Call | None = None

    def handle(message: str, *arguments: Any) -> Any:
        nonlocal call
        if message == "prepare":
            call = None  # before the next one takes memory
            call = LIBRARIES[name].make(case_of(*arguments), threads)
            return None
        if call is None:
            raise RuntimeError("prepare a case first")
        if message == "output":
            return call.array(call.run())
        count, warm = arguments
        run = call.run
        for _ in range(warm):
            run()
        begun = time.perf_counter()
        for _ in range(count):
            run()
        return (time.perf_counter() - begun) / count

    return handle
