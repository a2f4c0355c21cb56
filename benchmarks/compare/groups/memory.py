"""Bytes, in MB of 10^6: packed weights, what a gradient works in, and how far a call raises a process's memory.

``packed_*`` is weights packed after a forward pass, or after one with its gradient, beside the size of the file that
they come from, ``packed_low`` the latter with ``memory="low"``; ``gradient_arena`` is what the Program of a gradient
plans (PyTorch plans none: what the resident memory grows by); ``*_peak`` is how far loading the network and one call
raise the resident memory, weights included, ``low_peak`` a forward pass with ``memory="low"``.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..cases import Case
from ..made import Library, Made, refuse
from ..networks import images, module, onnx_file
from . import forward
from .explain import TARGET

MB = 1e6


def _status(name: str) -> float:
    """A line of /proc/self/status, in MB."""
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        raise refuse("this system", "/proc/self/status") from None
    return int(re.findall(rf"{name}:\s+(\d+) kB", text)[0]) * 1024 / MB


def _rise(call: Callable[[], Any]) -> float:
    """How far a call raises the peak above what was resident before it."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    call()
    return _status("VmHWM") - before


def _once(value: Callable[[], float]) -> Made:
    return Made(value, None, value)


def convlens(case: Case, folder: Path) -> Made:
    import convlens as cl

    cl.ops.set_num_threads(case.threads)
    file, x, target = onnx_file(folder, case.subject), images(case.subject, 1), np.array([TARGET])

    def used(*, gradient: bool, memory: str = "fast") -> Any:
        net = cl.load(file, memory=memory)
        if gradient:
            cl.explain.saliency(net, x, target)
        else:
            net(x)
        return net

    def arena() -> float:
        programs = used(gradient=True)._programs._programs.values()
        return max(program.arena_bytes(1, case.threads) for program in programs) / MB

    values: dict[str, Callable[[], float]] = {
        "packed_forward": lambda: used(gradient=False).weights.nbytes / MB,
        "packed_low": lambda: used(gradient=True, memory="low").weights.nbytes / MB,
        "packed_gradient": lambda: used(gradient=True).weights.nbytes / MB,
        "gradient_arena": arena,
        "forward_peak": lambda: _rise(lambda: used(gradient=False)),
        "low_peak": lambda: _rise(lambda: used(gradient=False, memory="low")),
        "gradient_peak": lambda: _rise(lambda: used(gradient=True)),
    }
    return _once(values[case.what])


def file(case: Case, folder: Path) -> Made:
    """The ONNX file itself."""
    if not case.what.startswith("packed"):
        raise refuse("a file", case.what)
    return _once(lambda: onnx_file(folder, case.subject).stat().st_size / MB)


def torch(case: Case, folder: Path) -> Made:
    import torch

    if case.what.startswith("packed"):
        raise refuse("PyTorch", "packed weights")
    if case.what == "low_peak":
        raise refuse("PyTorch", case.what)
    torch.set_num_threads(case.threads)
    x = torch.from_numpy(images(case.subject, 1))

    def gradient(made: Any) -> None:
        given = x.clone().requires_grad_()
        torch.autograd.grad(made(given)[0, TARGET], given)

    def answer(made: Any) -> None:
        with torch.inference_mode():
            made(x)

    def arena() -> float:
        made = module(folder, case.subject)
        answer(made)
        return _rise(lambda: gradient(made))

    values: dict[str, Callable[[], float]] = {
        "gradient_arena": arena,
        "forward_peak": lambda: _rise(lambda: answer(module(folder, case.subject))),
        "gradient_peak": lambda: _rise(lambda: gradient(module(folder, case.subject))),
    }
    return _once(values[case.what])


def _engine(make: Callable[[Case, Path], Made]) -> Callable[[Case, Path], Made]:
    def made(case: Case, folder: Path) -> Made:
        if case.what != "forward_peak":
            raise refuse("this engine", case.what)
        return _once(lambda: _rise(lambda: make(case, folder).run()))

    return made


LIBRARIES = {
    "convlens": Library(convlens, ("convlens", "onnx"), "from the ONNX file"),
    "file": Library(file, (), "the ONNX file", peer=False),
    "torch": Library(torch, ("torch", "torchvision"), "from its state dict"),
    "onnxruntime": Library(_engine(forward.onnxruntime), ("onnxruntime",), "from the ONNX file"),
    "openvino": Library(_engine(forward.openvino), ("openvino",), "from the ONNX file"),
}
