"""First pass: numbers become immediates, reshapes aliases, batch normalisation arithmetic; every op gets its entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from .._errors import UnsupportedError
from ..graph import Graph, Node, TensorType, reduce_axes
from ._expression import Expression, apply, freeze, number
from ._flow import Chw, Entry, Flow, Geometry, Op, chw, names, operand_shape

ALIASES = frozenset({"Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Dropout"})
ELEMENTWISE = frozenset(
    "Relu Sigmoid Tanh Exp Log Sqrt Abs Neg Sign Clip Add Sub Mul Div Max Min Greater GreaterOrEqual Less Equal And Or "
    "Not Where Fill Assign".split()
)
# Cheap, and smaller than what they are made from: computed as soon as they can be, so that activations need not stay.
_HOISTED_DTYPES = frozenset({"bool", "uint8"})


def normalise(graph: Graph, entries: Mapping[str, Entry], updates: Mapping[str, str]) -> Flow:
    """Check the request and bring the graph into the form the other passes read.

    Raises
    ------
    ValueError
        When an entry or an update names something the graph does not have.
    UnsupportedError
        When a node has no instruction; it is named.
    """
    _check(graph, entries, updates)
    flow = Flow(graph, dict(entries), dict(updates), types=dict(graph.types))
    for index, entry in enumerate(entries.values()):
        for name in entry.inputs:
            flow.input_entry[name] = index
    for name, value in graph.constants.items():
        if value.ndim == 0:
            flow.immediates[name] = float(value)
        else:
            flow.constants[name] = Expression(value.shape, name=name)
    for node in graph.nodes:
        _normalise_node(flow, node)
    for state, value in updates.items():
        flow.ops.append(Op("Assign", [value], [], {"state": state}, f"update of {state}"))
    flow.index_uses()
    _place(flow)
    flow.index_uses()
    return flow


def _check(graph: Graph, entries: Mapping[str, Entry], updates: Mapping[str, str]) -> None:
    if not entries:
        raise ValueError("`entries` is empty; give at least one, such as {'forward': Entry(('images',), ('logits',))}")
    given: dict[str, str] = {}
    for label, entry in entries.items():
        for name in entry.inputs:
            if name not in graph.inputs:
                raise ValueError(
                    f"entry {label!r}: {name!r} is not an input of the graph; its inputs are {names(graph.inputs)}"
                )
            if name in given:
                raise ValueError(
                    f"entry {label!r}: input {name!r} is already given to entry {given[name]!r}; later entries read "
                    "what earlier ones kept, so name it once"
                )
            if name in updates:
                raise ValueError(f"entry {label!r}: {name!r} is in `updates`, so it is State and not an input")
            given[name] = label
        for name in entry.outputs:
            if name not in graph.types:
                raise ValueError(f"entry {label!r}: {name!r} is not a tensor of the graph")
    for state, value in updates.items():
        if state not in graph.inputs or graph.types[state].batched:
            raise ValueError(f"`updates`: {state!r} must be a graph input that is not batched")
        if value not in graph.types:
            raise ValueError(f"`updates`: {value!r}, the new value of {state!r}, is not a tensor of the graph")
        if chw(graph.types[state]) != chw(graph.types[value]) or graph.types[value].batched:
            raise ValueError(
                f"`updates`: {state!r} is {graph.types[state]}, but its new value {value!r} is {graph.types[value]}"
            )


def _normalise_node(flow: Flow, node: Node) -> None:
    types = flow.types
    op = Op(node.op, list(node.inputs), [o for o in node.outputs], node.attributes, node.name or node.outputs[0])
    data = [name for name in _data_inputs(node) if name]
    if node.op in ALIASES:
        if len(node.outputs) > 1 and node.outputs[1]:
            op.unsupported("only its first output is supported")
        _alias(flow, node.inputs[0], node.outputs[0])
    elif data and all(not flow.dynamic(name) for name in data):
        if len(node.outputs) > 1:
            op.unsupported("a node over constants must have one output")
        flow.constants[node.outputs[0]] = _constant(flow, node)
    elif node.op == "BatchNormalization":
        _batch_normalization(flow, op)
    elif node.op == "SoftmaxCrossEntropyLoss":
        _cross_entropy(flow, op)
    elif node.op == "SoftmaxCrossEntropyLossGrad":
        _cross_entropy_grad(flow, op)
    elif node.op == "Where" and node.inputs[1] == node.inputs[2]:  # a value in the shape of another tensor
        _add(flow, op, "Fill", [node.inputs[1]], node.outputs[0], types[node.outputs[0]])
    elif node.op == "Gemm":
        _gemm(flow, op)
    else:
        flow.ops.append(op)
        base = _elementwise_base(flow, op) if node.op in ELEMENTWISE else _reduced_base(flow, op)
        if base is not None:
            flow.base[op.outputs[0]] = base
        for out in node.outputs:
            if out and types[out].dtype not in ("float32", "float64", "bool", "uint8"):
                op.unsupported(f"its output is {types[out].dtype}; supported: float32, float64, bool and uint8 offsets")


def _data_inputs(node: Node) -> tuple[str, ...]:
    """Inputs without those that say how (axes, shapes)."""
    how = {"ReduceSum", "ReduceMean", "ReduceMax", "Reshape", "Resize", "Pad", "Squeeze", "Unsqueeze"}
    return node.inputs[:1] if node.op in how else node.inputs


def _alias(flow: Flow, source: str, alias: str) -> None:
    if source in flow.immediates:
        flow.immediates[alias] = flow.immediates[source]
    elif source in flow.constants:
        flow.constants[alias] = flow.constants[source]  # one order of elements: only the type differs
    else:
        flow.root[alias] = flow.root_of(source)


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


def _add(flow: Flow, like: Op, op: str, inputs: list[str], out: str, kind: TensorType) -> str:
    flow.types[out] = kind
    flow.ops.append(Op(op, inputs, [out], {}, like.name))
    if op in ELEMENTWISE:
        base = _elementwise_base(flow, flow.ops[-1])
        if base is not None:
            flow.base[out] = base
    return out


def _batch_normalization(flow: Flow, op: Op) -> None:
    """y = x s + t, s = scale / sqrt(var + epsilon), t = bias - mean s: a convolution before it takes both up."""
    x, scale, bias, mean, var = op.inputs
    epsilon = float(op.attributes.get("epsilon", 1e-5))
    kind = flow.types[x]
    vector = TensorType(kind.dtype, (1, chw(kind)[0]) + (1,) * (len(kind.shape) - 2))
    s, t, y = f"{op.name}/scale", f"{op.name}/shift", op.outputs[0]
    parameters = [scale, bias, mean, var]
    if all(name in flow.constants for name in parameters):
        e_scale, e_bias, e_mean, e_var = (flow.constants[name] for name in parameters)
        s_expression = apply("Div", e_scale, apply("Sqrt", apply("Add", e_var, number(epsilon))))
        flow.constants[s] = s_expression
        flow.constants[t] = apply("Sub", e_bias, apply("Mul", e_mean, s_expression))
        flow.types[s] = flow.types[t] = vector
    else:
        plain = TensorType(kind.dtype, (chw(kind)[0],))
        small = f"{op.name}/epsilon"
        flow.immediates[small], flow.types[small] = epsilon, TensorType(kind.dtype, ())
        shifted = _add(flow, op, "Add", [var, small], f"{op.name}/var", plain)
        deviation = _add(flow, op, "Sqrt", [shifted], f"{op.name}/deviation", plain)
        flow.root[s] = _add(flow, op, "Div", [scale, deviation], f"{s}/vector", plain)
        moved = _add(flow, op, "Mul", [mean, f"{s}/vector"], f"{op.name}/mean", plain)
        flow.root[t] = _add(flow, op, "Sub", [bias, moved], f"{t}/vector", plain)
        flow.types[s] = flow.types[t] = vector
    scaled = _add(flow, op, "Mul", [x, s], f"{y}/scaled", flow.types[y])
    _add(flow, op, "Add", [scaled, t], y, flow.types[y])


def _cross_entropy(flow: Flow, op: Op) -> None:
    """One loss an image, then its sum or mean over the batch."""
    logits, labels = op.inputs[:2]
    kind, reduction = flow.types[logits], flow.call(op).attribute("reduction")
    if not kind.batched or len(kind.shape) != 2 or flow.types[labels].dtype != "int64":
        op.unsupported(f"logits are {kind}, labels {flow.types[labels]}; supported: (N, K) with int64 labels (N,)")
    each = op.outputs[0] if reduction == "none" else f"{op.outputs[0]}/each"
    flow.types[each] = TensorType(kind.dtype, kind.shape[:1])
    flow.ops.append(Op("CrossEntropy", [logits, labels], [each, *op.outputs[1:]], {}, op.name))
    if reduction != "none":
        reduce = "ReduceMean" if reduction == "mean" else "ReduceSum"
        flow.ops.append(Op(reduce, [each], [op.outputs[0]], {"axes": (0,), "keepdims": 0}, op.name))


def _cross_entropy_grad(flow: Flow, op: Op) -> None:
    """The mean's gradient is that of the sum over the number of images, which only a run knows: it counts them."""
    log_prob, labels, dloss = op.inputs
    kind = flow.types[log_prob]
    if not kind.batched or len(kind.shape) != 2 or flow.types[labels].dtype != "int64":
        op.unsupported(f"log_prob is {kind}, labels {flow.types[labels]}; supported: (N, K) with int64 labels (N,)")
    if flow.call(op).attribute("reduction") == "mean":
        one = f"{op.name}/one"
        flow.immediates[one], flow.types[one] = 1.0, TensorType(kind.dtype, ())
        ones = _add(flow, op, "Fill", [one], f"{op.name}/ones", TensorType(kind.dtype, kind.shape[:1]))
        flow.types[f"{op.name}/count"] = flow.types[one]
        flow.ops.append(Op("ReduceSum", [ones], [f"{op.name}/count"], {"axes": (0,), "keepdims": 0}, op.name))
        dloss = _add(flow, op, "Div", [dloss, f"{op.name}/count"], f"{op.name}/share", flow.types[one])
    if not flow.dynamic(dloss):
        op.unsupported("dloss must be computed by the graph or given; make it an input")
    flow.ops.append(Op("CrossEntropyGrad", [log_prob, labels, dloss], op.outputs, {}, op.name))


def _gemm(flow: Flow, op: Op) -> None:
    """Tell the three linear instructions apart: a @ B, its transpose, and the sum over the batch of a^T b."""
    a, b = op.inputs[0], op.inputs[1]
    c = op.inputs[2] if len(op.inputs) > 2 else ""
    alpha, beta = float(op.attributes.get("alpha", 1.0)), float(op.attributes.get("beta", 1.0))
    trans_a, trans_b = bool(op.attributes.get("transA", 0)), bool(op.attributes.get("transB", 0))
    kind_a, kind_b = flow.types[a], flow.types[b]
    if alpha != 1.0 or (c and beta != 1.0):
        op.unsupported(f"alpha (={alpha:g}) and beta (={beta:g}) must be 1; scale the weight and the bias instead")
    if kind_a.batched and kind_b.batched and trans_a and not trans_b and not c:
        _linear_grad_weight(flow, op, a, b)
    elif kind_a.batched and not kind_b.batched and not trans_a:
        _linear(flow, op, a, b, c, trans_b)
    else:
        op.unsupported(
            f"a is {kind_a}, b is {kind_b}, transA={int(trans_a)}, transB={int(trans_b)}; supported: (N, F) by a matrix "
            "that is not batched, and transA=1 of two batched matrices"
        )


def _linear(flow: Flow, op: Op, a: str, b: str, c: str, trans_b: bool) -> None:
    rows, columns = (int(d) for d in flow.types[b].shape)
    weight = flow.root_of(b)
    base = flow.base_of(a)
    # The first product of a weight decides how it is packed. The other orientation is its transpose: a gradient.
    backward = flow.geometry.get((weight, not trans_b))
    own = flow.geometry.get((weight, trans_b))
    if backward is not None and not c and base == (backward.K, 1, 1):
        flow.ops.append(Op("LinearGradInput", [a, b], op.outputs, {"geometry": backward}, op.name))
        flow.base[op.outputs[0]] = (backward.C, backward.R, backward.S)
        return
    outputs, inputs = (rows, columns) if trans_b else (columns, rows)
    if own is None or (own.C, own.R, own.S) != base:
        own = Geometry(outputs, *base, transposed=not trans_b)
        if own.C * own.R * own.S != inputs:
            op.unsupported(f"a has {own.C * own.R * own.S} features, the matrix takes {inputs}")
        flow.geometry.setdefault((weight, trans_b), own)
    flow.ops.append(Op("Linear", [a, b, c], op.outputs, {"geometry": own}, op.name))


def _linear_grad_weight(flow: Flow, op: Op, a: str, b: str) -> None:
    read = {flow.root_of(o.inputs[0]) for o in flow.ops if o.op == "Linear"}
    transposed = flow.root_of(b) not in read and (flow.root_of(a) in read or flow.base_of(a)[1:] != (1, 1))
    dy, x = (b, a) if transposed else (a, b)
    geometry = Geometry(chw(flow.types[dy])[0], *flow.base_of(x), transposed=transposed)
    flow.ops.append(Op("LinearGradWeight", [dy, x], op.outputs, {"geometry": geometry}, op.name))


def _elementwise_base(flow: Flow, op: Op) -> Chw | None:
    """The shape to compute in: that of the operands' bytes when all share it, so that a Flatten costs nothing."""
    if op.op == "Assign":
        return None
    kind = flow.types[op.outputs[0]]
    natural, bases = chw(kind), set()
    for name in op.inputs:
        if not name or name in flow.immediates:
            continue
        shape = operand_shape(kind, flow.types[name])
        if flow.types[name].batched and shape == natural:
            bases.add(flow.base_of(name))
        elif shape != (1, 1, 1):
            return None
    return bases.pop() if len(bases) == 1 and bases != {natural} else None


def _reduced_base(flow: Flow, op: Op) -> Chw | None:
    """What a reduction leaves is computed with its axes kept; dropping them is an alias."""
    kind = flow.types[op.inputs[0]] if op.inputs and op.inputs[0] else None
    if not op.op.startswith("Reduce") or kind is None or not kind.batched:
        return None
    axes = reduce_axes(flow.call(op))
    if 0 in axes:
        return None
    return chw(TensorType(kind.dtype, tuple(1 if i in axes else dim for i, dim in enumerate(kind.shape))))


def _place(flow: Flow) -> None:
    """Give each op the entry that first needs it, drop what none needs, and compute masks early."""
    available: dict[str, int] = dict.fromkeys(flow.updates, 0)
    for name, entry in flow.input_entry.items():
        available[name] = entry
    need: dict[str, set[int]] = {}
    for index, request in enumerate(flow.entries.values()):
        for name in request.outputs:
            need.setdefault(flow.root_of(name), set()).add(index)
    for op in flow.ops:
        reads = [available.get(flow.root_of(name)) for name in op.inputs if flow.dynamic(name)]
        if None not in reads:
            earliest = max((r for r in reads if r is not None), default=0)
            for out in op.outputs:
                available[out] = earliest
            op.entry = earliest
    kept: list[Op] = []
    for op in reversed(flow.ops):
        wanted = set().union(*(need.get(out, set()) for out in op.outputs))
        if op.op != "Assign" and not wanted:
            continue
        if op.entry < 0:
            lacking = [n for n in op.inputs if flow.dynamic(n) and flow.root_of(n) not in available]
            _missing(flow, op, lacking[0], len(flow.entries) - 1)
        # What several entries read belongs to none of them, so that each can run without the others.
        if len(wanted) == 1:
            op.entry = wanted.pop()
        for name in op.inputs:
            if flow.dynamic(name):
                need.setdefault(flow.root_of(name), set()).add(op.entry)
        kept.append(op)
    kept.reverse()
    made: dict[str, int] = {}
    for op in kept:
        earliest = 0
        for name in op.inputs:
            if flow.dynamic(name):
                root = flow.root_of(name)
                if root not in available or available[root] > op.entry:
                    _missing(flow, op, root, op.entry)
                earliest = max(earliest, made.get(root, available[root]))
        if op.outputs and all(flow.types[out].dtype in _HOISTED_DTYPES for out in op.outputs if out):
            op.entry = earliest
        for out in op.outputs:
            made[out] = op.entry
    flow.ops = kept
    for index, (label, request) in enumerate(flow.entries.items()):
        for name in request.outputs:
            root = flow.root_of(name)
            if flow.dynamic(name) and available.get(root, index + 1) > index:
                raise ValueError(f"entry {label!r}: {name!r} needs inputs that no entry up to it is given")


def _missing(flow: Flow, op: Op, name: str, entry: int) -> NoReturn:
    label = list(flow.entries)[entry]
    wanted = [n for n in flow.graph.inputs if n not in flow.input_entry and n not in flow.updates]
    raise ValueError(
        f"node {op.name!r} ({op.op}) needs {name!r}, which no entry up to {label!r} is given or computes; "
        f"graph inputs that no entry lists: {names(wanted)}"
    )
