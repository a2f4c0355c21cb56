"""Gradient rules of layer, instance and group normalisation, and of dropout as inference has it."""

from __future__ import annotations

from ..graph import Node
from ._context import Context
from ._normal import NORMALISATIONS, Norm, norm_of, reshaped, standardised
from ._rules import Gradients, Rule, broadcasting

ROWS: dict[str, Rule] = {}


def _norm(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    """With h = (x - mean) / deviation and g = dy scale: dx = (g - mean(g) - h mean(g h)) / deviation."""
    assert grads[0] is not None
    call = ctx.call(node)
    norm, x = norm_of(call), node.inputs[0]
    scale, bias = (call.tensor(name) for name in ("scale", "bias"))
    g = reshaped(ctx, grads[0], norm.affine)
    dx = dscale = dbias = None
    if ctx.needs(x) or ctx.needs(scale):
        seen = reshaped(ctx, ctx.value(x), norm.view)
        normal, deviation = standardised(ctx, seen, norm.axes, float(call.attribute("epsilon")))
        if ctx.needs(scale):
            dscale = _summed(ctx, norm, ctx.mul(g, reshaped(ctx, normal, norm.affine)), scale)
    if ctx.needs(bias):
        dbias = _summed(ctx, norm, g, bias)
    if ctx.needs(x):
        scaled = ctx.mul(g, reshaped(ctx, ctx.value(scale), norm.vector)) if scale else g
        inner = reshaped(ctx, scaled, norm.view)
        mean = ctx.emit("ReduceMean", [inner, ctx.ints(norm.axes)])
        along = ctx.emit("ReduceMean", [ctx.mul(inner, normal), ctx.ints(norm.axes)])
        moved = ctx.sub(ctx.sub(inner, mean), ctx.mul(normal, along))
        dx = reshaped(ctx, ctx.div(moved, deviation), ctx.type(x).shape)
    return (dx, dscale, dbias)[: len(node.inputs)]


def _summed(ctx: Context, norm: Norm, gradient: str, vector: str) -> str:
    """The gradient of a scale or bias."""
    for axes in norm.sums:
        gradient = ctx.sum(gradient, axes, keepdims=0)
    return reshaped(ctx, gradient, ctx.type(vector).shape)


for _op in NORMALISATIONS:
    ROWS[_op] = _norm


@broadcasting
def _dropout(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    return (grads[0], *(None for _ in node.inputs[1:]))


ROWS["Dropout"] = _dropout
