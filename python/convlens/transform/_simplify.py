"""Making graphs smaller without changing what they compute."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import Any

import numpy as np

from .. import reference
from ..graph import Graph, GraphBuilder, Node


def prune(graph: Graph, outputs: Sequence[str]) -> Graph:
    """Keep what `outputs` (any tensors) depend on; other nodes, constants and inputs go."""
    return graph.subgraph(outputs)


def fold_constants(graph: Graph, *, keep: Collection[str] = ()) -> Graph:
    """Compute at once what depends on constants alone.

    Parameters
    ----------
    graph : Graph
    keep : collection of str
        Constants that may change later (parameters under training, weights bound at run): nothing that reads them is
        folded.

    Returns
    -------
    Graph
        Folded tensors become constants of the same names.
    """
    builder = GraphBuilder()
    for name, kind in graph.inputs.items():
        builder.input(name, kind.dtype, kind.shape)
    for name, value in graph.constants.items():
        builder.constant(value, name)
    fixed = {name for name in graph.constants if name not in keep}
    for node in graph.nodes:
        if all(name in fixed for name in node.inputs if name):
            for name, value in _computed(node, builder).items():
                builder.constant(value, name)
                fixed.add(name)
        else:
            builder.add(node.op, node.inputs, node.attributes, name=node.name, outputs=node.outputs)
    return builder.build(graph.outputs).subgraph(graph.outputs)


def eliminate_common(graph: Graph) -> Graph:
    """Compute equal expressions once.

    Two nodes are equal when operator, attributes and operands are; two constants when they are scalars or integers
    (axes, sizes) of equal value. Larger ones are weights, which may be given other values later. A tensor that is an
    output of the graph keeps its name and its node.
    """
    same: dict[str, str] = {}
    constants: dict[str, Any] = {}
    seen: dict[Hashable, str] = {}
    for name, value in graph.constants.items():
        key = (value.dtype.name, value.shape, value.tobytes())
        if (value.ndim == 0 or value.dtype.kind in "iu") and name not in graph.outputs:
            same[name] = seen.setdefault(key, name)
        if same.get(name, name) == name:
            constants[name] = value
    nodes: list[Node] = []
    known: dict[Hashable, tuple[str, ...]] = {}
    for node in graph.nodes:
        inputs = tuple(same.get(name, name) for name in node.inputs)
        used = tuple(bool(name) for name in node.outputs)
        expression = (node.op, inputs, _frozen(dict(node.attributes)), used)
        first = known.setdefault(expression, node.outputs)
        if first is not node.outputs:
            same.update((new, old) for new, old in zip(node.outputs, first, strict=True) if new)
            if set(graph.outputs).isdisjoint(node.outputs):
                continue
        nodes.append(Node(node.op, inputs, node.outputs, node.attributes, node.name))
    kept = {name for node in nodes for name in node.outputs} | set(constants) | set(graph.inputs)
    types = {name: kind for name, kind in graph.types.items() if name in kept}
    return Graph(graph.inputs, graph.outputs, tuple(nodes), constants, types)


def _computed(node: Node, builder: GraphBuilder) -> dict[str, Any]:
    single = GraphBuilder()
    for name in dict.fromkeys(name for name in node.inputs if name):
        single.constant(builder.constants[name], name)
    single.add(node.op, node.inputs, node.attributes, name=node.name, outputs=node.outputs)
    wanted = [name for name in node.outputs if name]
    return dict(reference.run(single.build(wanted), {}))


def _frozen(value: Any) -> Hashable:
    if isinstance(value, dict):
        return tuple(sorted((key, _frozen(item)) for key, item in value.items()))
    if isinstance(value, (list, tuple, np.ndarray)):
        return tuple(_frozen(item) for item in value)
    return value if isinstance(value, Hashable) else repr(value)
