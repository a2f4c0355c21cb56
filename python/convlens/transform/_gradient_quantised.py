"""Gradient rules of quantisation: straight through the rounding, stopped by saturation. They take broadcast gradients.

Bengio et al. 2013, arXiv:1308.3432, pass a gradient through a step as if it were the identity; Jacob et al. 2018,
arXiv:1712.05877, train quantised networks so. As in PyTorch, an element that rounds to within the range passes.
"""

from __future__ import annotations

from collections.abc import Callable

from ..graph import Node
from ._context import Context
from ._rules import Gradients, Rule, broadcasting

ROWS: dict[str, Rule] = {}


def inside(ctx: Context, node: Node) -> str:
    """Where a Quantize does not saturate."""
    call = ctx.call(node)
    x, scale, zero = (ctx.value(tensor) for tensor in node.inputs)
    steps = ctx.add(ctx.emit("Round", [ctx.div(x, scale)]), zero)
    low, high = (ctx.scalar(float(call.attribute(bound))) for bound in ("low", "high"))
    return ctx.emit("And", [ctx.emit("GreaterOrEqual", [steps, low]), ctx.emit("GreaterOrEqual", [high, steps])])


@broadcasting
def _quantize(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    assert grads[0] is not None
    return ctx.where(inside(ctx, node), ctx.div(grads[0], ctx.value(node.inputs[1]))), None, None


ROWS["Quantize"] = _quantize


@broadcasting
def _dequantize(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    g = grads[0]
    assert g is not None
    q, scale, zero = node.inputs
    step, y = ctx.value(scale), node.outputs[0]
    dq = ctx.mul(g, step) if ctx.needs(q) else None
    steps = ctx.sub(ctx.value(q), ctx.value(zero)) if ctx.needs(scale) else ""
    dscale = ctx.reduced(ctx.mul(g, steps), scale, y) if steps else None
    dzero = ctx.reduced(ctx.emit("Neg", [ctx.mul(g, step)]), zero, y) if ctx.needs(zero) else None
    return dq, dscale, dzero


ROWS["Dequantize"] = _dequantize


def through_relu(mask_of: Callable[[Context, Node, str], str]) -> Rule:
    """The rule of a table that treats ReLUs in its own way: for a Quantize that holds one; else straight through."""

    @broadcasting
    def rule(ctx: Context, node: Node, grads: Gradients) -> Gradients:
        g = grads[0]
        assert g is not None
        if ctx.call(node).attribute("activation") != "relu":
            return _quantize(ctx, node, grads)
        return ctx.where(mask_of(ctx, node, g), ctx.div(g, ctx.value(node.inputs[1]))), None, None

    return rule
