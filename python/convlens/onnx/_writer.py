"""A graph as ONNX nodes of the pinned opset: names kept, types checked against ONNX's, attributes by their schema."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import UnsupportedError
from ..graph import BATCH, Call, Graph, Node, TensorType, call_of, is_default
from ._kept import keep_attributes
from ._package import onnx_package, schema_of
from ._registry import FORMS

Array = npt.NDArray[Any]


class Writer:
    """Writes the nodes of a graph.

    Attributes
    ----------
    nodes : list of NodeProto
    constants : dict of str to ndarray
        What they read, in that order.
    """

    def __init__(self, graph: Graph) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self._graph = graph
        self._stored: dict[str, Array] = dict(graph.constants)
        self._types = dict(graph.types)
        self._made: dict[tuple[str, str, tuple[int, ...], bytes], str] = {}
        self._node = Node("", (), ())

    def write(self) -> None:
        """Write every node.

        Raises
        ------
        UnsupportedError
            A node has no form in ONNX.
        """
        for node in self._graph.nodes:
            self._node = node
            call = call_of(node, self._graph.types, self._graph.constants)
            FORMS.get(node.op, Writer.straight)(self, call)
        for name in self._graph.outputs:
            self._read(name)

    # -- what a form is made of ----------------------------------------------------------------------------------------

    def straight(self, call: Call, inputs: Sequence[str] | None = None, **changed: Any) -> None:
        """Write the node under its own name, but for the inputs and attributes given; defaults are ONNX's, left out."""
        if schema_of(call.node.op) is None:
            self.refuse("it has no form in ONNX")
        op, attributes = call.node.op, {**call.node.attributes, **changed}
        said = {name: attributes[name] for name in attributes if not is_default(op, name, attributes[name])}
        self._add(op, self.operands(call) if inputs is None else inputs, self._node.outputs, self._node.name, said)

    def finish(self, op: str, inputs: Sequence[str], /, **attributes: Any) -> None:
        """Write the node that bears this one's name and makes its first output."""
        self._add(op, inputs, self._node.outputs[:1], self._node.name, attributes)

    def emit(self, op: str, inputs: Sequence[str], /, **attributes: Any) -> str:
        """Write a node that is a part of this one; returns its output."""
        name = self._fresh(op.lower())
        self._add(op, inputs, [name], name, attributes)
        return name

    def chain(self, x: str, steps: Sequence[tuple[str, Sequence[str], dict[str, Any]]]) -> None:
        """Write nodes one after the other, the last as this one; "" among a step's inputs is what came before."""
        for place, (op, inputs, attributes) in enumerate(steps, 1):
            given = [name or x for name in inputs]
            if place == len(steps):
                self.finish(op, given, **attributes)
            else:
                x = self.emit(op, given, **attributes)
        if not steps:
            self.finish("Identity", [x])

    def constant(self, value: npt.ArrayLike, stem: str) -> str:
        """A constant of this node."""
        array = np.asarray(value)
        key = (self._node.name, array.dtype.name, array.shape, array.tobytes())
        if key not in self._made:
            name = self._made[key] = self._fresh(stem)
            self._stored[name] = array
            self._types[name] = TensorType(array.dtype.name, array.shape)
        return self._made[key]

    def ints(self, values: Iterable[int | str], stem: str) -> str:
        """A constant of axes or sizes; the batch's size is 0, which a Reshape keeps."""
        return self.constant(np.array([0 if value == BATCH else int(value) for value in values], np.int64), stem)

    def dtype(self, tensor: str) -> str:
        """The element type of a tensor of the graph."""
        return self._types[tensor].dtype

    def operands(self, call: Call) -> list[str]:
        """The node's inputs in ONNX's form: sizes as vectors of int64, bounds as scalars, scales in float32."""
        names = call.operator.operands
        return [
            self._formed(tensor, names[min(place, len(names) - 1)]) for place, tensor in enumerate(call.node.inputs)
        ]

    def refuse(self, reason: str) -> None:
        """Raise an UnsupportedError about this node."""
        raise UnsupportedError(f"node {self._node.name!r} ({self._node.op}): {reason}")

    # -- what lies below -----------------------------------------------------------------------------------------------

    def _formed(self, tensor: str, operand: str) -> str:
        if not tensor or operand not in _OPERANDS:
            return tensor
        rank, dtype = _OPERANDS[operand]
        kind = self._types[tensor]
        if len(kind.shape) == rank and kind.dtype == (dtype or kind.dtype):
            return tensor
        if tensor not in self._stored:
            return self.emit("Squeeze", [tensor, self.ints([0], "axes")]) if rank == 0 else tensor
        array = self._stored[tensor]
        return self.constant(array.reshape((-1,) if rank else ()).astype(dtype or array.dtype), operand)

    def _add(
        self, op: str, inputs: Sequence[str], outputs: Sequence[str], name: str, attributes: Mapping[str, Any]
    ) -> None:
        schema = schema_of(op)
        self._check_types(op, inputs)
        for tensor in inputs:
            self._read(tensor)
        made = onnx_package("onnx.helper").make_node(op, list(inputs), list(outputs), name=name)
        exact = {}
        for key in sorted(attributes):
            value = attributes[key]
            if key not in schema.attributes:
                exact[key] = value
                continue
            kind = schema.attributes[key].type
            made.attribute.append(_attribute(key, value, kind))
            if isinstance(value, float) and not _is_single(value):
                exact[key] = value
        keep_attributes(made, exact)
        self.nodes.append(made)

    def _check_types(self, op: str, inputs: Sequence[str]) -> None:
        for place, tensor in enumerate(inputs):
            kind, allowed = self._types.get(tensor), types_of(op, place)
            if kind is not None and kind.dtype and kind.dtype not in allowed:
                self.refuse(f"ONNX's {op} takes {', '.join(sorted(allowed))} there, {tensor!r} is {kind.dtype}")

    def _read(self, tensor: str) -> None:
        if tensor in self._stored:
            self.constants.setdefault(tensor, self._stored[tensor])

    def _fresh(self, stem: str) -> str:
        """A tensor's name that the graph does not have."""
        stem, count = f"{self._node.name}.{stem}", 0
        while (name := f"{stem}_{count}" if count else stem) in self._types:
            count += 1
        self._types[name] = TensorType("", ())  # a part of a node has a type that nothing asks for
        return name


# What operands of these names are in ONNX: their number of axes, and their type where it is not that of the others.
_OPERANDS: dict[str, tuple[int, str | None]] = {
    **dict.fromkeys(("shape", "starts", "ends", "axes", "steps", "split", "pads", "sizes"), (1, "int64")),
    **dict.fromkeys(("min", "max", "constant_value", "ratio"), (0, None)),
    "training_mode": (0, "bool"),
    "scales": (1, "float32"),
}


@functools.cache
def types_of(op: str, place: int) -> frozenset[str]:
    """The element types that ONNX takes as an input of an operator."""
    inputs = schema_of(op).inputs
    allowed = inputs[min(place, len(inputs) - 1)].types
    names = {"float": "float32", "double": "float64"}
    return frozenset(
        names.get(text, text) for text in (kind.removeprefix("tensor(").removesuffix(")") for kind in allowed)
    )


def _is_single(value: float) -> bool:
    with np.errstate(over="ignore"):
        return math.isnan(value) or float(np.float32(value)) == value


def _attribute(name: str, value: Any, kind: Any) -> Any:
    types = onnx_package("onnx.defs").OpSchema.AttrType
    if kind == types.FLOAT:
        value = float(value)
    elif kind == types.INT:
        value = int(value)
    elif kind == types.INTS:
        value = [int(number) for number in value]
    elif kind == types.FLOATS:
        value = [float(number) for number in value]
    return onnx_package("onnx.helper").make_attribute(name, value, attr_type=int(kind.value))
