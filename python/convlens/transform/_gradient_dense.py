"""Gradient rules of matrix products, softmax and losses, reductions and changes of shape."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..graph import BATCH, Node, reduce_axes
from ._context import Context
from ._rules import Gradients, Rule, broadcasting

ROWS: dict[str, Rule] = {}


def _row(*ops: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        for op in ops:
            ROWS[op] = rule
        return rule

    return register


@_row("Gemm")
def _gemm(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    """Y = alpha A' B' + beta C, A' being A or its transpose: dA' = alpha dY B'^T, dB' = alpha A'^T dY."""
    g, call = grads[0], ctx.call(node)
    assert g is not None
    a, b = node.inputs[:2]
    trans_a, trans_b = bool(call.attribute("transA")), bool(call.attribute("transB"))

    def product(left: str, right: str, trans_left: bool, trans_right: bool) -> str:
        return ctx.emit(
            "Gemm", [left, right], alpha=float(call.attribute("alpha")), transA=int(trans_left), transB=int(trans_right)
        )

    da = db = None
    if ctx.needs(a):
        value = ctx.value(b)
        da = product(value, g, trans_b, True) if trans_a else product(g, value, False, not trans_b)
    if ctx.needs(b):
        value = ctx.value(a)
        db = product(g, value, True, trans_a) if trans_b else product(value, g, not trans_a, False)
    if not call.has("c"):
        return da, db
    c = call.tensor("c")
    dc = ctx.reduced(ctx.times(g, float(call.attribute("beta"))), c, node.outputs[0]) if ctx.needs(c) else None
    return da, db, dc


@_row("MatMul")
def _matmul(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    """Y = A B: dA = dY B^T, dB = A^T dY, matrix by matrix."""
    g, (a, b) = grads[0], node.inputs
    assert g is not None

    def transposed(name: str) -> str:
        rank = len(ctx.type(name).shape)
        return ctx.emit("Transpose", [ctx.value(name)], perm=(*range(rank - 2), rank - 1, rank - 2))

    da = ctx.emit("MatMul", [g, transposed(b)]) if ctx.needs(a) else None
    db = ctx.emit("MatMul", [transposed(a), g]) if ctx.needs(b) else None
    return da, db


@_row("Softmax")
def _softmax(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    g, y = grads[0], ctx.value(node.outputs[0])
    assert g is not None
    mean = ctx.sum(ctx.mul(g, y), [_axis(ctx, node)])
    return (ctx.mul(y, ctx.sub(g, mean)),)


@_row("LogSoftmax")
def _log_softmax(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    assert grads[0] is not None
    return (_through_log_softmax(ctx, grads[0], ctx.value(node.outputs[0]), _axis(ctx, node)),)


def _through_log_softmax(ctx: Context, g: str, y: str, axis: int) -> str:
    return ctx.sub(g, ctx.mul(ctx.emit("Exp", [y]), ctx.sum(g, [axis])))


@_row("SoftmaxCrossEntropyLoss")
def _cross_entropy(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    logits, labels = (ctx.value(tensor) for tensor in node.inputs[:2])
    given = (*grads, None)[1]
    if len(node.outputs) > 1 and node.outputs[1]:
        log_prob = ctx.value(node.outputs[1])
    else:
        log_prob = ctx.emit("LogSoftmax", [logits], axis=1)
    dlogits = None
    if grads[0] is not None:
        reduction = ctx.call(node).attribute("reduction")
        dlogits = ctx.emit("SoftmaxCrossEntropyLossGrad", [log_prob, labels, grads[0]], reduction=reduction)
    if given is not None:
        through = _through_log_softmax(ctx, given, log_prob, 1)
        dlogits = through if dlogits is None else ctx.add(dlogits, through)
    return dlogits, None


@_row("Flatten", "Reshape", "Squeeze", "Unsqueeze")
def _reshape(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    assert grads[0] is not None
    shape = [0 if dim == BATCH else int(dim) for dim in ctx.type(node.inputs[0]).shape]
    return (ctx.emit("Reshape", [grads[0], ctx.ints(shape)]),)


@_row("ReduceSum")
@broadcasting
def _reduce_sum(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    assert grads[0] is not None
    return (_with_axes(ctx, node, ctx.full(grads[0], node.outputs[0])),)


@_row("ReduceMean")
@broadcasting
def _reduce_mean(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    assert grads[0] is not None
    x = node.inputs[0]
    shape, axes = ctx.type(x).shape, reduce_axes(ctx.call(node))
    count = math.prod(int(shape[axis]) for axis in axes if shape[axis] != BATCH)
    g = _with_axes(ctx, node, ctx.full(grads[0], node.outputs[0]))
    if count != 1:
        g = ctx.div(g, ctx.scalar(float(count)))  # not times 1 / count, which float32 cannot hold exactly
    if any(shape[axis] == BATCH for axis in axes):
        g = ctx.div(g, ctx.images())
    return (g,)


@_row("ReduceMax", "ReduceMin")
@broadcasting
def _reduce_extremum(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    """Equal extrema share the gradient, as in PyTorch's amax and amin."""
    assert grads[0] is not None
    axes = reduce_axes(ctx.call(node))
    g = _with_axes(ctx, node, ctx.full(grads[0], node.outputs[0]))
    y = _with_axes(ctx, node, ctx.value(node.outputs[0]))
    mask = ctx.emit("Equal", [ctx.value(node.inputs[0]), y])
    winners = ctx.where(mask, ctx.scalar(1.0))
    return (ctx.where(mask, ctx.div(g, ctx.sum(winners, axes))) if axes else g,)


@_row("ReduceL2")
@broadcasting
def _reduce_l2(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    """G x / y; 0 where the norm is 0, as in PyTorch."""
    assert grads[0] is not None
    g = _with_axes(ctx, node, ctx.full(grads[0], node.outputs[0]))
    y = _with_axes(ctx, node, ctx.value(node.outputs[0]))
    slope = ctx.where(ctx.greater(y, ctx.zero), ctx.div(g, y))
    return (ctx.mul(ctx.value(node.inputs[0]), slope),)


def _with_axes(ctx: Context, node: Node, tensor: str) -> str:
    """A reduced tensor with the axes of size 1 that `keepdims` = 0 dropped, so that it broadcasts to the input."""
    if ctx.call(node).attribute("keepdims") or not ctx.type(tensor).shape:
        return tensor
    x, axes = ctx.type(node.inputs[0]), reduce_axes(ctx.call(node))
    shape = [1 if axis in axes else 0 if dim == BATCH else int(dim) for axis, dim in enumerate(x.shape)]
    return ctx.emit("Reshape", [tensor, ctx.ints(shape)])


def _axis(ctx: Context, node: Node) -> int:
    axis = int(ctx.call(node).attribute("axis"))
    return axis % len(ctx.type(node.inputs[0]).shape)
