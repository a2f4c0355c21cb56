"""NumPy's best: problems by their function, networks node by node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ...graph import Graph, Node, attribute, call_of, window_of
from . import numpy_best
from ._call import Call, eager, has_both_bounds, unsupported
from ._case import Case
from ._fold import fold_batch_norm

Array = npt.NDArray[Any]
_Step = Callable[..., Array]


def make(case: Case, threads: int) -> Call:
    """The number of threads is BLAS's, set in the environment."""
    if case.problem is not None:
        return Call(eager(numpy_best, case))
    return Call(network(case.graph, case.arrays["x"]))


def network(graph: Graph, x: Array) -> Callable[[], Array]:
    """A call that runs a forward graph with the functions of numpy_best."""
    graph = fold_batch_norm(graph)
    steps = [(_step(node, graph), [i for i in node.inputs if i], node.outputs[0]) for node in graph.nodes]

    def run() -> Array:
        values = dict(graph.constants)
        values[next(iter(graph.inputs))] = x
        for step, inputs, output in steps:
            values[output] = step(*(values[name] for name in inputs))
        return values[graph.outputs[0]]

    return run


def _step(node: Node, graph: Graph) -> _Step:
    """The function of one node, its attributes bound."""
    call = call_of(node, graph.types, graph.constants)
    if node.op in ("Conv", "MaxPool", "AveragePool"):
        window = window_of(node, graph.types)
        top, left, bottom, right = window.pads
        keywords: dict[str, Any] = {"stride": window.stride, "padding": ((top, bottom), (left, right))}
        if node.op == "Conv":
            groups = int(attribute(node, "group"))
            return lambda x, w, b=None: numpy_best.conv2d(x, w, b, dilation=window.dilation, groups=groups, **keywords)
        if window.dilation != (1, 1) or window.ceil_mode:
            raise unsupported("NumPy", f"{node.op} with dilation or ceil_mode")
        if node.op == "MaxPool":
            return lambda x: numpy_best.max_pool2d(x, window.kernel, **keywords)
        counted = bool(attribute(node, "count_include_pad"))
        return lambda x: numpy_best.avg_pool2d(x, window.kernel, count_include_pad=counted, **keywords)
    if node.op == "Gemm":
        if attribute(node, "alpha") != 1 or attribute(node, "beta") != 1 or attribute(node, "transA"):
            raise unsupported("NumPy", "Gemm with alpha, beta or transA")
        if attribute(node, "transB"):
            return numpy_best.linear
        return lambda x, w, b=None: numpy_best.linear(x, w.T, b)
    if node.op in ("Softmax", "LogSoftmax"):
        if attribute(node, "axis") not in (1, -1) or len(graph.types[node.inputs[0]].shape) != 2:
            raise unsupported("NumPy", f"{node.op} of maps")
        return numpy_best.softmax if node.op == "Softmax" else lambda x: np.log(numpy_best.softmax(x))
    if node.op == "Reshape":
        shape = tuple(int(v) for v in call.constant("shape"))
        return lambda x, _: x.reshape(tuple(x.shape[i] if v == 0 else v for i, v in enumerate(shape)))
    if node.op == "Pad" and attribute(node, "mode") == "constant" and len(node.inputs) == 2:
        before_after = call.constant("pads").reshape(2, -1).T
        if len(before_after) == 4 and not before_after[:2].any():
            (top, bottom), (left, right) = before_after[2:].tolist()
            return lambda x, _: numpy_best.padded(x, ((top, bottom), (left, right)))
    if node.op == "BatchNormalization":
        eps = float(attribute(node, "epsilon"))
        return lambda x, gamma, beta, mean, var: numpy_best.batch_norm(x, mean, var, gamma, beta, eps=eps)
    if node.op not in _SIMPLE or (node.op == "Clip" and not has_both_bounds(node)):
        raise unsupported("NumPy", node.op)
    return _SIMPLE[node.op]


def _clip(x: Array, low: Array, high: Array) -> Array:
    return np.minimum(np.maximum(x, low), high)


#: Operators without attributes that matter here.
_SIMPLE: dict[str, _Step] = {
    "Relu": numpy_best.relu,
    "Clip": _clip,
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Tanh": np.tanh,
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Identity": lambda x: x,
    "Flatten": lambda x: x.reshape(len(x), -1),
    "GlobalAveragePool": lambda x: x.mean(axis=(2, 3), keepdims=True),
}
