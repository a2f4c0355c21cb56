"""ncnn, given the case in its own two files: layers as text, weights one after the other."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import UnsupportedError
from ...graph import Graph, Node, attribute, window_of
from ._call import Call, forward_only, has_both_bounds, unsupported
from ._case import Case
from ._fold import fold_batch_norm

Array = npt.NDArray[Any]
_MAGIC = "7767517"
#: Half precision is another computation.
_OFF = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage", "use_vulkan_compute")


def make(case: Case, threads: int) -> Call:
    """Its images are ncnn's own before the clock starts; a call for each."""
    import ncnn

    forward_only("ncnn", case)
    if case.dtype != "float32":
        raise UnsupportedError("ncnn computes in float32 at most")
    graph = fold_batch_norm(case.graph)
    text, weights = files(graph)
    net = ncnn.Net()
    net.opt.num_threads = threads
    if os.environ.get("OMP_WAIT_POLICY") == "passive":
        net.opt.openmp_blocktime = 0
    for name in _OFF:
        if hasattr(net.opt, name):
            setattr(net.opt, name, False)
    with tempfile.TemporaryDirectory() as folder:
        param, data = Path(folder, "case.param"), Path(folder, "case.bin")
        param.write_text(text, encoding="ascii")
        data.write_bytes(weights)
        if net.load_param(str(param)) or net.load_model(str(data)):
            raise RuntimeError("ncnn refuses the files")
    images = [ncnn.Mat(image).clone() for image in case.arrays["x"]]
    source, output = next(iter(graph.inputs)), graph.outputs[0]

    def run() -> list[Any]:
        found = []
        for image in images:
            extractor = net.create_extractor()
            extractor.input(source, image)
            found.append(extractor.extract(output)[1])
        return found

    shape = graph.types[output].per_image
    return Call(run, lambda mats: np.stack([np.array(mat).reshape(shape) for mat in mats]))


def files(graph: Graph) -> tuple[str, bytes]:
    """The text of ``.param`` and the bytes of ``.bin``."""
    writer = _Writer(graph)
    return writer.text(), b"".join(writer.data)


class _Writer:
    """Writes layers in order; a tensor that several layers read goes through a Split: a blob has one reader."""

    def __init__(self, graph: Graph) -> None:
        self.data: list[bytes] = []
        self._graph = graph
        self._consumers = graph.consumers()
        self._lines: list[str] = []
        self._blobs = 0
        self._copies: dict[str, list[str]] = {}
        self._fused = set[str]()
        (name,) = graph.inputs
        self._layer("Input", name, [], name, {})
        for node in graph.nodes:
            if node.name not in self._fused:
                self._node(node)

    def text(self) -> str:
        return "\n".join([_MAGIC, f"{len(self._lines)} {self._blobs}", *self._lines, ""])

    def _layer(self, kind: str, name: str, inputs: Sequence[str], output: str, values: dict[int, Any]) -> None:
        sources = [self._copies[i].pop() if self._copies.get(i) else i for i in inputs]
        words = [f"{key}={value}" for key, value in values.items()]
        self._lines.append(" ".join([kind, name, str(len(sources)), "1", *sources, output, *words]))
        self._blobs += 1
        readers = sum(node.inputs.count(output) for node in self._consumers.get(output, []))
        if readers > 1:
            copies = [f"{output}_{i}" for i in range(readers)]
            self._lines.append(" ".join(["Split", f"{output}_split", "1", str(readers), output, *copies]))
            self._blobs += readers
            self._copies[output] = copies

    def _constant(self, name: str) -> Array:
        if name not in self._graph.constants:
            raise UnsupportedError(f"ncnn has no layer for computed weights ({name})")
        return np.ascontiguousarray(self._graph.constants[name], np.float32)

    def _activation(self, node: Node) -> tuple[str, dict[int, Any]]:
        """The activation that alone follows a node, as the node's own parameters, and the tensor it makes."""
        output = node.outputs[0]
        users = self._consumers.get(output, [])
        if len(users) == 1 and output not in self._graph.outputs and users[0].op in ("Relu", "Clip"):
            user = users[0]
            self._fused.add(user.name)
            return user.outputs[0], {9: 1} if user.op == "Relu" else {9: 3, -23310: self._bounds(user, "2,{},{}")}
        return output, {}

    def _bounds(self, node: Node, form: str) -> str:
        if not has_both_bounds(node):
            raise unsupported("ncnn", "Clip with one bound")
        low, high = (self._constant(name).item() for name in node.inputs[1:])
        return form.format(low, high)

    def _node(self, node: Node) -> None:
        x, output = node.inputs[0], node.outputs[0]
        if node.op == "Conv":
            self._conv(node)
        elif node.op in ("MaxPool", "AveragePool"):
            window = window_of(node, self._graph.types)
            kind = int(node.op == "AveragePool")
            if window.dilation != (1, 1) or (window.ceil_mode and kind):
                raise unsupported("ncnn", f"{node.op} with dilation or ceil_mode")
            values = {0: kind, 1: window.kernel[1], 11: window.kernel[0], 2: window.stride[1], 12: window.stride[0]}
            top, left, bottom, right = window.pads
            rounding = {5: 0 if window.ceil_mode else 1}
            counted = {6: int(attribute(node, "count_include_pad"))} if kind else {}
            self._layer(
                "Pooling",
                output,
                [x],
                output,
                {**values, 3: left, 13: top, 14: right, 15: bottom, **rounding, **counted},
            )
        elif node.op == "Gemm":
            weight = self._constant(node.inputs[1])
            if attribute(node, "alpha") != 1 or attribute(node, "beta") != 1 or attribute(node, "transA"):
                raise unsupported("ncnn", "Gemm with alpha, beta or transA")
            weight = np.ascontiguousarray(weight if attribute(node, "transB") else weight.T)
            bias = self._bias(node, len(weight))
            output, extra = self._activation(node)
            self._layer("InnerProduct", output, [x], output, {0: len(weight), 1: 1, 2: weight.size, **extra})
            self._write(weight, bias)
        elif node.op == "Softmax" and attribute(node, "axis") in (1, -1) and len(self._graph.types[x].shape) == 2:
            self._layer("Softmax", output, [x], output, {0: 0, 1: 1})
        elif node.op == "Add" and not {x, node.inputs[1]} & set(self._graph.constants):
            self._layer("BinaryOp", output, node.inputs, output, {0: 0})
        elif node.op == "Clip":
            low, high = self._bounds(node, "{} {}").split()
            self._layer("Clip", output, [x], output, {0: low, 1: high})
        elif node.op == "Pad" and attribute(node, "mode") == "constant" and self._pads_with_zero(node):
            before, after = self._constant(node.inputs[1]).astype(int).reshape(2, -1)
            self._layer("Padding", output, [x], output, dict(enumerate((before[2], after[2], before[3], after[3]))))
        elif node.op == "Concat" and attribute(node, "axis") == 1:
            self._layer("Concat", output, node.inputs, output, {0: 0})
        elif node.op == "Reshape" and len(self._graph.types[output].shape) == 2:
            self._layer("Flatten", output, [x], output, {})
        elif node.op == "GlobalAveragePool":
            self._layer("Pooling", output, [x], output, {0: 1, 4: 1})
        elif node.op in ("Relu", "Sigmoid", "Flatten"):
            kind_of = {"Relu": "ReLU", "Sigmoid": "Sigmoid", "Flatten": "Flatten"}
            self._layer(kind_of[node.op], output, [x], output, {})
        else:
            raise unsupported("ncnn", node.op)

    def _pads_with_zero(self, node: Node) -> bool:
        value = node.inputs[2] if len(node.inputs) > 2 else ""
        return len(node.inputs) < 4 and (not value or self._constant(value).item() == 0)

    def _conv(self, node: Node) -> None:
        window, weight = window_of(node, self._graph.types), self._constant(node.inputs[1])
        groups = int(attribute(node, "group"))
        top, left, bottom, right = window.pads
        output, extra = self._activation(node)
        values = {0: len(weight), 1: window.kernel[1], 11: window.kernel[0]}
        values |= {2: window.dilation[1], 12: window.dilation[0], 3: window.stride[1], 13: window.stride[0]}
        values |= {4: left, 14: top, 15: right, 16: bottom, 5: 1, 6: weight.size}
        kind = "Convolution"
        if groups > 1:
            kind, values = "ConvolutionDepthWise", {**values, 7: groups}
        self._layer(kind, output, [node.inputs[0]], output, {**values, **extra})
        self._write(weight, self._bias(node, len(weight)))

    def _bias(self, node: Node, count: int) -> Array:
        given = len(node.inputs) > 2 and node.inputs[2]
        return self._constant(node.inputs[2]).reshape(count) if given else np.zeros(count, np.float32)

    def _write(self, weight: Array, bias: Array) -> None:
        """A word that says float32, the weights, the biases."""
        self.data += [np.int32(0).tobytes(), weight.tobytes(), bias.tobytes()]
