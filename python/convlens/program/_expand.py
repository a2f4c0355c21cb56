"""Operators that are several instructions, or one of several, written as the ops the other passes know."""

from __future__ import annotations

import math

from ..graph import TensorType, of_row, reduce_axes, transposed_window, window_attributes
from ._expression import apply, number
from ._flow import ELEMENTWISE, Chw, Flow, Geometry, Op, chw, operand_shape


def alias(flow: Flow, source: str, name: str) -> None:
    """Make `name` another view of the elements of `source`."""
    if source in flow.immediates:
        flow.immediates[name] = flow.immediates[source]
    elif source in flow.constants:
        flow.constants[name] = flow.constants[source]  # one order of elements: only the type differs
    else:
        flow.root[name] = flow.root_of(source)


def append(flow: Flow, op: Op) -> None:
    """Append an op, with the shape it is computed in when that is not its type's."""
    flow.ops.append(op)
    base = elementwise_base(flow, op) if op.op in ELEMENTWISE else reduced_base(flow, op)
    if base is not None:
        flow.base[op.outputs[0]] = base


def add_op(flow: Flow, like: Op, op: str, inputs: list[str], out: str, kind: TensorType) -> str:
    flow.types[out] = kind
    append(flow, Op(op, inputs, [out], {}, like.name))
    return out


def batch_normalization(flow: Flow, op: Op) -> None:
    """Y = x s + t, s = scale / sqrt(var + epsilon), t = bias - mean s: a convolution before it takes both up."""
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
        shifted = add_op(flow, op, "Add", [var, small], f"{op.name}/var", plain)
        deviation = add_op(flow, op, "Sqrt", [shifted], f"{op.name}/deviation", plain)
        flow.root[s] = add_op(flow, op, "Div", [scale, deviation], f"{s}/vector", plain)
        moved = add_op(flow, op, "Mul", [mean, f"{s}/vector"], f"{op.name}/mean", plain)
        flow.root[t] = add_op(flow, op, "Sub", [bias, moved], f"{t}/vector", plain)
        flow.types[s] = flow.types[t] = vector
    scaled = add_op(flow, op, "Mul", [x, s], f"{y}/scaled", flow.types[y])
    add_op(flow, op, "Add", [scaled, t], y, flow.types[y])


def conv_transpose(flow: Flow, op: Op) -> None:
    """The input gradient of the convolution it transposes, which adds the bias."""
    window, size = transposed_window(flow.node(op), flow.types)
    axes, groups = len(flow.types[op.inputs[0]].shape) - 2, int(op.attributes.get("group", 1))
    channels = int(flow.types[op.outputs[0]].shape[1])
    attributes = {
        **window_attributes(window, axes),
        "group": groups,
        "input_shape": (channels, *of_row(size, axes)),
    }
    flow.ops.append(Op("ConvGradInput", op.inputs, op.outputs, attributes, op.name))


def matmul(flow: Flow, op: Op) -> None:
    """A convolution of size 1: rows of b are its channels, columns its pixels, and each image has its weight, a."""
    a, b = op.inputs
    rows, columns = flow.types[b].per_image[-2:]
    matrices, height = math.prod(flow.types[b].per_image[:-2]), flow.types[a].per_image[-2]
    weight, image = f"{op.outputs[0]}/a", f"{op.outputs[0]}/b"
    flow.types[weight] = TensorType(flow.types[a].dtype, ("N", matrices * height, 1, rows))
    flow.types[image] = TensorType(flow.types[b].dtype, ("N", matrices * rows, 1, columns))
    alias(flow, a, weight)
    alias(flow, b, image)
    flow.base[op.outputs[0]] = (matrices * height, 1, columns)
    flow.ops.append(Op("MatMul", [image, weight], op.outputs, {"matrices": matrices}, op.name))


def cross_entropy(flow: Flow, op: Op) -> None:
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


def cross_entropy_grad(flow: Flow, op: Op) -> None:
    """The mean's gradient is that of the sum over the number of images, which only a run knows: it counts them."""
    log_prob, labels, dloss = op.inputs
    kind = flow.types[log_prob]
    if not kind.batched or len(kind.shape) != 2 or flow.types[labels].dtype != "int64":
        op.unsupported(f"log_prob is {kind}, labels {flow.types[labels]}; supported: (N, K) with int64 labels (N,)")
    if flow.call(op).attribute("reduction") == "mean":
        one = f"{op.name}/one"
        flow.immediates[one], flow.types[one] = 1.0, TensorType(kind.dtype, ())
        ones = add_op(flow, op, "Fill", [one], f"{op.name}/ones", TensorType(kind.dtype, kind.shape[:1]))
        flow.types[f"{op.name}/count"] = flow.types[one]
        flow.ops.append(Op("ReduceSum", [ones], [f"{op.name}/count"], {"axes": (0,), "keepdims": 0}, op.name))
        dloss = add_op(flow, op, "Div", [dloss, f"{op.name}/count"], f"{op.name}/share", flow.types[one])
    if not flow.dynamic(dloss):
        op.unsupported("dloss must be computed by the graph or given; make it an input")
    flow.ops.append(Op("CrossEntropyGrad", [log_prob, labels, dloss], op.outputs, {}, op.name))


def dropout_mask(flow: Flow, op: Op) -> None:
    """Drawn in the shape of the input's bytes, so that they meet: of the input it needs that alone."""
    x, key = op.inputs
    if not flow.types[x].batched or not flow.dynamic(key):
        op.unsupported(f"its input is {flow.types[x]}; supported: batched tensors, with a key that is given")
    flow.base[op.outputs[0]] = flow.base_of(x)
    flow.ops.append(Op(op.op, [key], op.outputs, op.attributes, op.name))


def redraw_masks(flow: Flow, op: Op) -> None:
    """Make each mask once more that `op` reads in another shape: its bits depend on the element alone."""
    for i, name in enumerate(op.inputs):
        if name and flow.types[name].dtype == "bool" and flow.types[name].shape == flow.types[op.outputs[0]].shape:
            op.inputs[i] = _redrawn(flow, name, flow.base_of(op.outputs[0]), flow.ops.index(op))


def _redrawn(flow: Flow, mask: str, wanted: Chw, before: int) -> str:
    made = next((o for o in flow.ops if mask in o.outputs and (o.op == "DropoutMask" or o.op in ELEMENTWISE)), None)
    if made is None or flow.base_of(mask) == wanted:
        return mask
    again = f"{mask}/{'x'.join(map(str, wanted))}"
    if again not in flow.types:
        flow.types[again], flow.base[again] = flow.types[mask], wanted
        copy = Op(made.op, list(made.inputs), [again], made.attributes, made.name)
        flow.ops.insert(before, copy)
        if made.op != "DropoutMask":
            redraw_masks(flow, copy)
    return again


def gemm(flow: Flow, op: Op) -> None:
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
            f"a is {kind_a}, b is {kind_b}, transA={int(trans_a)}, transB={int(trans_b)}; supported: (N, F) by a "
            "matrix that is not batched, and transA=1 of two batched matrices"
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
    if own is None or base != (own.C, own.R, own.S):
        own = Geometry(outputs, *base, transposed=not trans_b)
        if inputs != own.C * own.R * own.S:
            op.unsupported(f"a has {own.C * own.R * own.S} features, the matrix takes {inputs}")
        flow.geometry.setdefault((weight, trans_b), own)
    flow.ops.append(Op("Linear", [a, b, c], op.outputs, {"geometry": own}, op.name))


def _linear_grad_weight(flow: Flow, op: Op, a: str, b: str) -> None:
    read = {flow.root_of(o.inputs[0]) for o in flow.ops if o.op == "Linear"}
    transposed = flow.root_of(b) not in read and (flow.root_of(a) in read or flow.base_of(a)[1:] != (1, 1))
    dy, x = (b, a) if transposed else (a, b)
    geometry = Geometry(chw(flow.types[dy])[0], *flow.base_of(x), transposed=transposed)
    flow.ops.append(Op("LinearGradWeight", [dy, x], op.outputs, {"geometry": geometry}, op.name))


def elementwise_base(flow: Flow, op: Op) -> Chw | None:
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


def reduced_base(flow: Flow, op: Op) -> Chw | None:
    """What a reduction leaves is computed with its axes kept; dropping them is an alias."""
    kind = flow.types[op.inputs[0]] if op.inputs and op.inputs[0] else None
    if not op.op.startswith("Reduce") or kind is None or not kind.batched:
        return None
    axes = reduce_axes(flow.call(op))
    if 0 in axes:
        return None
    return chw(TensorType(kind.dtype, tuple(1 if i in axes else dim for i, dim in enumerate(kind.shape))))
