"""Tables looked up by the integers that are given: what moves integers moves rows of the table instead."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._errors import UnsupportedError
from ..graph import BATCH, Graph, GraphBuilder, Node

# Moves of integers, and what they are of the rows; lookups outside the table, of other columns, are clipped.
_MOVES = ("Identity", "Slice", "Split", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Transpose", "Concat")


def looked_up_at_once(graph: Graph) -> Graph:
    """The graph with every Gather reading integers as they are given: no instruction moves integers.

    Raises
    ------
    UnsupportedError
        If integers are computed with on their way to a Gather; the message names the node.
    """
    producers = graph.producers()
    if not any(node.op == "Gather" and _made(graph, node) in producers for node in graph.nodes):
        return graph
    builder = GraphBuilder()
    for name, kind in graph.inputs.items():
        builder.input(name, kind.dtype, kind.shape)
    for name, value in graph.constants.items():
        builder.constant(value, name)
    for node in graph.nodes:
        if node.op == "Gather" and _made(graph, node) in producers:
            rows = _rows(builder, graph, producers, node, node.inputs[1])
            builder.add("Identity", [rows], name=node.name, outputs=node.outputs)
        elif not _moves_integers(graph, node):
            builder.add(node.op, node.inputs, node.attributes, name=node.name, outputs=node.outputs)
    return builder.build(graph.outputs)


def _made(graph: Graph, node: Node) -> str:
    """The integers that a Gather reads, where they depend on what is given."""
    return node.inputs[1] if graph.types[node.inputs[1]].batched else ""


def _moves_integers(graph: Graph, node: Node) -> bool:
    made = [out for out in node.outputs if out]
    return node.op in _MOVES and all(
        graph.types[out].dtype == "int64" and graph.types[out].batched and out not in graph.outputs for out in made
    )


def _rows(builder: GraphBuilder, graph: Graph, producers: dict[str, Node], gather: Node, integers: str) -> str:
    """The rows of the table of `gather` for a tensor of integers."""
    node = producers.get(integers)

    def add(op: str, inputs: list[str], outputs: list[str] | None = None, **attributes: object) -> str:
        stem = builder.fresh(f"{gather.name}/{op.lower()}")
        return builder.add(op, inputs, attributes, name=gather.name, outputs=outputs or [stem])

    if node is None:
        return add("Gather", [gather.inputs[0], integers])
    if node.op not in _MOVES:
        raise UnsupportedError(
            f"node {node.name!r} ({node.op}): integers are computed with on the way to the table of {gather.name!r}; "
            f"supported: {', '.join(_MOVES)}"
        )
    inner = tuple(int(size) for size in graph.types[gather.inputs[0]].shape[1:])
    rank = len(graph.types[node.inputs[0]].shape)
    rows: Callable[[str], str] = lambda name: _rows(builder, graph, producers, gather, name)  # noqa: E731
    if node.op == "Concat":
        return add("Concat", [rows(name) for name in node.inputs], axis=int(node.attributes["axis"]) % rank)
    x = rows(node.inputs[0])
    if node.op == "Transpose":
        perm = tuple(node.attributes.get("perm") or reversed(range(rank)))
        return add("Transpose", [x], perm=(*perm, *range(rank, rank + len(inner))))
    if node.op == "Split":
        place = node.outputs.index(integers)
        outputs = [builder.fresh(f"{gather.name}/split") if i == place else "" for i in range(len(node.outputs))]
        attributes = {**node.attributes, "axis": int(node.attributes.get("axis", 0)) % rank}
        builder.add("Split", [x, *node.inputs[1:]], attributes, name=gather.name, outputs=outputs)
        return outputs[place]
    if node.op == "Slice":
        return add("Slice", [x, *node.inputs[1:]], **node.attributes)
    sizes = [0 if size == BATCH else int(size) for size in graph.types[integers].shape]
    shape = builder.constant(np.array([*sizes, *inner], np.int64), builder.fresh(f"{gather.name}/shape"))
    return add("Reshape", [x, shape])
