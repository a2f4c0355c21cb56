"""Which layer is meant, and the automatic choice."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from ..graph import Graph, Node, turned
from ..nn import Network

_POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
_PASSES_ON = ("Identity", "Dropout", "Reshape", "Transpose", "Squeeze", "Unsqueeze")
_CHANNELS_FIRST = ("Conv", "ConvTranspose", "BatchNormalization", "Resize", "Reshape", *_POOLS)
_WEIGHTED = ("Conv", "Gemm", "MatMul", "ConvTranspose")


def layer_before(net: Network, layer: str, *, before: str, source: str | None = None) -> str:
    """Return the tensor that `layer` means, on the way from `source` (by default the first input) to `before`.

    Raises
    ------
    ValueError
        If nothing or more than one tensor fits (with the five nearest names), or `before` does not depend on it.
    """
    if not isinstance(layer, str):
        raise TypeError(f"`layer` (={layer!r}) must be a str: a name from net.layers(), a glob, or the end of a name")
    tensor = net.find(layer)
    tensors = _between(net.graph, before, source or net.input_name)
    if tensor not in tensors:
        near = list(tensors)[-5:]
        raise ValueError(
            f"`layer` (={layer!r}) is not on the way from the images to {before!r}; the last ones that are: "
            f"{', '.join(map(repr, near))}"
        )
    return tensor


def choose_layer(graph: Graph, *, before: str, source: str | None = None, last: Collection[str] = ()) -> str:
    """Choose the layer of a class activation map.

    The last tensor of spatial size above 1 that every path from `source` (by default the first input) to `before`
    crosses, after its activation, before the final pooling, and that is not itself the per-class map: a layer with
    weights must follow. The channels of tensors in `last` are on the last axis.

    Raises
    ------
    ValueError
        If the network has no such tensor.
    """
    source = source or next(iter(graph.inputs))
    tensors = _between(graph, before, source)
    turned_ones = _turned(graph)
    crossed = [
        t
        for t in _crossed_by_every_path(graph, tensors, before, source)
        if _is_spatial(graph, t, t in last) and (t in last or t not in turned_ones)
    ]
    producers = graph.producers()
    # The per-class map is followed by pooling and reshaping only: what counts are weights on the way to `before`.
    weighted = [n for n in graph.nodes if n.op in _WEIGHTED and any(o in tensors or o == before for o in n.outputs)]
    end = max((graph.nodes.index(node) for node in weighted), default=-1)
    position = {out: i for i, node in enumerate(graph.nodes) for out in node.outputs}
    crossed = [t for t in crossed if position[t] < end]
    if not crossed:
        raise ValueError(
            f"`layer` (=None) cannot be chosen: no tensor with height and width, or length, lies on every path to "
            f"{before!r} before its last layer with weights; name one of net.layers()"
        )
    chosen = crossed[-1]
    while True:
        node = producers[_before_rounding(producers, chosen)]
        if not _passes_on(graph, node) or node.inputs[0] not in crossed:
            return chosen
        chosen = node.inputs[0]


def _before_rounding(producers: Mapping[str, Node], tensor: str) -> str:
    """What was quantised and is real again in `tensor`; `tensor` itself where it was not."""
    node = producers[tensor]
    rounded = producers.get(node.inputs[0]) if node.op == "Dequantize" else None
    before = rounded.inputs[0] if rounded is not None and rounded.op == "Quantize" else tensor
    return before if before in producers else tensor


def _passes_on(graph: Graph, node: Node) -> bool:
    """A pool, or what an adaptive maximum or mean is made of, or a node that changes no value."""
    adaptive = node.op == "Resize" and node.attributes.get("mode") in ("windows", "area")
    return adaptive or node.op in (*_POOLS, *_PASSES_ON) or bool(turned(node, graph.types))


def _between(graph: Graph, before: str, source: str) -> dict[str, None]:
    """Float tensors made from `source` that `before` depends on, in order, without `before` itself."""
    needed = {before}
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
    made = {source}
    tensors: dict[str, None] = {}
    for node in graph.nodes:
        if made.intersection(node.inputs):
            made.update(node.outputs)
            for out in node.outputs:
                if out in needed and out != before and graph.types[out].dtype.startswith("float"):
                    tensors[out] = None
    return tensors


def _crossed_by_every_path(graph: Graph, tensors: dict[str, None], before: str, source: str) -> list[str]:
    """The tensors whose removal parts `source` from `before`: where one is made, no earlier one is still needed."""
    on_path = {*tensors, before}
    last_use: dict[str, int] = {}
    for i, node in enumerate(graph.nodes):
        if on_path.intersection(node.outputs):
            last_use.update((name, i) for name in node.inputs if name in on_path or name == source)
    crossed = []
    live_until = last_use.get(source, -1)
    for i, node in enumerate(graph.nodes):
        for out in node.outputs:
            if out not in on_path:
                continue
            if live_until <= i and out in tensors:
                crossed.append(out)
            live_until = max(live_until, last_use.get(out, -1))
    return crossed


def _turned(graph: Graph) -> set[str]:
    """Tensors whose channels are behind their height and width: between transpositions, as in ConvNeXt's blocks."""
    order: dict[str, tuple[int, ...]] = {}  # where the axes of channels-first are
    for node in graph.nodes:
        rank = len(graph.types[node.outputs[0]].shape)
        inputs = [order[t] for t in node.inputs if t in order and len(order[t]) == rank]
        found = inputs[0] if inputs and node.op not in _CHANNELS_FIRST else tuple(range(rank))
        if node.op == "Transpose":
            found = tuple(found[axis] for axis in node.attributes["perm"])
        if found != tuple(range(rank)):
            order.update(dict.fromkeys(filter(None, node.outputs), found))
    return set(order)


def _is_spatial(graph: Graph, tensor: str, channels_last: bool) -> bool:
    shape = graph.types[tensor].per_image
    return len(shape) in (2, 3) and math.prod(shape[:-1] if channels_last else shape[1:]) > 1
