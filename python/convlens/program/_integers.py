"""Quantised layers in whole numbers: sums of products are exact, and are scaled once, where they are rounded again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..graph import Call, Graph, Node, call_of
from ..transform import Emitter

# What moves or chooses elements: it does to the whole numbers what it does to the values they stand for.
_MOVES = frozenset({
    *("MaxPool", "GlobalMaxPool", "Flatten", "Reshape", "Transpose"),
    *("Squeeze", "Unsqueeze", "Slice", "Identity", "Dropout"),
})  # fmt: skip
_SPLIT = float(2**29 + 1)  # Veltkamp's constant: 53 - 24 bits


@dataclass(frozen=True)
class _Sums:
    """A layer's sums of whole numbers: times `x_scale` and `w_scale` they are its output.

    `w_scale` is a constant's value, or a tensor of `shape` that holds one a channel.
    """

    tensor: str
    x_scale: float
    w_scale: float | str
    shape: tuple[int, ...]


class WholeNumbers:
    """Rewrites Quantize(layer(Dequantize, Dequantize)) while a graph is copied.

    A float32 holds whole numbers up to 2**24, so a layer's sums have no rounding up to there, in any order. ONNX
    Runtime multiplies them by one float32, x scale * w scale / y scale, and rounds; so does this.
    """

    def __init__(self, graph: Graph, dtype: str) -> None:
        self._graph = graph
        self._single = dtype == "float32"
        self._producers = graph.producers()
        self._consumers = graph.consumers()
        self._sums: dict[str, _Sums] = {}
        self._steps_of: dict[tuple[str, str], str] = {}
        self._whole: dict[str, tuple[str, float]] = {}

    def lower(self, e: Emitter, node: Node) -> str | None:
        """Write the node if it is a part of a quantised layer; None leaves it to others."""
        if node.op in ("Conv", "Gemm"):
            return self._layer(e, node)
        if node.op in ("Quantize", "Div") and node.inputs[0] in self._sums and self._rounds(node):
            steps = self._steps(e, node.inputs[0], node.inputs[1])
            return steps if node.op == "Div" else quantised(e, self._call(node), steps)
        return None

    def _call(self, node: Node) -> Call:
        return call_of(node, self._graph.types, self._graph.constants)

    def _number(self, name: str) -> float | None:
        value = self._graph.constants.get(name)
        return float(value) if value is not None and value.ndim == 0 else None

    def _rounds(self, node: Node) -> bool:
        """Whether it divides by a number, and what follows is rounded."""
        if self._number(node.inputs[1]) is None:
            return False
        return node.op == "Quantize" or any(n.op == "Round" for n in self._consumers.get(node.outputs[0], ()))

    def _layer(self, e: Emitter, node: Node) -> str | None:
        y = node.outputs[0]
        if not any(n.op in ("Quantize", "Div") and self._rounds(n) for n in self._consumers.get(y, ())):
            return None
        plain = {"alpha": 1.0, "beta": 1.0, "transA": 0}
        if node.op == "Gemm" and any(self._call(node).attribute(name) != value for name, value in plain.items()):
            return None
        x, weight, *rest = (*node.inputs, "")
        bias = rest[0]
        stored = [self._producers.get(tensor) for tensor in (weight, bias) if tensor]
        if not all(n is not None and n.op == "Dequantize" and n.inputs[0] in self._graph.constants for n in stored):
            return None
        found = self._operand(e, x)
        scales = stored[0].inputs[1] if stored[0] is not None else ""
        if found is None or scales not in self._graph.constants:
            return None
        whole, x_scale = found
        channels = int(self._graph.types[y].shape[1])
        w_scale: float | str | None = self._number(scales)
        step = e.scalar(x_scale * w_scale) if isinstance(w_scale, float) else ""
        if w_scale is None:
            columns = node.op == "Gemm" and not self._call(node).attribute("transB")
            rank = len(self._graph.types[weight].shape)
            if self._graph.constants[scales].shape != (channels,) + (1,) * (0 if columns else rank - 1):
                return None  # not one an output channel
            w_scale = e.emit("Reshape", [scales, e.ints([channels])])
            step = e.mul(w_scale, e.scalar(x_scale))
        operands = [whole, self._stored(e, stored[0])]
        if bias:
            operands.append(e.emit("Round", [e.div(bias, step)]))
        shape = (channels,) + (1,) * (len(self._graph.types[y].shape) - 2)
        sums = e.emit(node.op, operands, **node.attributes)
        self._sums[y] = _Sums(sums, x_scale, w_scale, shape)
        return e.mul(sums, step if isinstance(w_scale, float) else e.emit("Reshape", [step, e.ints(shape)]))

    def _stored(self, e: Emitter, node: Node | None) -> str:
        """A constant's whole numbers, counted from its zero point."""
        assert node is not None
        return e.emit("Dequantize", [node.inputs[0], e.scalar(1.0), node.inputs[2]])

    def _operand(self, e: Emitter, name: str) -> tuple[str, float] | None:
        """The whole numbers behind a tensor, counted from its zero point, and their scale."""
        node = self._producers.get(name)
        if name in self._whole or node is None:
            return self._whole.get(name)
        found = None
        if node.op == "Dequantize" and (scale := self._number(node.inputs[1])) is not None:
            found = shifted(e, "Sub", node.inputs[0], node.inputs[2]), scale
        elif node.op in _MOVES and len(node.outputs) == 1:
            source = self._operand(e, node.inputs[0])
            if source is not None:
                found = e.emit(node.op, [source[0], *node.inputs[1:]], **node.attributes), source[1]
        if found is not None:
            self._whole[name] = found
        return found

    def _steps(self, e: Emitter, y: str, scale: str) -> str:
        """The sums as steps of the grid that they are rounded to: times one number, or one a channel."""
        key = y, scale
        if key not in self._steps_of:
            sums, by = self._sums[y], float(self._graph.constants[scale])
            if isinstance(sums.w_scale, float):
                single = np.float32(sums.x_scale) * np.float32(sums.w_scale) / np.float32(by)
                factor = e.scalar(float(single) if self._single else sums.x_scale * sums.w_scale / by)
            else:
                product = e.mul(sums.w_scale, e.scalar(sums.x_scale))
                if self._single:  # the product rounded to float32, by arithmetic in float64
                    grown = e.mul(product, e.scalar(_SPLIT))
                    product = e.sub(grown, e.sub(grown, product))
                factor = e.emit("Reshape", [e.div(product, e.scalar(by)), e.ints(sums.shape)])
            self._steps_of[key] = e.mul(sums.tensor, factor)
        return self._steps_of[key]


def quantised(e: Emitter, call: Call, steps: str) -> str:
    """Round `steps` of a Quantize's grid, count them from its zero point, saturate."""
    whole = shifted(e, "Add", e.emit("Round", [steps]), call.tensor("zero"))
    return e.emit("Clip", [whole, *(e.scalar(float(call.attribute(bound))) for bound in ("low", "high"))])


def shifted(e: Emitter, op: str, x: str, zero: str) -> str:
    """Add or subtract a zero point, which is often 0."""
    value = e.builder.constants.get(zero)
    return x if value is not None and value.ndim == 0 and not value else e.emit(op, [x, zero])
