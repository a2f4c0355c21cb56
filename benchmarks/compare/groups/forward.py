"""A network's answer to images: convlens and every engine from the same ONNX file, PyTorch from its module."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from convlens.cli.bench import session_options

from ..cases import Case
from ..made import Library, Made
from ..networks import INPUT, images, module, onnx_file


def convlens(case: Case, folder: Path) -> Made:
    import convlens as cl

    cl.ops.set_num_threads(case.threads)
    net, x = cl.load(onnx_file(folder, case.subject)), images(case.subject, case.n)
    return Made(lambda: net(x))


def torch(case: Case, folder: Path, *, channels_last: bool = False) -> Made:
    import torch

    torch.set_num_threads(case.threads)
    made, x = module(folder, case.subject), torch.from_numpy(images(case.subject, case.n))
    if channels_last:
        made, x = made.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)

    def run() -> Any:
        with torch.inference_mode():
            return made(x)

    return Made(run)


def torch_channels_last(case: Case, folder: Path) -> Made:
    return torch(case, folder, channels_last=True)


def session(case: Case, folder: Path, threads: int) -> Any:
    """ONNX Runtime's."""
    import onnxruntime

    file = str(onnx_file(folder, case.subject))
    return onnxruntime.InferenceSession(file, session_options(threads), providers=["CPUExecutionProvider"])


def onnxruntime(case: Case, folder: Path) -> Made:
    made, feeds = session(case, folder, case.threads), {INPUT: images(case.subject, case.n)}
    return Made(lambda: made.run(None, feeds), lambda outputs: outputs[0])


def request(case: Case, folder: Path, hint: str = "LATENCY") -> Any:
    """OpenVINO's, compiled for the number of images, in float32."""
    import openvino

    core = openvino.Core()
    read = core.read_model(str(onnx_file(folder, case.subject)))
    read.reshape([case.n, *images(case.subject, 1).shape[1:]])
    settings = {
        "PERFORMANCE_HINT": hint,
        "INFERENCE_NUM_THREADS": case.threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    if hint == "LATENCY":
        settings["NUM_STREAMS"] = 1
    return core.compile_model(read, "CPU", settings)


def openvino(case: Case, folder: Path) -> Made:
    import openvino

    made = request(case, folder).create_infer_request()
    x = images(case.subject, case.n)
    made.set_input_tensor(openvino.Tensor(x, shared_memory=True))

    def run() -> Any:
        made.infer()
        return made

    return Made(run, lambda done: np.array(done.get_output_tensor().data), keep=x)


def ncnn(case: Case, folder: Path) -> Made:
    """From the graph that convlens read, batch norm folded; ncnn has no batch: a call for each image."""
    from convlens.cli.bench import LIBRARIES as KERNELS
    from convlens.cli.bench import case_of

    read = case_of(str(onnx_file(folder, case.subject)), case.n)
    call = KERNELS["ncnn"].make(dataclasses.replace(read, arrays={"x": images(case.subject, case.n)}), case.threads)
    return Made(call.run, call.array, keep=call)


LIBRARIES = {
    "convlens": Library(convlens, ("convlens",), "`convlens.load` of the ONNX file"),
    "torch": Library(torch, ("torch", "torchvision"), "eager, inference mode"),
    "torch_channels_last": Library(torch_channels_last, ("torch", "torchvision"), "the same, channels-last"),
    "onnxruntime": Library(onnxruntime, ("onnxruntime",), "all graph optimisations"),
    "openvino": Library(openvino, ("openvino",), "latency hint, one stream, float32"),
    "ncnn": Library(ncnn, ("ncnn",), "float32; a call for each image, as it has no batch"),
}
