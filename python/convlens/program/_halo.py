"""The halo each tensor carries: the most any of its readers looks beyond its edges."""

from __future__ import annotations

from ._target import Target, most_reach
from ._tensors import EXTERNAL, REAL, Instruction, Tensor

_WINDOWS = frozenset({
    *("conv2d", "conv2d_grad_input", "conv2d_grad_weight", "conv2d_plain", "conv2d_grad_weight_plain"),
    *("conv2d_winograd", "conv2d_grad_input_winograd"),
})  # fmt: skip


def add_halos(entries: list[list[Instruction]], target: Target) -> None:
    """Widen tensors to what `Op::input_rectangle` says; whoever writes one writes the halo's zeros."""
    needed: dict[Tensor, list[int]] = {}
    for instruction in (i for code in entries for i in code):
        if instruction.op not in _WINDOWS:
            continue
        readable = [
            t for t in instruction.inputs if t is not None and t.dtype == REAL and t.shape and t.geometry is None
        ]
        old = [(t, t.halo) for t in readable]
        for t in readable:  # ample room first: an op refuses to answer for a tensor that is too small for it
            t.halo = most_reach(instruction) if t.batched and t.place != EXTERNAL else t.halo
        for index, operand in enumerate(instruction.inputs):
            if operand not in readable or not operand.batched or operand.place == EXTERNAL:
                continue
            reach = target.reach(instruction, index)
            needed[operand] = [max(pair) for pair in zip(needed.get(operand, [0] * 4), reach, strict=True)]
        for t, halo in old:
            t.halo = halo
    for t, halo in needed.items():
        t.halo = halo
