"""Gradient rules of activations. They take gradients that are still to be broadcast.

At a kink the derivative is PyTorch's: at 0 the left one for LeakyRelu, PRelu, Elu and Selu; at the bounds of
HardSigmoid and HardSwish that of the flat or straight piece outside.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..graph import Call, Node
from ._context import Context
from ._rules import Gradients, Rule, broadcasting

ROWS: dict[str, Rule] = {}


def _activation(op: str) -> Callable[[Callable[[Context, Call, str, str, str], str]], None]:
    """Register a rule written as ``rule(ctx, call, gradient, x, y)``."""

    def register(rule: Callable[[Context, Call, str, str, str], str]) -> None:
        @broadcasting
        def apply(ctx: Context, node: Node, grads: Gradients) -> Gradients:
            assert grads[0] is not None
            return (rule(ctx, ctx.call(node), grads[0], ctx.value(node.inputs[0]), ctx.value(node.outputs[0])),)

        ROWS[op] = apply

    return register


@_activation("LeakyRelu")
def _leaky_relu(ctx: Context, call: Call, g: str, x: str, y: str) -> str:
    return ctx.where(ctx.greater(x, ctx.zero), g, ctx.times(g, float(call.attribute("alpha"))))


@broadcasting
def _prelu(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    assert grads[0] is not None
    x, slope, g = ctx.value(node.inputs[0]), ctx.value(node.inputs[1]), grads[0]
    positive = ctx.greater(x, ctx.zero)
    dx = ctx.where(positive, g, ctx.mul(g, slope)) if ctx.needs(node.inputs[0]) else None
    if not ctx.needs(node.inputs[1]):
        return dx, None
    through = ctx.where(positive, ctx.zero, ctx.mul(g, x))
    return dx, ctx.reduced(through, node.inputs[1], node.outputs[0])


ROWS["PRelu"] = _prelu


def _exponential(ctx: Context, g: str, x: str, alpha: float, gamma: float) -> str:
    """Gamma for x > 0, else gamma alpha exp(x): read from x, since y + alpha cancels for large negative x."""
    slope = ctx.times(ctx.emit("Exp", [x]), alpha * gamma)
    return ctx.where(ctx.greater(x, ctx.zero), ctx.times(g, gamma), ctx.mul(g, slope))


@_activation("Elu")
def _elu(ctx: Context, call: Call, g: str, x: str, y: str) -> str:
    return _exponential(ctx, g, x, float(call.attribute("alpha")), 1.0)


@_activation("Selu")
def _selu(ctx: Context, call: Call, g: str, x: str, y: str) -> str:
    return _exponential(ctx, g, x, float(call.attribute("alpha")), float(call.attribute("gamma")))


@_activation("Softplus")
def _softplus(ctx: Context, call: Call, g: str, x: str, y: str) -> str:
    return ctx.mul(g, ctx.emit("Sigmoid", [x]))


@_activation("HardSigmoid")
def _hard_sigmoid(ctx: Context, call: Call, g: str, x: str, y: str) -> str:
    """Alpha between the bounds, 0 at them: read from the output, so that the input can be freed."""
    inside = ctx.emit("And", [ctx.greater(y, ctx.zero), ctx.greater(ctx.scalar(1.0), y)])
    return ctx.where(inside, ctx.times(g, float(call.attribute("alpha"))))


@_activation("HardSwish")
def _hard_swish(ctx: Context, call: Call, g: str, x: str, y: str) -> str:
    three = ctx.scalar(3.0)
    slope = ctx.add(ctx.div(x, three), ctx.scalar(0.5))
    inner = ctx.where(ctx.greater(x, ctx.scalar(-3.0)), ctx.mul(g, slope))
    return ctx.where(ctx.greater(three, x), inner, g)


@_activation("Mish")
def _mish(ctx: Context, call: Call, g: str, x: str, y: str) -> str:
    """With t = tanh(softplus(x)): t + x sigmoid(x) (1 - t t)."""
    t = ctx.emit("Tanh", [ctx.emit("Softplus", [x])])
    rest = ctx.sub(ctx.scalar(1.0), ctx.mul(t, t))
    return ctx.mul(g, ctx.add(t, ctx.mul(ctx.mul(x, ctx.emit("Sigmoid", [x])), rest)))


@_activation("Gelu")
def _gelu(ctx: Context, call: Call, g: str, x: str, y: str) -> str:
    """Phi(x) + x phi(x) of the normal distribution; or the derivative of the formula with tanh."""
    one, square = ctx.scalar(1.0), ctx.mul(x, x)
    if call.attribute("approximate") == "tanh":
        scale = math.sqrt(2 / math.pi)
        inner = ctx.times(ctx.mul(x, ctx.add(one, ctx.times(square, 0.044715))), scale)
        t = ctx.emit("Tanh", [inner])
        slope = ctx.times(ctx.add(one, ctx.times(square, 3 * 0.044715)), scale)
        bend = ctx.mul(ctx.mul(x, ctx.sub(one, ctx.mul(t, t))), slope)
        return ctx.mul(g, ctx.times(ctx.add(ctx.add(one, t), bend), 0.5))
    share = ctx.times(ctx.add(one, ctx.emit("Erf", [ctx.times(x, math.sqrt(0.5))])), 0.5)
    density = ctx.times(ctx.emit("Exp", [ctx.times(square, -0.5)]), 1 / math.sqrt(2 * math.pi))
    return ctx.mul(g, ctx.add(share, ctx.mul(x, density)))


@_activation("Erf")
def _erf(ctx: Context, call: Call, g: str, x: str, y: str) -> str:
    density = ctx.emit("Exp", [ctx.emit("Neg", [ctx.mul(x, x)])])
    return ctx.mul(g, ctx.times(density, 2 / math.sqrt(math.pi)))


@_activation("Expm1")
def _expm1(ctx: Context, call: Call, g: str, x: str, y: str) -> str:
    return ctx.mul(g, ctx.emit("Exp", [x]))


@_activation("Log1p")
def _log1p(ctx: Context, call: Call, g: str, x: str, y: str) -> str:
    return ctx.div(g, ctx.add(ctx.scalar(1.0), x))


@_activation("Reciprocal")
def _reciprocal(ctx: Context, call: Call, g: str, x: str, y: str) -> str:
    return ctx.emit("Neg", [ctx.mul(g, ctx.mul(y, y))])
