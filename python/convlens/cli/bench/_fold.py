"""Batch normalisation folded into the convolution before it, for libraries whose users do that beforehand."""

from __future__ import annotations

import numpy as np

from ...graph import Graph, GraphBuilder, attribute


def fold_batch_norm(graph: Graph) -> Graph:
    """Scale the weights instead of the output wherever a convolution feeds one BatchNormalization alone."""
    builder = GraphBuilder()
    for name, kind in graph.inputs.items():
        builder.input(name, kind.dtype, kind.shape)
    for name, value in graph.constants.items():
        builder.constant(value, name)
    folded = set()
    consumers = graph.consumers()
    for node in graph.nodes:
        users = consumers.get(node.outputs[0], [])
        constant = all(name in graph.constants for name in node.inputs[1:] if name)
        if (
            node.op == "Conv"
            and constant
            and node.outputs[0] not in graph.outputs
            and [user.op for user in users] == ["BatchNormalization"]
        ):
            norm = users[0]
            gamma, beta, mean, var = (graph.constants[name] for name in norm.inputs[1:])
            weight = graph.constants[node.inputs[1]]
            bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else np.zeros_like(mean)
            scale = gamma / np.sqrt(var + var.dtype.type(attribute(norm, "epsilon")))
            inputs = [
                node.inputs[0],
                builder.constant(weight * scale[:, None, None, None]),
                builder.constant((bias - mean) * scale + beta),
            ]
            builder.add("Conv", inputs, node.attributes, outputs=norm.outputs)
            folded.add(norm.name)
        elif node.name not in folded:
            builder.add(node.op, node.inputs, node.attributes, outputs=node.outputs)
    return builder.build(graph.outputs).subgraph(graph.outputs)
