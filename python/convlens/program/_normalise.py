"""First pass: numbers become immediates, reshapes aliases, batch normalisation arithmetic; every op gets its entry."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .._errors import UnsupportedError
from ..graph import Graph, Node, TensorType
from ._entries import check_parts, check_request, place
from ._expand import (
    alias,
    append,
    batch_normalization,
    conv_transpose,
    cross_entropy,
    cross_entropy_grad,
    dropout_mask,
    gemm,
    matmul,
    redraw_masks,
)
from ._expression import Expression, freeze, number
from ._flow import ELEMENTWISE, Entry, Flow, Op
from ._move import concat, expand, pad, slice_, slice_grad, split, spread_operands, transpose
from ._phases import conv_grad_input
from ._reduce import arg_max, reduction, softmax
from ._shuffles import fold_shuffles

# Operators that become ops of lowering's own.
EXPANSIONS = {
    "BatchNormalization": batch_normalization,
    "ConvTranspose": conv_transpose,
    "ConvGradInput": conv_grad_input,
    "SoftmaxCrossEntropyLoss": cross_entropy,
    "SoftmaxCrossEntropyLossGrad": cross_entropy_grad,
    "Gemm": gemm,
    "MatMul": matmul,
    "DropoutMask": dropout_mask,
    "Softmax": softmax,
    "LogSoftmax": softmax,
    "ArgMax": arg_max,
    "ArgMin": arg_max,
    "Concat": concat,
    "Slice": slice_,
    "SliceGrad": slice_grad,
    "Split": split,
    "Transpose": transpose,
    "Expand": expand,
    "Pad": pad,
    **dict.fromkeys(("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2"), reduction),
}
ALIASES = frozenset({"Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Dropout", "StopGradient"})


def normalise(
    graph: Graph,
    entries: Mapping[str, Entry],
    updates: Mapping[str, str],
    numbers: Mapping[str, float] | None = None,
    *,
    inside: Collection[str] | None = None,
    blocked: Collection[str] = (),
    tiled: Collection[str] | None = None,
) -> Flow:
    """Check the request and bring the graph into the form the other passes read.

    `numbers` holds constants of rank 0 that are known better than the graph's type has them; `inside` names
    the inputs of a part of a larger graph that the larger graph makes itself; `blocked` those, the outputs and the
    states that cross in blocks of channels; `tiled` the results of convolutions that alone go by Winograd's algorithm.

    Raises
    ------
    ValueError
        When an entry, an update, `blocked` or `tiled` names something the graph does not have, or of another kind.
    UnsupportedError
        When a node has no instruction; it is named.
    """
    check_request(graph, entries, updates)
    check_parts(graph, entries, updates, blocked, tiled or ())
    types = dict(graph.types)
    flow = Flow(graph, dict(entries), dict(updates), types=types, inside=inside, blocked=blocked, tiled=tiled)
    for index, entry in enumerate(entries.values()):
        for name in entry.inputs:
            flow.input_entry[name] = index
    for name, array in graph.constants.items():
        if array.ndim == 0:
            flow.immediates[name] = (numbers or {}).get(name, float(array))
        else:
            flow.constants[name] = Expression(array.shape, name=name)
    for node in graph.nodes:
        _normalise_node(flow, node)
    for state, value in updates.items():
        flow.ops.append(Op("Assign", [value], [], {"state": state}, f"update of {state}"))
    flow.index_uses()
    fold_shuffles(flow)
    place(flow)
    flow.index_uses()
    return flow


def _normalise_node(flow: Flow, node: Node) -> None:
    types = flow.types
    op = Op(node.op, list(node.inputs), list(node.outputs), node.attributes, node.name or node.outputs[0])
    data = [name for name in _data_inputs(node) if name]
    if node.op in ALIASES:
        if len(node.outputs) > 1 and node.outputs[1]:
            op.unsupported("only its first output is supported")
        alias(flow, node.inputs[0], node.outputs[0])
    elif data and all(not flow.dynamic(name) for name in data):
        if len(node.outputs) > 1:
            op.unsupported("a node over constants must have one output")
        flow.constants[node.outputs[0]] = _constant(flow, node)
    elif node.op in EXPANSIONS:
        EXPANSIONS[node.op](flow, op)
    elif node.op == "Where" and node.inputs[1] == node.inputs[2]:  # a value in the shape of another tensor
        op.op, op.inputs = "Fill", [node.inputs[1]]
        spread_operands(flow, op)
        append(flow, op)
    else:
        if node.op in ELEMENTWISE:
            spread_operands(flow, op)
        append(flow, op)
        if node.op in ELEMENTWISE:
            redraw_masks(flow, op)
        for out in node.outputs:
            if out and types[out].dtype not in ("float32", "float64", "bool", "uint8"):
                op.unsupported(f"its output is {types[out].dtype}; supported: float32, float64, bool and uint8 offsets")


def _data_inputs(node: Node) -> tuple[str, ...]:
    """Inputs without those that say how (axes, shapes)."""
    how = {"Reshape", "Resize", "Pad", "Squeeze", "Unsqueeze", "Slice", "Split", "Expand"}
    return node.inputs[:1] if node.op in how or node.op.startswith("Reduce") else node.inputs


def _constant(flow: Flow, node: Node) -> Expression:
    def operand(name: str) -> Expression:
        if name in flow.immediates:
            return number(flow.immediates[name])
        if name not in flow.constants:
            raise UnsupportedError(f"node {node.name!r} ({node.op}): {name!r} must be a constant")
        return flow.constants[name].reshape(_dims(flow.types[name]))

    return Expression(
        _dims(flow.types[node.outputs[0]]),
        node.op,
        tuple(operand(name) for name in node.inputs if name),
        tuple(sorted((k, freeze(v)) for k, v in node.attributes.items())),
    )


def _dims(kind: TensorType) -> tuple[int, ...]:
    return tuple(int(d) for d in kind.shape)
