"""How far a network is affine in its input: what a path of inputs need not compute again at every step."""

from __future__ import annotations

from ..graph import Graph, Node

_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
#: Operators that are affine in their first operand when the others are constants.
AFFINE = _PRODUCTS | {
    *("Add", "Sub", "Mul", "Div", "Neg", "BatchNormalization"),
    *("AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceSum"),
    *("Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Pad", "Slice"),
}
_EITHER_SIDE = frozenset({"Add", "Sub", "Mul", "MatMul"})


def affine_prefix(graph: Graph, source: str, output: str) -> str | None:
    """The last tensor of the affine beginning of a network.

    Parameters
    ----------
    graph : Graph
    source : str
        The input.
    output : str

    Returns
    -------
    str or None
        A tensor that is an affine function of `source`, image by image, and through which alone `output` depends on
        it; None when no product of weights (a convolution, a dense layer) lies before it, or all of `output` is affine.
    """
    part = graph.subgraph([output])
    readers: dict[str, list[Node]] = {}
    for node in part.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    here, products = source, False
    while len(found := readers.get(here, [])) == 1 and _is_affine(part, found[0], here):
        products = products or found[0].op in _PRODUCTS
        here = found[0].outputs[0]
        if here == output:
            return None
    return here if products else None


def _is_affine(graph: Graph, node: Node, name: str) -> bool:
    """Whether a node is affine in `name`, and only its first output is read."""
    others = [other for other in node.inputs if other and other != name]
    first = node.inputs[0] == name or node.op in _EITHER_SIDE
    images = graph.types[node.outputs[0]].batched
    return node.op in AFFINE and first and images and all(other in graph.constants for other in others)
