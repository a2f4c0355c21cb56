"""Operators that are formulas over others, written out before lowering: an activation is then part of a chain."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph import Call, Graph, GraphBuilder, Node, axis_of, call_of, turned
from ..transform import NORMALISATIONS, Emitter, expand_norm, standardised
from ._integers import WholeNumbers, quantised, shifted
from ._lookup import looked_up_at_once

# formula(e, call, x) writes nodes and returns the result; None leaves the node as it is.
Formula = Callable[[Emitter, Call, str], str | None]
FORMULAS: dict[str, Formula] = {}


def _formula(op: str) -> Callable[[Formula], Formula]:
    """Register the formula of an operator."""

    def register(formula: Formula) -> Formula:
        FORMULAS[op] = formula
        return formula

    return register


def decompose(graph: Graph, dtype: str = "float32") -> tuple[Graph, dict[str, float]]:
    """Replace the nodes of FORMULAS, but for those over constants, which are computed when weights are packed.

    Results keep their names; what lies between has names of its own. `dtype` is what the graph is computed in.

    Returns
    -------
    graph : Graph
    numbers : dict
        The constants that formulas brought along, in double: a graph in float32 may be computed in float64.
    """
    graph = looked_up_at_once(graph)
    if not any(node.op in FORMULAS for node in graph.nodes):
        return graph, {}
    builder = GraphBuilder()
    for name, kind in graph.inputs.items():
        builder.input(name, kind.dtype, kind.shape)
    fixed: dict[str, npt.NDArray[Any] | None] = dict(graph.constants)
    for name, value in graph.constants.items():
        builder.constant(value, name)
    emitters: dict[str, _Emitter] = {}
    firsts: dict[str, str] = {}  # what has channels last, and the same with channels first
    whole = WholeNumbers(graph, dtype) if any(node.op == "Quantize" for node in graph.nodes) else None
    for node in graph.nodes:
        constant = all(name in fixed for name in node.inputs if name)
        if constant:
            fixed.update(dict.fromkeys(node.outputs))
        y = None
        way = turned(node, graph.types)
        if way == "last" and not constant:
            firsts[node.outputs[0]] = node.inputs[0]
        elif way == "first":
            y = firsts.get(node.inputs[0])
        if (node.op in FORMULAS or whole is not None) and not constant:
            real = graph.types[node.inputs[0]].dtype
            e = emitters.setdefault(real, _Emitter(builder, real, graph.types))
            e.at(node)
            y = whole.lower(e, node) if whole is not None else None
            if node.op == "LayerNormalization" and node.inputs[0] in firsts:
                y = _layer_norm_of_channels(e, call_of(node, builder.types, builder.constants), firsts)
            if y is None and node.op in FORMULAS:
                y = FORMULAS[node.op](e, call_of(node, builder.types, builder.constants), node.inputs[0])
        if y is None:
            builder.add(node.op, node.inputs, node.attributes, name=node.name, outputs=node.outputs)
        else:
            builder.add("Identity", [y], name=node.name, outputs=node.outputs[:1])
    numbers = {name: value for e in emitters.values() for name, value in e.numbers.items()}
    return builder.build(graph.outputs), numbers


class _Emitter(Emitter):
    """Names nodes after the one they replace, takes no name that the graph has, and keeps its numbers in double."""

    def __init__(self, builder: GraphBuilder, dtype: str, taken: Mapping[str, Any]) -> None:
        super().__init__(builder, dtype, "lowered")
        self._taken = taken
        self._node = ""
        self.numbers: dict[str, float] = {}

    def at(self, node: Node | None) -> None:
        self._node = node.name if node is not None else ""

    def emit(self, op: str, inputs: Any, **attributes: Any) -> str:
        return self.builder.add(op, inputs, attributes, name=self._node, outputs=[self._name()])

    def scalar(self, value: float) -> str:
        if value not in self._scalars:
            self._scalars[value] = self.builder.constant(np.array(value, self.dtype), self._name())
            self.numbers[self._scalars[value]] = value
        return self._scalars[value]

    def ints(self, values: Any) -> str:
        key = tuple(int(value) for value in values)
        if key not in self._ints:
            self._ints[key] = self.builder.constant(np.array(key, np.int64), self._name())
        return self._ints[key]

    def _name(self) -> str:
        while (name := self.builder.fresh(f"{self._node}/lowered")) in self._taken:
            pass
        return name


def _layer_norm_of_channels(e: _Emitter, call: Call, firsts: dict[str, str]) -> str | None:
    """Of channels that a Transpose brought last: computed where they were, and turned for those who read them last.

    (ConvNeXt-Tiny, Zen 4, one thread: 0.88 of the time.)
    """
    x, kind = firsts[call.tensor("x")], call.kind("x")
    rank = len(kind.shape)
    if axis_of(int(call.attribute("axis")), rank) != rank - 1:
        return None
    channels = e.ints((int(kind.shape[-1]), *(1,) * (rank - 2)))
    y, _ = standardised(e, x, (1,), float(call.attribute("epsilon")))
    for name, op in (("scale", "Mul"), ("bias", "Add")):
        if call.has(name):
            y = e.emit(op, [y, e.emit("Reshape", [call.tensor(name), channels])])
    last = e.emit("Transpose", [y], perm=(0, *range(2, rank), 1))
    firsts[call.node.outputs[0]] = y
    return last


for _op in NORMALISATIONS:
    FORMULAS[_op] = lambda e, call, x: expand_norm(e, call)


def _positive(e: Emitter, x: str) -> str:
    return e.greater(x, e.zero)


@_formula("LeakyRelu")
def _leaky_relu(e: Emitter, call: Call, x: str) -> str:
    return e.where(_positive(e, x), x, e.times(x, float(call.attribute("alpha"))))


@_formula("PRelu")
def _prelu(e: Emitter, call: Call, x: str) -> str:
    return e.where(_positive(e, x), x, e.mul(x, call.tensor("slope")))


@_formula("Elu")
def _elu(e: Emitter, call: Call, x: str) -> str:
    return e.where(_positive(e, x), x, e.times(e.emit("Expm1", [x]), float(call.attribute("alpha"))))


@_formula("Selu")
def _selu(e: Emitter, call: Call, x: str) -> str:
    alpha, gamma = float(call.attribute("alpha")), float(call.attribute("gamma"))
    return e.where(_positive(e, x), e.times(x, gamma), e.times(e.emit("Expm1", [x]), alpha * gamma))


@_formula("Softplus")
def _softplus(e: Emitter, call: Call, x: str) -> str:
    """max(x, 0) + log(1 + exp(-|x|)): nothing overflows, and for large negative x the second term is all there is."""
    small = e.emit("Exp", [e.emit("Neg", [e.emit("Abs", [x])])])
    return e.add(e.emit("Relu", [x]), e.emit("Log1p", [small]))


@_formula("Mish")
def _mish(e: Emitter, call: Call, x: str) -> str:
    """With a = exp(x) and b = a (a + 2), tanh(log(1 + a)) is b / (b + 2): nothing cancels, and from 20 on it is 1."""
    a = e.emit("Exp", [e.emit("Min", [x, e.scalar(20.0)])])
    b = e.mul(a, e.add(a, e.scalar(2.0)))
    return e.mul(x, e.div(b, e.add(b, e.scalar(2.0))))


@_formula("HardSigmoid")
def _hard_sigmoid(e: Emitter, call: Call, x: str) -> str:
    line = e.add(e.times(x, float(call.attribute("alpha"))), e.scalar(float(call.attribute("beta"))))
    return e.emit("Clip", [line, e.zero, e.scalar(1.0)])


@_formula("Gelu")
def _gelu(e: Emitter, call: Call, x: str) -> str | None:
    """The approximation: (1 + tanh(u)) / 2 is sigmoid(2 u), which cancels nothing. The other one is an operation."""
    if call.attribute("approximate") != "tanh":
        return None
    cubic = e.add(e.scalar(1.0), e.times(e.mul(x, x), 0.044715))
    return e.mul(x, e.emit("Sigmoid", [e.times(e.mul(x, cubic), 2 * math.sqrt(2 / math.pi))]))


@_formula("Reciprocal")
def _reciprocal(e: Emitter, call: Call, x: str) -> str:
    return e.div(e.scalar(1.0), x)


@_formula("Quantize")
def _quantize(e: Emitter, call: Call, x: str) -> str:
    return quantised(e, call, e.div(x, call.tensor("scale")))


@_formula("Dequantize")
def _dequantize(e: Emitter, call: Call, q: str) -> str:
    return e.mul(shifted(e, "Sub", q, call.tensor("zero")), call.tensor("scale"))


@_formula("Pow")
def _pow(e: Emitter, call: Call, x: str) -> str | None:
    """Small whole exponents by multiplication, 0.5 by the square root: exact where a logarithm is not."""
    value = e.builder.constants.get(call.tensor("b"))
    exponent = float(value) if value is not None and value.ndim == 0 else math.nan
    if exponent == 0.5:
        return e.emit("Sqrt", [x])
    if abs(exponent) not in (1.0, 2.0, 3.0, 4.0):
        return None
    square = e.mul(x, x) if abs(exponent) > 1 else x
    y = {1.0: x, 2.0: square}.get(abs(exponent)) or e.mul(square, x if abs(exponent) == 3 else square)
    return y if exponent > 0 else e.div(e.scalar(1.0), y)
