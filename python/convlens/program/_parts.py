"""Concatenations and slices of channels in place: what is joined is written side by side, what is cut stays.

A tensor of whole blocks of channels is then a part of a larger one: it has its own shape and the larger one's memory.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import accumulate

from ._plan import Plan, plan
from ._target import Target
from ._tensors import ARENA, BLOCKED, REAL, Instruction, Tensor

Code = list[list[Instruction]]
_TRIES = 6  # at a plan that takes no more memory than copies


@dataclass(frozen=True)
class Move:
    """A concatenation or slice of channels, how many of its inputs stay where they are, and what runs before it."""

    entry: int
    instruction: Instruction
    in_place: int
    at: int

    @property
    def out(self) -> Tensor:
        """What it makes."""
        made = self.instruction.outputs[0]
        assert made is not None
        return made


def arrange(entries: Code, target: Target) -> tuple[Code, Plan, tuple[Move, ...]]:
    """Plan the arena with concatenations in place wherever that takes no more memory.

    A part takes the memory of the whole from when the first part is made until the last one was read. Where that is
    more than copies take, those are copied that it is because of.

    Returns
    -------
    entries : the instructions that are left
    plan : Plan
    moves : every concatenation and slice of channels, in the order they run in
    """
    copied = plan(entries, target.itemsize)
    copies: set[Instruction] = set()
    most = copied.image_bytes
    for _ in range(_TRIES):
        parts = _Parts(entries, target.lanes, copies)
        if not parts.part_of:
            break
        placed = parts.plan(target)
        if placed.image_bytes <= copied.image_bytes:
            return parts.entries, placed, tuple(parts.moves)
        to_blame = parts.to_blame(placed, most)
        most = most if to_blame else most * 15 // 16  # gaps between the tensors
        copies |= to_blame
        parts.restore()
    parts = _Parts(entries, target.lanes, {i for code in entries for i in code})
    return entries, parts.plan(target), tuple(parts.moves)


class _Parts:
    """Which tensors are parts of which; the tensors themselves are told by `plan`.

    Parameters
    ----------
    copies : collection of Instruction
        Those that are not to be in place.
    """

    def __init__(self, entries: Code, lanes: int, copies: Collection[Instruction]) -> None:
        self.lanes, self.copies = lanes, copies
        self.part_of: dict[Tensor, tuple[Tensor, int]] = {}
        self.moves: list[Move] = []
        self._made: list[tuple[Tensor, list[Tensor]]] = []  # concatenations, and what they join
        self._same: dict[Tensor, Tensor] = {}  # concatenations of what an earlier one joins
        self._halos: dict[Tensor, list[int]] = {}
        self._entry = 0
        self.entries: Code = []
        for self._entry, code in enumerate(entries):
            self.entries.append([])
            for instruction in code:
                self.entries[-1] += self._visit(instruction)

    def plan(self, target: Target) -> Plan:
        """Give tensors their place in a whole, all of one halo, and plan the arena."""
        for tensor, (whole, block) in self.part_of.items():
            tensor.part = (whole, block)
            for each in (tensor, whole):
                self._halos.setdefault(each, list(each.halo))
            whole.halo = [max(pair) for pair in zip(whole.halo, tensor.halo, strict=True)]
        for tensor, (whole, _) in self.part_of.items():
            tensor.halo = list(whole.halo)
        return plan(self.entries, target.itemsize)

    def restore(self) -> None:
        """Take back what `plan` did to the tensors."""
        for tensor, halo in self._halos.items():
            tensor.part, tensor.halo = None, halo

    def to_blame(self, placed: Plan, most: int) -> set[Instruction]:
        """What holds memory in place where more than `most` bytes are held: for what is not made yet, or read no more.

        Where there are no such, all that are in place there.
        """
        wholes = {whole for whole, _ in self.part_of.values()}
        moves: dict[Tensor, list[Move]] = {}
        for move in self.moves:
            if move.in_place:
                moves.setdefault(self.part_of.get(move.out, (move.out, 0))[0], []).append(move)
        found: set[Instruction] = set()
        for entry, code in enumerate(self.entries):
            held = [0] * (len(code) + 2)
            for buffer in placed.buffers:
                if entry in buffer.live:
                    held[buffer.live[entry][0]] += buffer.size
                    held[buffer.live[entry][1] + 1] -= buffer.size
            for at, now in enumerate(accumulate(held)):
                if now <= most:
                    continue
                live = [b for b in placed.buffers if entry in b.live and b.live[entry][0] <= at <= b.live[entry][1]]
                there = [m for b in live for t in b.tensors if t in wholes for m in moves.get(t, ())]
                idle = [m for m in there if (len(m.instruction.inputs) == 1) == ((m.entry, m.at) <= (entry, at))]
                found.update(m.instruction for m in idle or there)
        return found

    def _visit(self, i: Instruction) -> list[Instruction]:
        if i.op != "concat" or i.attributes[0] != 0:
            return [i]
        if i.attributes[2] > 1:  # shuffled: lane by lane
            self.moves.append(Move(self._entry, i, 0, len(self.entries[-1])))
            return [i]
        out, start = i.outputs[0], int(i.attributes[1])
        inputs = [t for t in i.inputs if t is not None]
        assert out is not None
        left, in_place = [i], 0
        if self._fits(out):
            if start == 0 and len(inputs) > 1 and sum(t.shape[0] for t in inputs) == out.shape[0]:
                left, in_place = self._join(i, inputs, out)
            elif len(inputs) == 1 and i not in self.copies and self._cuts(inputs[0], out, start):
                self._attach(out, inputs[0], start // self.lanes)
                left, in_place = [], 1
        self.moves.append(Move(self._entry, i, in_place, len(self.entries[-1])))
        return left

    def _fits(self, t: Tensor) -> bool:
        kind = (t.place, t.batched, t.dtype, t.layout, t.entry)
        return kind == (ARENA, True, REAL, BLOCKED, self._entry) and t.shape[1:] != (1, 1)

    def _cuts(self, x: Tensor, out: Tensor, start: int) -> bool:
        """Whether a slice is whole blocks; the last one's padding is zeros only where it is that of `x` too."""
        end = start + out.shape[0]
        whole = start % self.lanes == 0 and (end % self.lanes == 0 or end == x.shape[0])
        return self._fits(x) and whole and start >= 0 and end <= x.shape[0]

    def _join(self, i: Instruction, inputs: list[Tensor], out: Tensor) -> tuple[list[Instruction], int]:
        """Let inputs be written where they belong; the others are copied there, neighbours together."""
        joined = self._with_prefixes([self._same.get(t, t) for t in inputs])
        if len(joined) == 1 and i not in self.copies:
            self._same[out] = joined[0]
            self._attach(out, joined[0], 0)
            return [], len(inputs)
        self._made.append((out, joined))
        at = [0, *accumulate(t.shape[0] for t in joined)]
        aligned = [c % self.lanes == 0 for c in at[:-1]] + [True]
        stays = [self._may_move(t, joined) and aligned[k] and aligned[k + 1] for k, t in enumerate(joined)]
        if not any(stays) or i in self.copies:
            return [i], 0
        left: list[Instruction] = []
        first = 0
        while first < len(joined):
            end = first + 1
            if stays[first]:
                self._attach(joined[first], out, at[first] // self.lanes)
            else:
                while end < len(joined) and not stays[end]:
                    end += 1
                part = Tensor(out.name, REAL, BLOCKED, ARENA, True, (at[end] - at[first], *out.shape[1:]))
                part.entry = self._entry
                self._attach(part, out, at[first] // self.lanes)
                left.append(Instruction("concat", list(joined[first:end]), [part], [0, 0, 1], i.name))
            first = end
        return left, len(inputs) - sum(len(c.inputs) for c in left)

    def _may_move(self, t: Tensor, joined: list[Tensor]) -> bool:
        return self._fits(t) and t not in self.part_of and joined.count(t) == 1

    def _with_prefixes(self, inputs: list[Tensor]) -> list[Tensor]:
        """The inputs, of which the first are what an earlier concatenation joined, where there is one."""
        for out, joined in reversed(self._made):
            if inputs[: len(joined)] == joined and out.entry == self._entry:
                return self._with_prefixes([out, *inputs[len(joined) :]])
        return inputs

    def _whole(self, t: Tensor) -> tuple[Tensor, int]:
        return self.part_of.get(t, (t, 0))

    def _attach(self, tensor: Tensor, to: Tensor, block: int) -> None:
        whole, at = self._whole(to)
        for part, (other, own) in self.part_of.items():
            if other is tensor:
                self.part_of[part] = (whole, at + block + own)
        self.part_of[tensor] = (whole, at + block)
