"""Which input is explained: one of the network's, or the embedding that an integer one is read through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..graph import LAYOUTS, Graph, Node, TensorType, default_layout
from ..nn import Network


@dataclass(frozen=True)
class Subject:
    """A tensor that gradients are taken with respect to, windows cover, noise is added to.

    Attributes
    ----------
    name : str
    layout : str
        "NCHW", "NHWC", "NCL", "NLC", or "".
    graph : Graph
        The network's, with the tensor as an input.
    held : tuple of str
        The other inputs of `graph` that the explained output needs: given, and never changed.
    is_input : bool
        Whether the network itself has it as an input.
    notes : tuple of str
    """

    name: str
    layout: str
    graph: Graph
    held: tuple[str, ...]
    is_input: bool
    notes: tuple[str, ...] = ()

    @property
    def kind(self) -> TensorType:
        """Its type."""
        return self.graph.inputs[self.name]


def find_subject(net: Network, name: str | None, *, output: str) -> Subject:
    """Find what is explained of the images.

    Parameters
    ----------
    net : Network
    name : str, optional
        An input; of integers the embedding that it is read through is meant. None is the first floating-point input
        with height and width or length, else the first floating-point one, else the embedding.
    output : str
        The explained tensor.

    Raises
    ------
    ValueError
        `name` is no input, `output` does not depend on it, or there are several embeddings to choose from.
    """
    graph = net.graph
    needed = graph.subgraph([output])
    if name is not None:
        tensor = net.find(name, what="input")
        if tensor not in needed.types:
            raise ValueError(
                f"`input` (={name!r}) is nothing that {output!r} depends on; its inputs are {_list(needed)}"
            )
        if tensor in graph.inputs and not graph.types[tensor].dtype.startswith("float"):
            return _embedded(net, needed, output, [tensor], name)
        return _subject(net, tensor, output, ())
    floats = [other for other, kind in needed.inputs.items() if kind.dtype.startswith("float")]
    if not floats:
        return _embedded(net, needed, output, list(needed.inputs), None)
    images = [other for other in floats if len(needed.types[other].shape) in LAYOUTS]
    return _subject(net, (images or floats)[0], output, ())


def _list(graph: Graph) -> str:
    return ", ".join(map(repr, graph.inputs))


def _embedded(net: Network, needed: Graph, output: str, sources: list[str], name: str | None) -> Subject:
    """The result of the one Gather that reads an integer input, through whatever changes its shape."""
    integers = set(sources)
    found: list[Node] = []
    for node in needed.nodes:
        if node.op == "Gather" and node.inputs[1] in integers:
            found.append(node)
        elif not integers.isdisjoint(node.inputs):
            integers.update(out for out in node.outputs if out)
    if len(found) != 1:
        of = ", ".join(map(repr, sources))
        remedy = f"name one of {', '.join(repr(node.outputs[0]) for node in found)} as `input`"
        raise ValueError(
            f"`input` (={name!r}): the integers of {of} have no gradient, and are read through {len(found)} embeddings"
            f"{'; ' + remedy if found else ', so nothing can be explained of them'}"
        )
    tensor = found[0].outputs[0]
    return _subject(
        net, tensor, output, (f"explained at the embedding {tensor!r} of the integers {found[0].inputs[1]!r}",)
    )


def _subject(net: Network, tensor: str, output: str, notes: tuple[str, ...]) -> Subject:
    kind = net.graph.types[tensor]
    if not kind.dtype.startswith("float") or not kind.batched:
        raise ValueError(f"`input` (={tensor!r}) is {kind}; it must be a floating-point tensor with a batch")
    is_input = tensor in net.graph.inputs
    graph = net.graph if is_input else _cut(net.graph, tensor)
    inputs = graph.subgraph([output]).inputs
    if tensor not in inputs:
        raise ValueError(f"`input` (={tensor!r}) is nothing that {output!r} depends on")
    held = tuple(name for name in inputs if name != tensor)
    if is_input:
        layout = net.layouts[tensor]
    else:  # what a table gives lies behind the places of the integers
        rank = len(kind.shape)
        made = net.graph.producers()[tensor].op
        layout = LAYOUTS[rank][1] if made == "Gather" and rank in LAYOUTS else default_layout(kind)
    if held:
        notes = (*notes, f"explained is {tensor!r}; held as given: {', '.join(map(repr, held))}")
    return Subject(tensor, layout, graph, held, is_input, notes)


def _cut(graph: Graph, tensor: str) -> Graph:
    """The graph with `tensor` as an input; what made it is made no more."""
    nodes = [replace(node, outputs=tuple("" if out == tensor else out for out in node.outputs)) for node in graph.nodes]
    inputs = {**graph.inputs, tensor: graph.types[tensor]}
    return Graph(inputs, graph.outputs, tuple(n for n in nodes if any(n.outputs)), graph.constants, graph.types)


def arrays_of(net: Network, subject: Subject, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of the explained tensor and of what is held, from those of the network's inputs."""
    if subject.is_input:
        explained = given[subject.name]
    else:
        explained = net.activations(given, [subject.name])[subject.name]
    return {subject.name: explained, **{name: given[name] for name in subject.held}}
