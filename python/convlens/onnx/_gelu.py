"""GELU as most files have it, Div or Mul, Erf, Add, Mul and Mul, as the one operator that these are."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import permutations

from ..graph import Graph, Node


def join_gelu(graph: Graph) -> Graph:
    """Write x / 2 (1 + erf(x / sqrt 2)), its factors in any order, as Gelu.

    It is one operator then for all that asks for the graph: its numbers do not depend on what is computed beside it.

    Parameters
    ----------
    graph : Graph

    Returns
    -------
    graph : Graph
        The same, except that tensors within a GELU are gone where nothing else reads them and none is an output.
    """
    if all(node.op != "Erf" for node in graph.nodes):
        return graph
    search = _Search(graph)
    nodes = [node if (x := search.gated(node)) is None else _gelu(node, x) for node in graph.nodes]
    return replace(graph, nodes=tuple(nodes)).subgraph(graph.outputs)


def _gelu(node: Node, x: str) -> Node:
    return Node("Gelu", (x,), node.outputs, {}, node.name)


class _Search:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._made = graph.producers()
        self._uses = Counter(graph.outputs) + Counter(name for node in graph.nodes for name in node.inputs)

    def gated(self, node: Node) -> str | None:
        """What a node computes the GELU of."""
        types = self._graph.types
        if node.op != "Mul":
            return None
        for outer, product in permutations(node.inputs):
            for factors in self._operands(product, "Mul"):
                for half, x, share in permutations((outer, *factors)):
                    if self._is_number(half, 0.5) and self._scaled(share) == x and types[x] == types[node.outputs[0]]:
                        return x
        return None

    def _operands(self, name: str, op: str) -> list[tuple[str, ...]]:
        """What the node behind a tensor reads, in every order; none where others read the tensor, or it is another."""
        node = self._made.get(name)
        if node is None or node.op != op or self._uses[name] != 1:
            return []
        return [node.inputs] if op == "Div" else list(permutations(node.inputs))

    def _scaled(self, share: str) -> str | None:
        """The x of 1 + erf(x / sqrt 2)."""
        for erf, one in self._operands(share, "Add"):
            for (inner,) in self._operands(erf, "Erf") if self._is_number(one, 1.0) else ():
                for op, wanted in (("Mul", math.sqrt(0.5)), ("Div", math.sqrt(2))):
                    for x, scale in self._operands(inner, op):
                        if self._is_number(scale, wanted, 1e-6):
                            return x
        return None

    def _is_number(self, name: str, wanted: float, near: float = 0.0) -> bool:
        """Whether a tensor is a constant, `near` so much of itself: an irrational number is rounded in a file."""
        value = self._graph.constants.get(name)
        return value is not None and value.size == 1 and math.isclose(float(value.item()), wanted, rel_tol=near)
