"""Gradient rules of element-wise operators. They take gradients that are still to be broadcast."""

from __future__ import annotations

from collections.abc import Callable

from ..graph import Node
from ._context import Context
from ._rules import Gradients, Rule, broadcasting

ROWS: dict[str, Rule] = {}


def _unary(op: str) -> Callable[[Callable[[Context, str, str, str], str | None]], None]:
    """Register a rule written as ``rule(ctx, gradient, x, y)``."""

    def register(rule: Callable[[Context, str, str, str], str | None]) -> None:
        @broadcasting
        def apply(ctx: Context, node: Node, grads: Gradients) -> Gradients:
            assert grads[0] is not None
            return (rule(ctx, grads[0], ctx.value(node.inputs[0]), ctx.value(node.outputs[0])),)

        ROWS[op] = apply

    return register


def _binary(op: str) -> Callable[[Callable[[Context, str, str, str, str, bool], str]], None]:
    """Register a rule written as ``rule(ctx, gradient, a, b, y, first)``: the gradient of a (first) or of b."""

    def register(rule: Callable[[Context, str, str, str, str, bool], str]) -> None:
        @broadcasting
        def apply(ctx: Context, node: Node, grads: Gradients) -> Gradients:
            assert grads[0] is not None
            a, b, y = (ctx.value(t) for t in (*node.inputs, node.outputs[0]))
            return tuple(
                ctx.reduced(rule(ctx, grads[0], a, b, y, first), tensor, node.outputs[0]) if ctx.needs(tensor) else None
                for first, tensor in zip((True, False), node.inputs, strict=True)
            )

        ROWS[op] = apply

    return register


@_unary("Relu")
def _relu(ctx: Context, g: str, x: str, y: str) -> str:
    return ctx.where(ctx.greater(y, ctx.zero), g)  # 0 at 0


@_unary("Sigmoid")
def _sigmoid(ctx: Context, g: str, x: str, y: str) -> str:
    return ctx.mul(g, ctx.mul(y, ctx.sub(ctx.scalar(1.0), y)))


@_unary("Tanh")
def _tanh(ctx: Context, g: str, x: str, y: str) -> str:
    return ctx.mul(g, ctx.sub(ctx.scalar(1.0), ctx.mul(y, y)))


@_unary("Exp")
def _exp(ctx: Context, g: str, x: str, y: str) -> str:
    return ctx.mul(g, y)


@_unary("Log")
def _log(ctx: Context, g: str, x: str, y: str) -> str:
    return ctx.div(g, x)


@_unary("Sqrt")
def _sqrt(ctx: Context, g: str, x: str, y: str) -> str:
    return ctx.div(ctx.times(g, 0.5), y)


@_unary("Abs")
def _abs(ctx: Context, g: str, x: str, y: str) -> str:
    return ctx.mul(g, ctx.emit("Sign", [x]))


@_unary("Neg")
def _neg(ctx: Context, g: str, x: str, y: str) -> str:
    return ctx.emit("Neg", [g])


def _flat(ctx: Context, g: str, x: str, y: str) -> None:
    return None


for _op in ("Sign", "Round", "StopGradient"):
    _unary(_op)(_flat)


@_unary("Identity")
def _identity(ctx: Context, g: str, x: str, y: str) -> str:
    return g


@_binary("Add")
def _add(ctx: Context, g: str, a: str, b: str, y: str, first: bool) -> str:
    return g


@_binary("Sub")
def _sub(ctx: Context, g: str, a: str, b: str, y: str, first: bool) -> str:
    return g if first else ctx.emit("Neg", [g])


@_binary("Mul")
def _mul(ctx: Context, g: str, a: str, b: str, y: str, first: bool) -> str:
    return ctx.mul(g, b if first else a)


@_binary("Div")
def _div(ctx: Context, g: str, a: str, b: str, y: str, first: bool) -> str:
    return ctx.div(g, b) if first else ctx.emit("Neg", [ctx.div(ctx.mul(g, y), b)])


@_binary("Pow")
def _pow(ctx: Context, g: str, a: str, b: str, y: str, first: bool) -> str:
    """Of the base b a^(b - 1), of the exponent y log(a); 0 for an exponent of 0 or a base of 0.

    Where that would be 0 / 0, an exponent of 0 or a base of 1 is taken instead: operands that broadcast have no masks.
    """
    one = ctx.scalar(1.0)
    if not first:
        safe = ctx.add(a, ctx.sub(one, ctx.emit("Abs", [ctx.emit("Sign", [a])])))
        return ctx.mul(g, ctx.mul(y, ctx.emit("Log", [safe])))
    value = ctx.builder.constants.get(b)
    if value is not None and value.ndim == 0:
        exponent = float(value)
        less = ctx.scalar(exponent - 1 if exponent else 0.0)
        return ctx.mul(g, ctx.times(a if exponent == 2 else ctx.emit("Pow", [a, less]), exponent))
    less = ctx.sub(b, ctx.emit("Abs", [ctx.emit("Sign", [b])]))
    return ctx.mul(g, ctx.mul(b, ctx.emit("Pow", [a, less])))


def _extremum(ctx: Context, g: str, winner: str, loser: str) -> str:
    """All of the gradient to the winner; equal operands take half each, as in PyTorch."""
    shared = ctx.where(ctx.emit("Equal", [winner, loser]), ctx.times(g, 0.5))
    return ctx.where(ctx.greater(winner, loser), g, shared)


@_binary("Max")
def _max(ctx: Context, g: str, a: str, b: str, y: str, first: bool) -> str:
    return _extremum(ctx, g, a, b) if first else _extremum(ctx, g, b, a)


@_binary("Min")
def _min(ctx: Context, g: str, a: str, b: str, y: str, first: bool) -> str:
    winner, loser = (a, b) if first else (b, a)
    shared = ctx.where(ctx.emit("Equal", [winner, loser]), ctx.times(g, 0.5))
    return ctx.where(ctx.emit("Less", [winner, loser]), g, shared)


@broadcasting
def _where(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    assert grads[0] is not None
    condition, a, b = node.inputs
    mask, y = ctx.value(condition), node.outputs[0]
    da = ctx.reduced(ctx.where(mask, grads[0]), a, y) if ctx.needs(a) else None
    db = ctx.reduced(ctx.where(mask, ctx.zero, grads[0]), b, y) if ctx.needs(b) else None
    return None, da, db


ROWS["Where"] = _where


def clip_mask(ctx: Context, node: Node) -> str | None:
    """Where a Clip passes its gradient; None: everywhere.

    At a bound the derivative is that of the exporting operator: 0 for ReLU6 and hardtanh, read from the output so that
    the input can be freed; 1 for clamp.
    """
    call = ctx.call(node)
    at_bounds = call.attribute("gradient_at_bounds")
    if at_bounds is None:
        low = ctx.builder.constants.get(call.tensor("min"))
        at_bounds = 0 if low is not None and low.reshape(-1)[0] == 0 else 1
    op, tensor = ("GreaterOrEqual", node.inputs[0]) if at_bounds else ("Greater", node.outputs[0])
    value = ctx.value(tensor)
    masks = []
    if call.has("min"):
        masks.append(ctx.emit(op, [value, ctx.value(call.tensor("min"))]))
    if call.has("max"):
        masks.append(ctx.emit(op, [ctx.value(call.tensor("max")), value]))
    return masks[0] if len(masks) == 1 else ctx.emit("And", masks) if masks else None


@broadcasting
def _clip(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    assert grads[0] is not None
    mask = clip_mask(ctx, node)
    return (grads[0] if mask is None else ctx.where(mask, grads[0]),)


ROWS["Clip"] = _clip


@broadcasting
def _batch_normalization(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    assert grads[0] is not None
    x, scale, bias, mean, var = node.inputs
    rank = len(ctx.type(x).shape)

    def channels(tensor: str) -> str:
        shape = [1, int(ctx.type(tensor).shape[0])] + [1] * (rank - 2)
        return ctx.emit("Reshape", [tensor, ctx.ints(shape)])

    def summed(tensor: str) -> str:
        return ctx.sum(tensor, [0, *range(2, rank)], keepdims=0)

    epsilon = ctx.scalar(float(ctx.call(node).attribute("epsilon")))
    deviation = ctx.emit("Sqrt", [ctx.add(ctx.value(var), epsilon)])
    slope = ctx.div(ctx.value(scale), deviation)
    dx = ctx.mul(grads[0], channels(slope)) if ctx.needs(x) else None
    dscale = dbias = dmean = dvar = None
    if any(ctx.needs(tensor) for tensor in (scale, bias, mean, var)):
        g = ctx.full(grads[0], node.outputs[0])
        dbias = summed(g)
        if ctx.needs(scale) or ctx.needs(var):
            centred = ctx.sub(ctx.value(x), channels(ctx.value(mean)))
            dscale = ctx.div(summed(ctx.mul(g, centred)), deviation)
        if ctx.needs(mean):
            dmean = ctx.emit("Neg", [ctx.mul(dbias, slope)])
        if ctx.needs(var):
            assert dscale is not None
            dvar = ctx.times(ctx.div(ctx.mul(dscale, slope), deviation), -0.5)
    return dx, dscale, dbias, dmean, dvar


ROWS["BatchNormalization"] = _batch_normalization
