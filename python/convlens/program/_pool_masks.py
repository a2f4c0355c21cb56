"""Gradients of max pools behind a ReLU: the ReLU's mask is applied before they spread, where there are fewer pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from ..graph import Graph, GraphBuilder, Node, window_of


def mask_before_pools(graph: Graph, kept: Collection[str]) -> Graph:
    """Make ``Where(y > 0, MaxPoolGrad(dy, offset(y)), 0)`` of ``MaxPoolGrad(Where(MaxPool(y) > 0, dy, 0), offset(y))``.

    A window's gradient goes to its maximum, which is above 0 where the window's result is: the numbers are the same,
    added in the same order. The mask is of fewer pixels, and often the last step of the instruction that made dy.
    (VGG-16, 224 x 224: five passes over the largest maps less.)

    Parameters
    ----------
    graph : Graph
    kept : collection of str
        Tensors that somebody asks for, beside the graph's outputs.
    """
    made = graph.producers()
    reads = Counter(name for node in graph.nodes for name in node.inputs) + Counter(graph.outputs) + Counter(kept)
    replaced: dict[str, tuple[Node, str]] = {}  # by the gradient: the Where, and MaxPool's result
    for node in graph.nodes:
        if node.op != "Where" or not _is_zero(graph, node.inputs[2]):
            continue
        mask, gradient = made.get(node.inputs[0]), made.get(node.inputs[1])
        if mask is None or mask.op != "Greater" or not _is_zero(graph, mask.inputs[1]):
            continue
        if gradient is None or gradient.op != "MaxPoolGrad" or reads[node.inputs[1]] > 1:
            continue
        offset = made.get(gradient.inputs[1])
        pooled = None if offset is None else _pooled(graph, offset, mask.inputs[0])
        if pooled is not None:
            replaced[node.inputs[1]] = node, pooled
    return _rebuilt(graph, replaced) if replaced else graph


def _is_zero(graph: Graph, name: str) -> bool:
    value = graph.constants.get(name)
    return value is not None and value.ndim == 0 and float(value) == 0.0


def _pooled(graph: Graph, offset: Node, y: str) -> str | None:
    """The result of the MaxPool of `y` whose winners `offset` holds."""
    if offset.op != "MaxPoolOffset" or offset.inputs[0] != y:
        return None
    window, shape = window_of(offset, graph.types), graph.types[offset.outputs[0]].shape
    for node in graph.nodes:
        if node.op != "MaxPool" or node.inputs[0] != y or graph.types[node.outputs[0]].shape != shape:
            continue
        if window_of(node, graph.types) == window:
            return node.outputs[0]
    return None


def _rebuilt(graph: Graph, replaced: dict[str, tuple[Node, str]]) -> Graph:
    builder = GraphBuilder()
    for name, kind in graph.inputs.items():
        builder.input(name, kind.dtype, kind.shape)
    for name, value in graph.constants.items():
        builder.constant(value, name)
    masked = {where.outputs[0] for where, _ in replaced.values()}
    for node in graph.nodes:
        where, pooled = replaced.get(node.outputs[0], (None, ""))
        if where is not None:
            gradient, zero = where.outputs[0], where.inputs[2]
            above = builder.add("Greater", [pooled, zero], name=where.name, outputs=[f"{gradient}/above"])
            dy = builder.add("Where", [above, node.inputs[0], zero], name=where.name, outputs=[f"{gradient}/pooled"])
            builder.add(node.op, [dy, node.inputs[1]], node.attributes, name=node.name, outputs=[gradient])
        elif node.outputs[0] not in masked:
            builder.add(node.op, node.inputs, node.attributes, name=node.name, outputs=node.outputs)
    return builder.build(graph.outputs)
