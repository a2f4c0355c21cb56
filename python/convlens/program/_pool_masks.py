"""Gradients of max pools behind a ReLU: the ReLU's mask is applied before they spread, where there are fewer pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from itertools import accumulate

from ..graph import Graph, GraphBuilder, Node, window_of


def mask_before_pools(graph: Graph, kept: Collection[str]) -> Graph:
    """Make ``Where(y > 0, MaxPoolGrad(dy, offset(y)), 0)`` of ``MaxPoolGrad(Where(MaxPool(y) > 0, dy, 0), offset(y))``.

    A window's gradient goes to its maximum, which is above 0 where the window's result is: the numbers are the same,
    added in the same order. The mask is of fewer pixels, and often the last step of the instruction that made dy.
    (VGG-16, 224 x 224: five passes over the largest maps less.) Of a concatenation that was pooled, each part has its
    mask, and all of them are one before the pool.

    Parameters
    ----------
    graph : Graph
    kept : collection of str
        Tensors that somebody asks for, beside the graph's outputs.
    """
    made = graph.producers()
    reads = Counter(name for node in graph.nodes for name in node.inputs) + Counter(graph.outputs) + Counter(kept)
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in dict.fromkeys(node.inputs):
            readers.setdefault(name, []).append(node)
    moved = _Moved({}, {})
    for gradient in graph.nodes:
        if gradient.op != "MaxPoolGrad" or gradient.inputs[1] not in made:
            continue
        spread, offset = gradient.outputs[0], made[gradient.inputs[1]]
        behind = readers.get(spread, [])
        if reads[spread] != len(behind) or (pooled := _pooled(graph, offset)) is None:
            continue
        # What each reader is a gradient of: of what was pooled, or of a part of it.
        y = offset.inputs[0]
        parts = _cut(graph, behind, made.get(y))
        wheres = {}
        for name, of in parts.items() if parts else [(spread, y)]:
            for where in readers.get(name, []) if reads[name] == 1 else []:
                if _masks(graph, where, name, made.get(where.inputs[0]), of):
                    wheres[name] = where
        if wheres and len(wheres) == max(1, len(parts)):
            moved.pools[spread] = next(iter(wheres.values())), pooled
            moved.renamed.update({name: where.outputs[0] for name, where in wheres.items()})
    return _rebuilt(graph, moved) if moved.pools else graph


@dataclass(frozen=True)
class _Moved:
    """By a pool's gradient, a Where behind it and MaxPool's result; by what a Where masked, the name it had then."""

    pools: dict[str, tuple[Node, str]]
    renamed: dict[str, str]


def _masks(graph: Graph, where: Node, name: str, mask: Node | None, y: str) -> bool:
    """Whether a node is ``Where(y > 0, name, 0)``."""
    if where.op != "Where" or where.inputs[1] != name or not _is_zero(graph, where.inputs[2]):
        return False
    return mask is not None and mask.op == "Greater" and mask.inputs[0] == y and _is_zero(graph, mask.inputs[1])


def _cut(graph: Graph, slices: list[Node], joined: Node | None) -> dict[str, str]:
    """Slices of channels, and which of the tensors that were joined each is the gradient of; nothing for others."""
    if joined is None or joined.op != "Concat" or joined.attributes.get("axis") != 1:
        return {}
    ends = list(accumulate(graph.types[name].shape[1] for name in joined.inputs))
    ranges = {(start, end): name for name, start, end in zip(joined.inputs, [0, *ends], ends, strict=False)}
    parts: dict[str, str] = {}
    for node in slices:
        given = [graph.constants.get(name) for name in node.inputs[1:]]
        if node.op != "Slice" or len(given) != 4 or any(value is None for value in given):
            return {}
        starts, stops, axes, steps = ([int(v) for v in value] for value in given if value is not None)
        if axes != [1] or steps != [1] or (starts[0], stops[0]) not in ranges:
            return {}
        parts[node.outputs[0]] = ranges[starts[0], stops[0]]
    return parts


def _is_zero(graph: Graph, name: str) -> bool:
    value = graph.constants.get(name)
    return value is not None and value.ndim == 0 and float(value) == 0.0


def _pooled(graph: Graph, offset: Node) -> str | None:
    """The result of the MaxPool whose winners `offset` holds."""
    if offset.op != "MaxPoolOffset":
        return None
    y = offset.inputs[0]
    window, shape = window_of(offset, graph.types), graph.types[offset.outputs[0]].shape
    for node in graph.nodes:
        if node.op != "MaxPool" or node.inputs[0] != y or graph.types[node.outputs[0]].shape != shape:
            continue
        if window_of(node, graph.types) == window:
            return node.outputs[0]
    return None


def _rebuilt(graph: Graph, moved: _Moved) -> Graph:
    builder = GraphBuilder()
    for name, kind in graph.inputs.items():
        builder.input(name, kind.dtype, kind.shape)
    for name, value in graph.constants.items():
        builder.constant(value, name)
    masked = set(moved.renamed.values())
    for node in graph.nodes:
        if node.outputs[0] in masked:
            continue
        inputs = list(node.inputs)
        if node.outputs[0] in moved.pools:
            where, pooled = moved.pools[node.outputs[0]]
            made, zero = where.outputs[0], where.inputs[2]
            above = builder.add("Greater", [pooled, zero], name=where.name, outputs=[f"{made}/above"])
            inputs[0] = builder.add("Where", [above, inputs[0], zero], name=where.name, outputs=[f"{made}/pooled"])
        outputs = [moved.renamed.get(name, name) for name in node.outputs]
        builder.add(node.op, inputs, node.attributes, name=node.name, outputs=outputs)
    return builder.build(graph.outputs)
