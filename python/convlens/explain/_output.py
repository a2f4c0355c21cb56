"""Which tensor is explained: the logits, not the probabilities made of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ..nn import Network
from ..nn._names import answer_of


@dataclass(frozen=True)
class Output:
    """The explained tensor, the probabilities made of it (None without), and by which operator."""

    name: str
    shape: tuple[int, ...]
    probability: str | None = None
    operator: str | None = None

    @cached_property
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
        chooses from; if that is the result of Softmax, LogSoftmax or Sigmoid, through Reshape, quantisation and the
        like too, the tensor before it.

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
    answer = answer_of(graph, net.output_name)
    return Output(answer.logits, graph.types[answer.logits].per_image, answer.probability, answer.operator)
