"""Layers of channels-last files as channels-first ones: Transposes move behind what does not mind them, and cancel."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph import Graph, GraphBuilder, Node, call_of, turned

Array = npt.NDArray[Any]

_POINTWISE = (
    *("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Where", "And", "Or", "Not", "Relu", "Sigmoid", "Tanh", "Exp"),
    *("Log", "Sqrt", "Abs", "Neg", "Sign", "Identity", "Softplus", "Mish", "HardSwish", "Erf", "Reciprocal", "Dropout"),
    *("LeakyRelu", "Elu", "Selu", "HardSigmoid", "Gelu", "PRelu", "Clip"),
    *("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"),
)


def channels_first_layers(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """Move Transposes from channels first to channels last behind the nodes that follow, until they cancel.

    Parameters
    ----------
    graph : Graph

    Returns
    -------
    graph : Graph
        That computes the same outputs. Element-wise nodes, Pad, Concat, Softmax and reductions between a Transpose to
        the last axis and one back keep their names, and have channels first.
    moved : tuple of str
        The tensors whose axes changed by that.

    Notes
    -----
    Keras's layers work on channels last and its exporter puts Transposes around convolutions; what is left between
    them would be read with the wrong axis as the channels. Outputs of the graph keep their axes.
    """
    if not any(turned(node, graph.types) == "last" for node in graph.nodes):
        return graph, ()
    return _Pass(graph).run()


class _Pass:
    """One walk. A view is a tensor of the old graph that is a channels-first one of the new graph, turned."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.views: dict[str, str] = {}  # the channels-first tensor behind each view
        self._builder = GraphBuilder()
        self._names: dict[str, str] = {}  # tensors of the old graph that are called otherwise in the new one
        self._turns: dict[str, Node] = {}  # the Transpose that made a view first
        self._moved: list[str] = []
        for name, kind in graph.inputs.items():
            self._builder.input(name, kind.dtype, kind.shape)
        for name, value in graph.constants.items():
            self._builder.constant(value, name)

    def run(self) -> tuple[Graph, tuple[str, ...]]:
        for node in self.graph.nodes:
            if not (self._turn(node) or self._move(node)):
                inputs = [self._as_it_was(name) if name else "" for name in node.inputs]
                self._builder.add(node.op, inputs, node.attributes, name=node.name, outputs=node.outputs)
        made = self._builder.build(self.graph.outputs).subgraph(self.graph.outputs)
        return made, tuple(name for name in self._moved if name in made.types)

    def _turn(self, node: Node) -> bool:
        """Note that a Transpose makes a view, or that it undoes one; nothing is made yet."""
        way, source, out = turned(node, self.graph.types), node.inputs[0], node.outputs[0]
        if out in self.graph.outputs or (way == "first") != (source in self.views) or not way:
            return False
        if way == "last":
            self.views[out] = self._names.get(source, source)
            self._turns[out] = node
        else:
            self._names[out] = self.views[source]
        return True

    def _move(self, node: Node) -> bool:
        """Make the node with channels first, where all that it reads is views, numbers and constants."""
        rule = _RULES.get(node.op)
        first = next((name for name in node.inputs if name in self.views), None)
        if rule is None or first is None or not set(node.outputs).isdisjoint(self.graph.outputs):
            return False
        rank = len(self.graph.types[first].shape)
        kept = [out for out in node.outputs if out and len(self.graph.types[out].shape) == rank]
        flat = all(len(self.graph.types[out].shape) in (rank, 2) for out in node.outputs if out)
        made = rule(self, node, rank) if flat else None
        if made is None:
            return False
        inputs, attributes = made
        self._builder.add(node.op, inputs, {**node.attributes, **attributes}, name=node.name, outputs=node.outputs)
        self.views.update({out: out for out in kept})
        self._moved += kept
        return True

    def _as_it_was(self, name: str) -> str:
        """A tensor of the old graph; a view is made now, by a Transpose."""
        if name in self.views and name not in self._names:
            turn = self._turns.get(name)
            rank = len(self.graph.types[name].shape)
            perm = {"perm": (0, *range(2, rank), 1)}
            label = turn.name if turn is not None else self._builder.fresh(f"{name}.channels_last")
            outputs = None if turn is None else [name]
            self._names[name] = self._builder.add("Transpose", [self.views[name]], perm, name=label, outputs=outputs)
        return self._names.get(name, name)

    def turned_constant(self, name: str, rank: int) -> str:
        """A constant that broadcasts against channels last, for channels first."""
        value = self.graph.constants[name]
        whole = value.reshape((1,) * (rank - value.ndim) + value.shape)
        return self.constant(np.transpose(whole, _order(rank)), f"{name}.channels_first")

    def constant(self, value: Array, name: str) -> str:
        """Add a constant, once."""
        value = np.ascontiguousarray(value)
        there = self._builder.constants.get(name)
        if there is not None and there.shape == value.shape and there.tobytes() == value.tobytes():
            return name
        return self._builder.constant(value, self._builder.fresh(name))


def _order(rank: int) -> tuple[int, ...]:
    """The axes of channels last in the order of channels first."""
    return (0, rank - 1, *range(1, rank - 1))


def _axis(axis: int, rank: int) -> int:
    """Where an axis of channels last lies with channels first."""
    return _order(rank).index(axis % rank)


# rule(walk, node, rank) gives the inputs and the changed attributes of the node with channels first, or None where it
# stays as it is.
_Made = tuple[list[str], dict[str, Any]] | None
_RULES: dict[str, Callable[[_Pass, Node, int], _Made]] = {}


def _rule(*ops: str) -> Callable[[Callable[[_Pass, Node, int], _Made]], Callable[[_Pass, Node, int], _Made]]:
    def register(rule: Callable[[_Pass, Node, int], _Made]) -> Callable[[_Pass, Node, int], _Made]:
        _RULES.update(dict.fromkeys(ops, rule))
        return rule

    return register


@_rule(*_POINTWISE)
def _pointwise(walk: _Pass, node: Node, rank: int) -> _Made:
    inputs = []
    for name in node.inputs:
        shape = walk.graph.types[name].shape if name else ()
        if not name or name in walk.views:
            inputs.append(walk.views.get(name, ""))
        elif name not in walk.graph.constants or len(shape) > rank:
            return None
        else:
            inputs.append(
                name if math.prod(walk.graph.constants[name].shape) == 1 else walk.turned_constant(name, rank)
            )
    return inputs, {}


@_rule("Concat")
def _concat(walk: _Pass, node: Node, rank: int) -> _Made:
    if not all(name in walk.views for name in node.inputs):
        return None
    return [walk.views[name] for name in node.inputs], {"axis": _axis(int(node.attributes["axis"]), rank)}


@_rule("Softmax", "LogSoftmax", "Split")
def _along(walk: _Pass, node: Node, rank: int) -> _Made:
    axis = call_of(node, walk.graph.types, walk.graph.constants).attribute("axis")
    return [walk.views[node.inputs[0]], *node.inputs[1:]], {"axis": _axis(int(axis), rank)}


@_rule("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2")
def _reduce(walk: _Pass, node: Node, rank: int) -> _Made:
    given = walk.graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    if given is None or not given.size:
        return None
    axes = sorted(_axis(int(axis), rank) for axis in given.reshape(-1))
    return [walk.views[node.inputs[0]], walk.constant(np.array(axes, np.int64), f"{node.name}.axes")], {}


@_rule("Slice")
def _slice(walk: _Pass, node: Node, rank: int) -> _Made:
    if len(node.inputs) < 4 or not node.inputs[3]:
        return None
    axes = [_axis(int(axis), rank) for axis in walk.graph.constants[node.inputs[3]].reshape(-1)]
    inputs = [walk.views[node.inputs[0]], *node.inputs[1:]]
    inputs[3] = walk.constant(np.array(axes, np.int64), f"{node.name}.axes")
    return inputs, {}


@_rule("Pad")
def _pad(walk: _Pass, node: Node, rank: int) -> _Made:
    widths = walk.graph.constants[node.inputs[1]].reshape(2, -1)
    if widths.shape[1] != rank or len(node.inputs) > 3:
        return None
    turned_widths = walk.constant(widths[:, list(_order(rank))].reshape(-1), f"{node.name}.pads")
    return [walk.views[node.inputs[0]], turned_widths, *node.inputs[2:]], {}
