"""Gradient rules of convolution, pooling, padding and resizing. They take full gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._errors import UnsupportedError
from ..graph import Node, pad_widths, resize_geometry
from ._context import Context
from ._rules import Gradients, Rule

ROWS: dict[str, Rule] = {}


def _row(op: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        ROWS[op] = rule
        return rule

    return register


def _attributes(node: Node, **changed: Any) -> dict[str, Any]:
    """A node's attributes for its sibling: `changed` added, or dropped when None."""
    return {name: value for name, value in {**node.attributes, **changed}.items() if value is not None}


def _image_shape(ctx: Context, tensor: str) -> tuple[int, ...]:
    return tuple(int(dim) for dim in ctx.type(tensor).shape[1:])


def _full_shape(ctx: Context, tensor: str) -> tuple[int, ...]:
    return tuple(int(dim) for dim in ctx.type(tensor).shape)


@_row("Conv")
def _conv(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    (g,), (x, weight) = _some(grads), node.inputs[:2]
    dx = dw = None
    if ctx.needs(x):
        attributes = _attributes(node, input_shape=_image_shape(ctx, x))
        dx = ctx.emit("ConvGradInput", [g, ctx.value(weight)], **attributes)
    if ctx.needs(weight):
        attributes = _attributes(node, weight_shape=_full_shape(ctx, weight))
        dw = ctx.emit("ConvGradWeight", [g, ctx.value(x)], **attributes)
    if len(node.inputs) < 3:
        return dx, dw
    return dx, dw, ctx.sum(g, (0, 2, 3), keepdims=0) if ctx.needs(node.inputs[2]) else None


@_row("ConvGradInput")
def _conv_grad_input(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    (g,), (dy, weight) = _some(grads), node.inputs
    ddy = dw = None
    if ctx.needs(dy):
        ddy = ctx.emit("Conv", [g, ctx.value(weight)], **_attributes(node, input_shape=None))
    if ctx.needs(weight):
        attributes = _attributes(node, input_shape=None, weight_shape=_full_shape(ctx, weight))
        dw = ctx.emit("ConvGradWeight", [ctx.value(dy), g], **attributes)
    return ddy, dw


@_row("ConvGradWeight")
def _conv_grad_weight(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    (g,), (dy, x) = _some(grads), node.inputs
    ddy = dx = None
    if ctx.needs(dy):
        ddy = ctx.emit("Conv", [ctx.value(x), g], **_attributes(node, weight_shape=None))
    if ctx.needs(x):
        attributes = _attributes(node, weight_shape=None, input_shape=_image_shape(ctx, x))
        dx = ctx.emit("ConvGradInput", [ctx.value(dy), g], **attributes)
    return ddy, dx


@_row("MaxPool")
def _max_pool(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    (g,), (x,) = _some(grads), node.inputs
    offset = ctx.emit("MaxPoolOffset", [ctx.value(x)], **node.attributes)
    return (ctx.emit("MaxPoolGrad", [g, offset], **_attributes(node, input_shape=_image_shape(ctx, x))),)


@_row("AveragePool")
def _average_pool(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    (g,) = _some(grads)
    attributes = _attributes(node, input_shape=_image_shape(ctx, node.inputs[0]))
    return (ctx.emit("AveragePoolGrad", [g], **attributes),)


@_row("AveragePoolGrad")
def _average_pool_grad(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    (g,) = _some(grads)
    return (ctx.emit("AveragePool", [g], **_attributes(node, input_shape=None)),)


@_row("GlobalAveragePool")
def _global_average_pool(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    (g,) = _some(grads)
    shape = _image_shape(ctx, node.inputs[0])
    return (ctx.emit("AveragePoolGrad", [g], kernel_shape=shape[1:], input_shape=shape),)


@_row("Pad")
def _pad(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    (g,) = _some(grads)
    if ctx.needs((*node.inputs, "", "")[2]):
        raise UnsupportedError("the padding's `constant_value` has no gradient rule; make it a constant")
    widths = pad_widths(ctx.call(node))
    back = [-before for before, _ in widths] + [-after for _, after in widths]
    return (ctx.emit("Pad", [g, ctx.ints(back)]),)


@_row("Resize")
def _resize(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    (g,) = _some(grads)
    call = ctx.call(node)
    _, scales = resize_geometry(call)
    factors = [round(scale) for scale in scales]
    if call.attribute("mode") != "nearest" or any(f < 1 or f != s for f, s in zip(factors, scales, strict=True)):
        raise UnsupportedError(
            f"a gradient rule exists for `mode` 'nearest' with whole `scales`, not for "
            f"{call.attribute('mode')!r} with {scales}"
        )
    # Each pixel was copied to a block of factors[0] x factors[1]; its gradient is the block's sum.
    mean = ctx.emit("AveragePool", [g], kernel_shape=tuple(factors), strides=tuple(factors))
    return (ctx.times(mean, float(factors[0] * factors[1])),)


def _some(grads: Gradients) -> tuple[str, ...]:
    assert all(grads)
    return tuple(str(g) for g in grads)
