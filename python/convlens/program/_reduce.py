"""Reductions and softmaxes over any axes, as those over channels, pixels and images that there are instructions for."""

from __future__ import annotations

import math

from ..graph import TensorType, reduce_axes
from ._expand import add_op, alias, append
from ._flow import Chw, Flow, Op, chw
from ._move import copy, strides, whole

_KINDS = {"ReduceL2": "ReduceSum", "ReduceMin": "ReduceMax"}


def reduction(flow: Flow, op: Op) -> None:
    """A minimum is a negated maximum, a norm the root of a sum of squares; axes are brought together."""
    x, out = op.inputs[0], op.outputs[0]
    kind, axes = flow.types[x], reduce_axes(flow.call(op))
    made = flow.types[out]
    if op.op == "ReduceMin":
        x = add_op(flow, op, "Neg", [x], f"{out}/negative", kind)
    elif op.op == "ReduceL2":
        x = add_op(flow, op, "Mul", [x, x], f"{out}/squares", kind)
    total = f"{out}/total" if op.op in _KINDS else out
    flow.types[total] = made
    _reduce(flow, Op(_KINDS.get(op.op, op.op), [x], [total], {"axes": axes, "keepdims": 1}, op.name), made)
    if op.op in _KINDS:
        add_op(flow, op, "Neg" if op.op == "ReduceMin" else "Sqrt", [total], out, made)


def _reduce(flow: Flow, op: Op, made: TensorType) -> None:
    x, out = op.inputs[0], op.outputs[0]
    kind, axes = flow.types[x], op.attributes["axes"]
    lead, dims = int(kind.batched), kind.per_image
    inner = [axis - lead for axis in axes if not (lead and axis == 0) and dims[axis - lead] != 1]
    images = bool(lead) and 0 in axes
    kept = [i for i, size in enumerate(dims) if i not in inner and size != 1]
    axes = (*((0,) if images else ()), *(i + lead for i in inner))
    op = Op(op.op, [x], [out], {"axes": axes, "keepdims": 1}, op.name)
    if not inner and not images:
        alias(flow, x, out)
    elif not inner or not kept or _native(kind, axes, inner, kept):
        append(flow, op)
    else:
        _reduce_view(flow, op, made, inner, kept, images)


def _native(kind: TensorType, axes: tuple[int, ...], inner: list[int], kept: list[int]) -> bool:
    """Whether the instruction has these axes: channels, or height and width together, with or without the batch."""
    if not kind.batched:
        return False
    spatial = all(i == 0 for i in kept)
    return (spatial and 0 not in inner) or (inner == [0] and 0 not in axes)


def _reduce_view(flow: Flow, op: Op, made: TensorType, inner: list[int], kept: list[int], images: bool) -> None:
    """Over the rows of (kept, reduced), or over the channels of (reduced, kept): whichever keeps the last axis last."""
    x, out = op.inputs[0], op.outputs[0]
    kind = flow.types[x]
    dims = kind.per_image
    behind = kind.batched and kept[-1] > inner[-1]
    order = [*inner, *kept] if behind else [*kept, *inner]
    removed, left = math.prod(dims[i] for i in inner), math.prod(dims[i] for i in kept)
    shape: Chw = (removed, 1, left) if behind else (left, 1, removed)
    result: Chw = (1, 1, left) if behind else (left, 1, 1)
    view = _viewed(flow, op, x, f"{out}/view", order, shape)
    if not kind.batched:
        flow.base[out] = result
        flow.ops.append(Op(op.op, [view], [out], {"axes": (1, 2), "keepdims": 1}, op.name))
        return
    each = f"{out}/each" if behind and images else out
    if each != out:
        flow.types[each] = TensorType(kind.dtype, ("N", *result))
    flow.base[each] = result
    summed = (1,) if behind else (0, 2, 3) if images else (2, 3)
    flow.ops.append(Op(op.op, [view], [each], {"axes": summed, "keepdims": 1}, op.name))
    if each != out:
        flow.ops.append(Op(op.op, [each], [out], {"axes": (0,), "keepdims": 1}, op.name))


def _viewed(flow: Flow, op: Op, x: str, view: str, order: list[int], shape: Chw) -> str:
    """The elements of `x` with its axes in `order`, seen as `shape`."""
    kind = flow.types[x]
    dims = kind.per_image
    step = strides(dims)
    made = TensorType(kind.dtype, (*kind.shape[: int(kind.batched)], *shape))
    if kind.batched and order == sorted(order):
        flow.types[view] = made
        alias(flow, x, view)
    else:
        copy(flow, op, x, view, made, [whole(dims[i], step[i]) for i in order])
    if not kind.batched:
        flow.base[view] = shape
    return view


def softmax(flow: Flow, op: Op) -> None:
    """Along another axis than channels: that axis first, and back."""
    x, out = op.inputs[0], op.outputs[0]
    kind = flow.types[x]
    axis = int(flow.call(op).attribute("axis")) % len(kind.shape)
    if not kind.batched or axis == 1:
        flow.ops.append(Op(op.op, op.inputs, op.outputs, {"axis": axis}, op.name))
        return
    dims, at = kind.per_image, axis - 1
    others = [i for i in range(len(dims)) if i != at]
    front = TensorType(kind.dtype, ("N", dims[at], 1, math.prod(dims[i] for i in others)))
    view = _viewed(flow, op, x, f"{out}/view", [at, *others], (dims[at], 1, int(front.shape[3])))
    each = f"{out}/each"
    flow.types[each] = front
    flow.ops.append(Op(op.op, [view], [each], {"axis": 1}, op.name))
    moved = [dims[at], *(dims[i] for i in others)]
    step = strides(moved)
    back = [step[0] if i == at else step[1 + others.index(i)] for i in range(len(dims))]
    copy(flow, op, each, out, kind, [whole(d, s) for d, s in zip(dims, back, strict=True)])


def arg_max(flow: Flow, op: Op) -> None:
    """The axis first, as channels; the places of its extrema are one plane."""
    x, out, call = op.inputs[0], op.outputs[0], flow.call(op)
    kind = flow.types[x]
    if not kind.batched:
        op.unsupported(f"its input is {kind}; supported: a batch")
    dims, at = kind.per_image, int(call.attribute("axis")) % len(kind.shape) - 1
    others = [i for i in range(len(dims)) if i != at]
    if at > 0:
        shape = (dims[at], 1, math.prod(dims[i] for i in others))
        x = _viewed(flow, op, x, f"{out}/view", [at, *others], shape)
    flow.base[out] = (1, *chw(flow.types[x])[1:])
    flow.ops.append(Op(op.op, [x], [out], {"last": call.attribute("select_last_index")}, op.name))
