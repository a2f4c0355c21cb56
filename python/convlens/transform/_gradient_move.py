"""Gradient rules of operators that move elements: all are linear, so each is its operator's adjoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..graph import Cut, Node, cuts_of, permutation_of, split_sizes
from ._context import Context
from ._rules import Gradients, Rule

ROWS: dict[str, Rule] = {}


def _row(op: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        ROWS[op] = rule
        return rule

    return register


@_row("Concat")
def _concat(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    assert grads[0] is not None
    axis = _axis(ctx, node)
    found: list[str | None] = []
    start = 0
    for name in node.inputs:
        size = int(ctx.type(name).shape[axis])
        found.append(_sliced(ctx, grads[0], [(axis, Cut(start, 1, size))]) if ctx.needs(name) else None)
        start += size
    return tuple(found)


@_row("Split")
def _split(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    """Side by side; what nobody reads gets zeros."""
    axis, sizes = _axis(ctx, node), split_sizes(ctx.call(node))
    given = [g for g in grads if g is not None]
    if len(given) == len(sizes):
        return (ctx.emit("Concat", given, axis=axis),)
    dx = ""
    for i, g in enumerate(grads):
        if g is not None:
            shape = ctx.type(node.inputs[0]).per_image
            start = (sum(sizes[:i]),)
            part = ctx.emit("SliceGrad", [g], axes=(axis,), starts=start, steps=(1,), input_shape=shape)
            dx = ctx.add(dx, part) if dx else part
    return (dx,)


@_row("Slice")
def _slice(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    assert grads[0] is not None
    x = ctx.type(node.inputs[0])
    cut = [(axis, c) for axis, c in enumerate(cuts_of(ctx.call(node))) if not c.keeps(x.shape[axis])]
    if not cut:
        return (grads[0],)
    axes, starts, steps = zip(*((axis, c.start, c.step) for axis, c in cut), strict=True)
    return (ctx.emit("SliceGrad", [grads[0]], axes=axes, starts=starts, steps=steps, input_shape=x.per_image),)


@_row("SliceGrad")
def _slice_grad(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    assert grads[0] is not None
    whole = ctx.type(grads[0]).shape
    cut = [(axis, c) for axis, c in enumerate(cuts_of(ctx.call(node))) if not c.keeps(whole[axis])]
    return (_sliced(ctx, grads[0], cut) if cut else grads[0],)


@_row("Transpose")
def _transpose(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    assert grads[0] is not None
    perm = permutation_of(ctx.call(node))
    return (ctx.emit("Transpose", [grads[0]], perm=tuple(perm.index(axis) for axis in range(len(perm)))),)


@_row("Expand")
def _expand(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    assert grads[0] is not None
    return (ctx.reduced(grads[0], node.inputs[0], node.outputs[0]),)


def _sliced(ctx: Context, tensor: str, cuts: Sequence[tuple[int, Cut]]) -> str:
    starts = [cut.start for _, cut in cuts]
    # The end of a slice that runs down to index 0 is before it: written as a number below every size.
    ends = [e if (e := c.start + c.count * c.step) >= 0 else -(2**31) for _, c in cuts]
    operands = [starts, ends, [axis for axis, _ in cuts], [cut.step for _, cut in cuts]]
    return ctx.emit("Slice", [tensor, *(ctx.ints(values) for values in operands)])


def _axis(ctx: Context, node: Node) -> int:
    return int(ctx.call(node).attribute("axis")) % len(ctx.type(node.inputs[0]).shape)
