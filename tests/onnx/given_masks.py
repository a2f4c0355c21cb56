"""Gradients with the sides of all units given: which of them pass, and which input of a pool's window won."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from convlens import nn
from convlens.graph import Graph, Node, TensorType
from convlens.program import Entry, Weights, compile
from convlens.transform import backward

Arrays = Mapping[str, np.ndarray[Any, Any]]


def _differentiated(net: nn.Network) -> tuple[Graph, str, tuple[str, ...]]:
    """The graph with its backward half; the gradient's name; those of the masks and winners that values depend on."""
    graph, gradients = backward(net.graph, net.output_name, [net.input_name])
    users, types = graph.consumers(), graph.types
    sides = (name for node in graph.nodes for name in node.outputs if types[name].dtype in ("bool", "uint8"))
    used = (name for name in sides if any(types[user.outputs[0]].dtype != "bool" for user in users[name]))
    return graph, gradients[net.input_name], tuple(used)


def _run(graph: Graph, feeds: Arrays, dtype: str) -> Arrays:
    entry = Entry(tuple(graph.inputs), graph.outputs)
    inputs = {name: np.asarray(feeds[name]) for name in graph.inputs}
    inputs = {name: array.astype(dtype) if array.dtype.kind == "f" else array for name, array in inputs.items()}
    return compile(graph, {"run": entry}, dtype=dtype).run("run", inputs, Weights(graph.constants))


def gradients(net: nn.Network, x: np.ndarray[Any, Any], seed: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    """In float32, and in float64 with the sides that float32 found, of a float32 network."""
    graph, gradient, sides = _differentiated(net)
    feeds = {net.input_name: x, "seed": seed}
    found = _run(Graph(graph.inputs, (gradient, *sides), graph.nodes, graph.constants, graph.types), feeds, "float32")

    graph, gradient, sides = _differentiated(net.astype("float64"))
    masks = {name: f"{name}@given" for name in sides if graph.types[name].dtype == "bool"}  # 1 is true
    given = {new: TensorType("float64", graph.types[old].shape) for old, new in masks.items()}
    given |= {name: graph.types[name] for name in sides if name not in masks}
    nodes = [Node("Greater", (new, "half"), (old,)) for old, new in masks.items()]
    nodes += [node for node in graph.nodes if not set(sides) & set(node.outputs)]
    constants, half = {**graph.constants, "half": np.array(0.5)}, TensorType("float64", ())
    types = {**graph.types, **given, "half": half}
    fixed = Graph({**graph.inputs, **given}, (gradient,), tuple(nodes), constants, types).subgraph((gradient,))
    feeds |= {masks.get(name, name): found[name].astype("float64") if name in masks else found[name] for name in sides}
    return found[gradient], _run(fixed, feeds, "float64")[gradient]
