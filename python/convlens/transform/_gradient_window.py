"""Gradient rules of convolution, pooling, padding and resizing. They take full gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .._errors import UnsupportedError
from ..graph import Node, pad_widths, resizing_of, transposed_window, window_attributes
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
    return dx, dw, _bias(ctx, node, g)


@_row("ConvTranspose")
def _conv_transpose(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    """A convolution's input gradient: the convolution carries its gradient back, and its weight's has roles swapped."""
    (g,), (x, weight) = _some(grads), node.inputs[:2]
    window, _ = transposed_window(node, ctx.builder.types)
    attributes = window_attributes(window, len(ctx.type(x).shape) - 2)
    attributes["group"] = ctx.call(node).attribute("group")
    dx = ctx.emit("Conv", [g, ctx.value(weight)], **attributes) if ctx.needs(x) else None
    dw = None
    if ctx.needs(weight):
        dw = ctx.emit("ConvGradWeight", [ctx.value(x), g], weight_shape=_full_shape(ctx, weight), **attributes)
    return dx, dw, _bias(ctx, node, g)


def _bias(ctx: Context, node: Node, g: str) -> str | None:
    if len(node.inputs) < 3 or not ctx.needs(node.inputs[2]):
        return None
    return ctx.sum(g, (0, *range(2, len(ctx.type(g).shape))), keepdims=0)


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


@_row("GlobalMaxPool")
def _global_max_pool(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    """The first maximum takes it, as MaxPool's: found by windows of at most 256, whose winners' places are bytes."""
    (g,), (x,) = _some(grads), node.inputs
    here, steps = ctx.value(x), []
    while any(size > 1 for size in _image_shape(ctx, here)[1:]):
        kernel = _first_window(_image_shape(ctx, here)[1:])
        attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": kernel, "ceil_mode": 1}
        steps.append((ctx.emit("MaxPoolOffset", [here], **attributes), attributes, _image_shape(ctx, here)))
        here = ctx.emit("MaxPool", [here], **attributes)
    for offset, window, shape in reversed(steps):
        g = ctx.emit("MaxPoolGrad", [g, offset], input_shape=shape, **window)
    return (g,)


def _first_window(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """A window over all of an image if a byte can name its places, else along one row or column of it."""
    if math.prod(sizes) <= 256:
        return sizes
    last = max(axis for axis, size in enumerate(sizes) if size > 1)
    return tuple(min(size, 256) if axis == last else 1 for axis, size in enumerate(sizes))


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
    scales = resizing_of(ctx.call(node)).scales
    shape = _image_shape(ctx, node.inputs[0])
    given = None if scales is None else scales[3 - len(shape) :]
    return (ctx.emit("ResizeGrad", [g], **_sampling(node), scales=given, input_shape=shape),)


@_row("ResizeGrad")
def _resize_grad(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    (g,) = _some(grads)
    scales, axes = ctx.call(node).attribute("scales"), tuple(range(2, len(ctx.type(g).shape)))
    if scales is None:
        sizes = ctx.ints([int(ctx.type(node.inputs[0]).shape[axis]) for axis in axes])
        return (ctx.emit("Resize", [g, "", "", sizes], **_sampling(node), axes=axes),)
    factors = ctx.builder.constant(np.array(scales, np.float64), ctx.builder.fresh("grad.scales"))
    return (ctx.emit("Resize", [g, "", factors], **_sampling(node), axes=axes),)


def _sampling(node: Node) -> dict[str, Any]:
    """The attributes that Resize and its gradient share."""
    shared = ("mode", "coordinate_transformation_mode", "nearest_mode", "window_shape")
    kernel = ("cubic_coeff_a", "antialias", "exclude_outside")
    return {name: node.attributes[name] for name in (*shared, *kernel) if name in node.attributes}


def _some(grads: Gradients) -> tuple[str, ...]:
    assert all(grads)
    return tuple(str(g) for g in grads)
