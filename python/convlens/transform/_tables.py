"""The rule tables of gradients, and their page in the documentation."""

from __future__ import annotations

from ..graph import OPERATORS, Node
from . import (
    _gradient_activation,
    _gradient_dense,
    _gradient_elementwise,
    _gradient_move,
    _gradient_norm,
    _gradient_quantised,
    _gradient_window,
)
from ._context import Context
from ._gradient_elementwise import clip_mask
from ._rules import Gradients, RuleTable, broadcasting

_STRAIGHT = (
    "a gradient passes straight through rounding and stops where a quantised value saturates (arXiv:1308.3432, "
    "arXiv:1712.05877): the derivative of rounding itself is 0"
)
_FIXED = "the range that dynamic quantisation takes from an image is held fixed"

GRADIENT = RuleTable(
    "gradient",
    {
        **_gradient_elementwise.ROWS,
        **_gradient_activation.ROWS,
        **_gradient_window.ROWS,
        **_gradient_dense.ROWS,
        **_gradient_move.ROWS,
        **_gradient_norm.ROWS,
        **_gradient_quantised.ROWS,
    },
    {"Quantize": _STRAIGHT, "StopGradient": _FIXED},
)


@broadcasting
def _guided_relu(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    """Pass what is positive where the unit was active: 1[x > 0] 1[R > 0] R."""
    g, y = grads[0], ctx.value(node.outputs[0])
    assert g is not None
    both = ctx.emit("And", [ctx.greater(y, ctx.zero), ctx.greater(g, ctx.zero)])
    return (ctx.where(both, g),)


@broadcasting
def _guided_clip(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    g, mask = grads[0], clip_mask(ctx, node)
    assert g is not None
    positive = ctx.greater(g, ctx.zero)
    return (ctx.where(positive if mask is None else ctx.emit("And", [mask, positive]), g),)


@broadcasting
def _deconvnet_relu(ctx: Context, node: Node, grads: Gradients) -> Gradients:
    """Pass what is positive, active or not: 1[R > 0] R."""
    g = grads[0]
    assert g is not None
    return (ctx.where(ctx.greater(g, ctx.zero), g),)


def _guided_quantize(ctx: Context, node: Node, g: str) -> str:
    return ctx.emit("And", [_gradient_quantised.inside(ctx, node), ctx.greater(g, ctx.zero)])


def _deconvnet_quantize(ctx: Context, node: Node, g: str) -> str:
    return ctx.greater(g, ctx.zero)


_CLIP_NOTE = "Clip (ReLU6) is treated as a ReLU: an extension, the paper has ReLU only"
_PLAIN_NOTE = "an activation other than ReLU passes its gradient: an extension, the paper has ReLU only"
_ACTIVATIONS = ("LeakyRelu", "PRelu", "Elu", "Selu", "Gelu", "Mish", "HardSwish", "HardSigmoid", "Softplus")
_HELD_NOTE = f"{_STRAIGHT}; a ReLU that saturation stands for is treated as one: an extension, the paper has ReLU only"
_NOTES = {"Clip": _CLIP_NOTE, "Quantize": _HELD_NOTE, **dict.fromkeys((*_ACTIVATIONS, "Sigmoid", "Tanh"), _PLAIN_NOTE)}

# Springenberg et al. 2015, Striving for Simplicity, arXiv:1412.6806.
GUIDED = GRADIENT.replace(
    "guided",
    {"Relu": _guided_relu, "Clip": _guided_clip, "Quantize": _gradient_quantised.through_relu(_guided_quantize)},
    _NOTES,
)

# Zeiler and Fergus 2014, Visualizing and Understanding Convolutional Networks, arXiv:1311.2901.
DECONVNET = GRADIENT.replace(
    "deconvnet",
    {
        "Relu": _deconvnet_relu,
        "Clip": _deconvnet_relu,
        "Quantize": _gradient_quantised.through_relu(_deconvnet_quantize),
    },
    _NOTES,
)

# Rules that serve a part of their operator, for the documentation; the rest is an UnsupportedError.
_LIMITS = {"Pad": "of the padded tensor, not of the constant value"}

TABLES = (GRADIENT, GUIDED, DECONVNET)


def rule_table() -> str:
    """The tables as Markdown: operator x table. ``docs/rules.md`` is made of it.

    A cell says which table's rule holds (``gradient`` or the table's own, with its note), or ``-`` for none: asking
    for it is an UnsupportedError. Operators without floating-point output never carry a gradient.
    """
    lines = [f"| operator | {' | '.join(table.name for table in TABLES)} |", "|---" * (len(TABLES) + 1) + "|"]
    notes: list[str] = []
    for op in sorted(OPERATORS):
        cells = []
        for table in TABLES:
            if op not in table:
                cells.append("-")
                continue
            cell = next(other.name for other in TABLES if other.get(op) is table[op])
            for note in (table.notes.get(op), _LIMITS.get(op)):
                if note:
                    notes += [note] if note not in notes else []
                    cell += f" [{notes.index(note) + 1}]"
            cells.append(cell)
        lines.append(f"| {op} | {' | '.join(cells)} |")
    lines += ["", *(f"[{number}] {note}." for number, note in enumerate(notes, 1))]
    return "\n".join(lines) + "\n"
