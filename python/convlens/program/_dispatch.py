"""Which algorithm each convolution of a Program goes by, and which concatenations cost nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..graph import ConvProblem, problem_string
from ._parts import Move
from ._tensors import Instruction

VERBOSE = "CONVLENS_VERBOSE"


@dataclass(frozen=True)
class Choice:
    """A convolution, by its entry and node, its problem string for one image, and its algorithm.

    Of a concatenation or slice of channels `problem` tells sizes, and `algorithm` whether it is in place.
    """

    entry: str
    node: str
    problem: str
    algorithm: str

    def __str__(self) -> str:
        return f"{self.entry} {self.node}: {self.problem}: {self.algorithm}"


def choices(
    labels: Sequence[str], entries: Sequence[Sequence[Instruction]], dtype: str, strips: Collection[int] = ()
) -> tuple[Choice, ...]:
    """Every convolution, in the order they run in; `strips` are the first of three that go strip by strip."""
    code = [(label, i) for label, own in zip(labels, entries, strict=True) for i in own]
    return tuple(
        Choice(label, i.name, problem_string(_problem(i, dtype)), _algorithm(i) + by)
        for k, (label, i) in enumerate(code)
        if i.op.startswith(("conv2d", "depthwise"))
        for by in [", strip by strip" if {k, k - 1, k - 2}.intersection(strips) else ""]
    )


def moved(labels: Sequence[str], moves: Sequence[Move]) -> tuple[Choice, ...]:
    """Every concatenation and slice of channels, in the order they run in."""
    return tuple(Choice(labels[m.entry], m.instruction.name, _sizes(m.instruction), _how(m)) for m in moves)


def _sizes(i: Instruction) -> str:
    out, start = i.outputs[0], int(i.attributes[1])
    assert out is not None
    channels, height, width = out.shape
    joined = " + ".join(str(t.shape[0]) for t in i.inputs if t is not None)
    what = joined if start == 0 and len(i.inputs) > 1 else f"{start} to {start + channels} of {joined}"
    shuffled = f" in {i.attributes[2]} groups, shuffled" if i.attributes[2] > 1 else ""
    return f"channels {what}{shuffled}, {height} x {width}"


def _how(move: Move) -> str:
    of = len(move.instruction.inputs)
    some = "in place" if move.in_place == of else f"{move.in_place} of {of} in place"
    return some if move.in_place else "copied"


def tell(made: Sequence[Choice]) -> None:
    """Print them to stderr where CONVLENS_VERBOSE names `dispatch`."""
    if "dispatch" in os.environ.get(VERBOSE, "").split(","):
        for choice in made:
            print(f"convlens: {choice}", file=sys.stderr)


def _algorithm(i: Instruction) -> str:
    if i.op.endswith("_winograd"):
        return f"Winograd F({i.attributes[-1]},3)"
    name = "depthwise" if _depthwise(i) else "direct"
    return f"{name} on planes" if i.op.endswith("_plain") else name


def _depthwise(i: Instruction) -> bool:
    channels = {t.shape[0] for t in (i.inputs[0], i.outputs[0]) if t is not None and t.geometry is None}
    return i.op.startswith("depthwise") or channels == {i.attributes[8]} != {1}


def _problem(i: Instruction, dtype: str) -> ConvProblem:
    a, b, out = i.inputs[0], i.inputs[1], i.outputs[0]
    assert a is not None
    assert b is not None
    assert out is not None
    direction = next((d for d in ("grad_input", "grad_weight") if d in i.op), "fwd")
    x, y = {"fwd": (a, out), "grad_input": (out, a), "grad_weight": (b, a)}[direction]
    r, s, stride_h, stride_w, top, left, dilation_h, dilation_w, groups = (int(v) for v in i.attributes[:9])
    (c, h, w), (k, rows, columns) = x.shape, y.shape
    bottom = (rows - 1) * stride_h + (r - 1) * dilation_h + 1 - top - h
    right = (columns - 1) * stride_w + (s - 1) * dilation_w + 1 - left - w
    pads = (top, left, max(0, bottom), max(0, right))
    stride, dilation = (stride_h, stride_w), (dilation_h, dilation_w)
    return ConvProblem(1, c, h, w, k, r, s, stride, pads, dilation, groups, dtype, direction)
