"""Which tensor is explained: the logits, not the probabilities made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..graph import Node
from ..nn import Network

_TO_PROBABILITY = ("Softmax", "LogSoftmax", "Sigmoid")
_PASSES_ON = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout", "Quantize", "Dequantize")
_CHOOSES = ("ArgMax", "ArgMin")


@dataclass(frozen=True)
class Output:
    """The explained tensor, the probabilities made of it (None without), and by which operator."""

    name: str
    shape: tuple[int, ...]
    probability: str | None = None
    operator: str | None = None

    @property
    def classes(self) -> int | None:
        """The number of classes if one axis holds them all, None for maps and boxes."""
        long = [size for size in self.shape if size != 1]
        return 1 if not long else long[0] if len(long) == 1 else None

    @property
    def multi_label(self) -> bool:
        """Several sigmoid outputs, each an answer of its own."""
        return self.operator == "Sigmoid" and self.classes != 1


def find_output(net: Network, output: str | None = None) -> Output:
    """Find what to explain.

    Parameters
    ----------
    net : Network
    output : str, optional
        Any floating-point tensor with a batch axis, explained as it is. None is the network's output, or what an ArgMax
        chooses from; if that is the result of Softmax, LogSoftmax or Sigmoid, through Identity, Reshape, Flatten or
        quantisation too, the tensor before it.

    Returns
    -------
    Output

    Raises
    ------
    ValueError
        If `output` is not such a tensor; the message has the five nearest names.
    """
    graph = net.graph
    if output is not None:
        name = net.find(output, what="output")
        kind = graph.types[name]
        if name in graph.inputs or not kind.batched or not kind.dtype.startswith("float"):
            raise ValueError(
                f"`output` (={output!r}) is {kind}; it must be a computed floating-point tensor with a batch"
            )
        return Output(name, kind.per_image)
    producers = graph.producers()
    name, node = net.output_name, _maker(producers, net.output_name)
    if node is not None and node.op in _CHOOSES:
        name, node = node.inputs[0], _maker(producers, node.inputs[0])
    if node is None or node.op not in _TO_PROBABILITY:
        return Output(name, graph.types[name].per_image)
    return Output(node.inputs[0], graph.types[node.inputs[0]].per_image, name, node.op)


def _maker(producers: Mapping[str, Node], name: str) -> Node | None:
    """The node whose values a tensor has."""
    node = producers.get(name)
    while node is not None and node.op in _PASSES_ON:
        node = producers.get(node.inputs[0])
    return node
