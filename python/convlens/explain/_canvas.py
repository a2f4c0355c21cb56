"""The graph under construction: a network's forward half, to which methods append theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph import Graph, GraphBuilder
from ..transform import Rules, backward, rule_notes


class Canvas:
    """What a method's ``program(canvas, **options)`` sees.

    Attributes
    ----------
    images, output : str
        The network's input, and the tensor that is explained.
    layer : str
        The inner tensor that a method with ``needs_layer`` reads; empty for the others.
    layout : str
        The axes of `images`, such as "NHWC".
    layer_last : bool
        Whether the channels of `layer` are on its last axis.
    notes : list of str
        What a user of the method must be told, such as a rule beyond its paper.
    """

    def __init__(
        self,
        graph: Graph,
        images: str,
        output: str,
        layer: str = "",
        *,
        layout: str = "NCHW",
        layer_last: bool = False,
    ) -> None:
        self.graph = graph
        self.images = images
        self.output = output
        self.layer = layer
        self.layout = layout
        self.layer_last = layer_last
        self.seed = ""
        self.notes: list[str] = []

    def gradient(self, wrt: str, rules: Rules, *, seed: str) -> str:
        """Append the backward half down to `wrt`, and no further; returns the gradient.

        `seed` names the new input of the output's shape: the gradient of what is explained.
        """
        self.notes += rule_notes(self.graph.subgraph([self.output]), rules)
        self.seed = self.unused(seed)
        self.graph, gradients = backward(self.graph, self.output, [wrt], rules=rules, seed=self.seed)
        return gradients[wrt]

    def add(self, op: str, inputs: Sequence[str], *, name: str = "", **attributes: Any) -> str:
        """Append a node and return its tensor."""
        builder = GraphBuilder(self.graph)
        tensor = builder.add(op, inputs, attributes, name=builder.fresh(name or op.lower()))
        self.graph = builder.build(self.graph.outputs)
        return tensor

    def integers(self, values: Sequence[int]) -> str:
        """Append a constant of axes or sizes."""
        builder = GraphBuilder(self.graph)
        tensor = builder.constant(np.array(values, np.int64), builder.fresh("integers"))
        self.graph = builder.build(self.graph.outputs)
        return tensor

    def number(self, value: float, *, like: str) -> str:
        """Append a constant of a tensor's dtype."""
        builder = GraphBuilder(self.graph)
        tensor = builder.constant(np.array(value, self.graph.types[like].dtype), builder.fresh("number"))
        self.graph = builder.build(self.graph.outputs)
        return tensor

    def shape(self, tensor: str) -> tuple[int, ...]:
        """A tensor's shape without the batch."""
        return self.graph.types[tensor].per_image

    def unused(self, name: str) -> str:
        """`name`, or `name` with a number if the network has such a tensor."""
        return GraphBuilder(self.graph).fresh(name)
