"""From an ONNX file, in the page cache, to a network, and to its first answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..cases import Case
from ..made import Library, Made, refuse
from ..networks import INPUT, images, onnx_file
from . import forward


def convlens(case: Case, folder: Path) -> Made:
    import convlens as cl

    cl.ops.set_num_threads(case.threads)
    file, x = onnx_file(folder, case.subject), images(case.subject, case.n)
    if case.what == "load":
        return Made(lambda: cl.load(file), None)
    return Made(lambda: cl.load(file)(x))


def onnx(case: Case, folder: Path) -> Made:
    """The package that the file is parsed with."""
    import onnx

    if case.what != "load":
        raise refuse("onnx", "answer")
    return Made(lambda: onnx.load(onnx_file(folder, case.subject)), None)


def onnxruntime(case: Case, folder: Path) -> Made:
    if case.what == "load":
        return Made(lambda: forward.session(case, folder, case.threads), None)
    feeds = {INPUT: images(case.subject, case.n)}
    return Made(lambda: forward.session(case, folder, case.threads).run(None, feeds)[0])


def openvino(case: Case, folder: Path) -> Made:
    if case.what == "load":
        return Made(lambda: forward.request(case, folder), None)
    x = images(case.subject, case.n)
    return Made(lambda: np.array(forward.request(case, folder)(x)[0]))


LIBRARIES = {
    "convlens": Library(
        convlens, ("convlens", "onnx"), "`load` reads the file; weights are packed at the first answer"
    ),
    "onnx": Library(onnx, ("onnx",), "parses the file", peer=False),
    "onnxruntime": Library(onnxruntime, ("onnxruntime",), "a session: its weights are packed"),
    "openvino": Library(openvino, ("openvino",), "read and compiled: its weights are packed"),
}
