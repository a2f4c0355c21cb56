"""A small network, quantised by hand (QuantizeLinear and DequantizeLinear) or by ONNX Runtime's quantiser."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from onnx_models import model, node

import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

SHAPE = ("batch", 3, 12, 10)


def images(n: int, seed: int = 9) -> np.ndarray:
    """Normal numbers, as the calibration has them."""
    return np.random.default_rng(seed).standard_normal((n, *SHAPE[1:])).astype(np.float32)


def network() -> ModelProto:
    """Convolutions (one depthwise), a residual sum, pools of both kinds, a sigmoid, a join, and a layer of classes."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (8, 3, 3, 3), "wd": (8, 1, 3, 3), "w2": (8, 8, 1, 1), "w3": (12, 8, 3, 3), "fc": (10, 20)}
    weights = {name: rng.standard_normal(s) / np.sqrt(np.prod(s[1:])) for name, s in shapes.items()}
    weights |= {f"{name}.bias": rng.standard_normal(len(w)) for name, w in weights.items()}
    same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", "x w1 w1.bias", "c1", "conv1", **same),
        node("Relu", "c1", "r1", "relu1"),
        node("Conv", "r1 wd wd.bias", "cd", "depthwise", group=8, **same),
        node("Relu", "cd", "rd", "relud"),
        node("Conv", "rd w2 w2.bias", "c2", "conv2", kernel_shape=[1, 1]),
        node("Add", "c2 r1", "s", "sum"),
        node("Relu", "s", "rs", "relus"),
        node("MaxPool", "rs", "p", "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "p w3 w3.bias", "c3", "conv3", **same),
        node("Sigmoid", "c3", "g3", "sigmoid"),
        node("AveragePool", "p", "ap", "mean", **same),
        node("Concat", "g3 ap", "cat", "join", axis=1),
        node("GlobalAveragePool", "cat", "gap", "gap"),
        node("Flatten", "gap", "f", "flatten"),
        node("Gemm", "f fc fc.bias", "y", "classes", transB=1),
    ]
    return model(nodes, SHAPE, weights={k: w.astype(np.float32) for k, w in weights.items()}, opset=17)


class _Calibration:
    def __init__(self) -> None:
        self._left = iter([{"x": images(4, seed)} for seed in range(4)])

    def get_next(self) -> Any:
        return next(self._left, None)


@cache
def quantised(folder: Path, form: str, types: str, per_channel: bool) -> bytes:
    """The network by ONNX Runtime's quantiser: `form` QDQ, QOperator or dynamic; `types` of activations and weights."""
    from onnxruntime import quantization as q

    before, after = folder / "float.onnx", folder / "quantised.onnx"
    onnx.save(network(), before)
    kind = {"U": q.QuantType.QUInt8, "S": q.QuantType.QInt8}
    logging.disable(logging.WARNING)
    try:
        if form == "dynamic":
            q.quantize_dynamic(before, after, weight_type=kind[types[1]], per_channel=per_channel)
        else:
            q.quantize_static(
                before,
                after,
                _Calibration(),
                quant_format=q.QuantFormat[form],
                activation_type=kind[types[0]],
                weight_type=kind[types[1]],
                per_channel=per_channel,
            )
    finally:
        logging.disable(logging.NOTSET)
    return after.read_bytes()


def pair(x: str, y: str, scale: str, zero: str, **attributes: Any) -> list[Any]:
    """QuantizeLinear and DequantizeLinear from tensor `x` to `y`; between them is ``y.q``."""
    return [
        node("QuantizeLinear", f"{x} {scale} {zero}", f"{y}.q", f"{y}.quantize", **attributes),
        node("DequantizeLinear", f"{y}.q {scale} {zero}", y, f"{y}.dequantize", **attributes),
    ]


def by_hand(*, relu: bool = False, tail: tuple[Any, ...] = ()) -> tuple[ModelProto, dict[str, np.ndarray]]:
    """A quantised convolution per channel, saturated at its zero point, a pool and a layer of classes, and its weights.

    `relu` keeps the ReLU that saturation stands for; scales are powers of 2 times whole numbers, exact in any type.
    """
    rng = np.random.default_rng(1)
    weights: dict[str, np.ndarray] = {
        "w.q": rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
        "w.scale": np.array([3, 5, 4, 7], np.float32) / 1024,
        "w.zero": np.zeros(4, np.int8),
        "b.q": rng.integers(-2000, 2000, 4).astype(np.int32),
        "b.scale": np.array([3, 5, 4, 7], np.float32) / 1024 / 32,
        "fc.q": rng.integers(0, 256, (5, 4)).astype(np.uint8),
        "fc.scale": np.float32(1 / 128),
        "fc.zero": np.uint8(131),
        "x.scale": np.float32(1 / 32),
        "x.zero": np.uint8(120),
        "h.scale": np.float32(3 / 128),
        "h.zero": np.uint8(0),
        "p.scale": np.float32(1 / 64),
        "p.zero": np.uint8(10),
    }
    nodes = [
        *pair("x", "xr", "x.scale", "x.zero"),
        node("DequantizeLinear", "w.q w.scale w.zero", "w", axis=0),
        node("DequantizeLinear", "b.q b.scale", "b", axis=0),
        node("Conv", "xr w b", "c", "conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        *([node("Relu", "c", "r", "relu")] if relu else []),
        *pair("r" if relu else "c", "h", "h.scale", "h.zero"),
        node("GlobalAveragePool", "h", "g", "gap"),
        *pair("g", "p", "p.scale", "p.zero"),
        node("Flatten", "p", "f", "flatten"),
        node("DequantizeLinear", "fc.q fc.scale fc.zero", "fc"),
        node("Gemm", "f fc", "y", "classes", transB=1),
        *tail,
    ]
    return model(nodes, ("batch", 3, 8, 6), weights=weights, opset=17), weights


def operator(
    op: str,
    inputs: str,
    weights: dict[str, np.ndarray],
    shape: tuple[Any, ...],
    *,
    domain: str = "",
    kind: int = TensorProto.UINT8,
    outputs: str = "y",
    **attributes: Any,
) -> ModelProto:
    """One quantised operator over the input "x"."""
    made = helper.make_node(op, inputs.split(), outputs.split(), name="node", domain=domain, **attributes)
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    given = [helper.make_tensor_value_info("x", kind, shape)]
    ends = [helper.make_empty_tensor_value_info(name) for name in outputs.split()]
    graph = helper.make_graph([made], "graph", given, ends, stored)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)
