"""Fifth pass: where each tensor lies in the arena, so that tensors alive at once never overlap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ._tensors import ALIGNMENT, ARENA, Instruction, Tensor

Interval = tuple[int, int]


@dataclass(eq=False)
class Buffer:
    """Memory of one tensor, or of several that follow each other in place; `live` is (first, last) by entry."""

    tensors: list[Tensor]
    size: int
    live: dict[int, Interval] = field(default_factory=dict)
    offset: int = -1

    def overlaps(self, other: Buffer) -> bool:
        """Whether both are alive at some instruction."""
        for entry, (first, last) in self.live.items():
            theirs = other.live.get(entry)
            if theirs is not None and first <= theirs[1] and theirs[0] <= last:
                return True
        return False


@dataclass(frozen=True)
class Plan:
    """Bytes of the two regions of the arena, what lies there of an image, and for each entry those it reads from."""

    fixed_bytes: int
    image_bytes: int
    buffers: tuple[Buffer, ...]
    reads: tuple[frozenset[int], ...]


def plan(entries: list[list[Instruction]], itemsize: int) -> Plan:
    """Give every tensor of the arena its offset, a multiple of 64.

    Each region takes the better of two greedy orders: by size (Pisarchyk and Lee 2020, arXiv:2001.03288) and by how
    long a tensor lives. A tensor that a later entry reads stays until the end: that entry may run any number of times.
    """
    reads = _entry_reads(entries)
    buffers = _buffers(entries, itemsize, reads)
    _share(entries, buffers)
    unique = list(dict.fromkeys(buffers.values()))
    regions = []
    for batched in (False, True):
        region = [b for b in unique if b.tensors[0].batched is batched]
        regions.append(_place(region))
        for buffer in region:
            for tensor in buffer.tensors:
                tensor.offset = buffer.offset
    return Plan(regions[0], regions[1], tuple(region), tuple(reads))


def _entry_reads(entries: list[list[Instruction]]) -> list[frozenset[int]]:
    """The earlier entries each entry depends on, directly or not."""
    reads: list[frozenset[int]] = []
    for index, instructions in enumerate(entries):
        direct = {
            t.entry for i in instructions for t in i.inputs if t is not None and t.place == ARENA and t.entry != index
        }
        reads.append(frozenset(direct.union(*(reads[d] for d in direct))))
    return reads


def _buffers(entries: list[list[Instruction]], itemsize: int, reads: list[frozenset[int]]) -> dict[Tensor, Buffer]:
    buffers: dict[Tensor, Buffer] = {}
    for entry, instructions in enumerate(entries):
        for position, instruction in enumerate(instructions):
            for tensor in [*instruction.outputs, *instruction.inputs]:
                if tensor is None or tensor.place != ARENA:
                    continue
                buffer = buffers.setdefault(tensor, Buffer([tensor], tensor.bytes(itemsize)))
                first, _ = buffer.live.get(entry, (position, position))
                buffer.live[entry] = (first, position)
    for tensor, buffer in list(buffers.items()):
        if tensor.part is not None:
            _join(buffer, buffers.setdefault(tensor.part[0], Buffer([tensor.part[0]], tensor.part[0].bytes(itemsize))))
            buffers[tensor] = buffers[tensor.part[0]]
    for buffer in dict.fromkeys(buffers.values()):
        if max(buffer.live) > buffer.tensors[0].entry:
            _keep(buffer.tensors[0], buffer, entries, reads)
    return buffers


def _join(part: Buffer, whole: Buffer) -> None:
    """Let a whole live as long as its parts."""
    whole.tensors += part.tensors
    for entry, (first, last) in part.live.items():
        low, high = whole.live.get(entry, (first, last))
        whole.live[entry] = (min(low, first), max(high, last))


def _keep(tensor: Tensor, buffer: Buffer, entries: list[list[Instruction]], reads: list[frozenset[int]]) -> None:
    """Let a tensor that crosses entries live through every entry that may run between its making and its reading."""
    first = buffer.live[tensor.entry][0]
    buffer.live[tensor.entry] = (first, len(entries[tensor.entry]))
    for entry in range(len(entries)):
        if entry > tensor.entry or (entry < tensor.entry and entry not in reads[tensor.entry]):
            buffer.live[entry] = (0, len(entries[entry]))


def _share(entries: list[list[Instruction]], buffers: dict[Tensor, Buffer]) -> None:
    """Let an output take over the memory of an input that nobody reads afterwards."""
    for entry, instructions in enumerate(entries):
        for position, instruction in enumerate(instructions):
            taken: set[Buffer] = set()
            for o, i in instruction.reuse:
                out, tensor = instruction.outputs[o], instruction.inputs[i]
                if out is None or tensor is None or out.place != ARENA or tensor.place != ARENA:
                    continue
                if out.part is not None or tensor.part is not None:
                    continue
                mine, theirs = buffers[out], buffers[tensor]
                ends = list(theirs.live) == [entry] and theirs.live[entry][1] == position
                if not ends or mine in taken or theirs in taken or mine is theirs or not _alike(out, tensor):
                    continue
                if mine.live[entry][0] != position or len(mine.tensors) != 1:
                    continue
                # Another operand of the same memory would be overwritten before it is read.
                if sum(t is not None and buffers.get(t) is theirs for t in instruction.inputs) != 1:
                    continue
                theirs.live = {**mine.live, entry: (theirs.live[entry][0], mine.live[entry][1])}
                theirs.tensors.append(out)
                buffers[out] = theirs
                taken.add(theirs)


def _alike(a: Tensor, b: Tensor) -> bool:
    return (a.dtype, a.layout, a.batched, a.shape, a.halo) == (b.dtype, b.layout, b.batched, b.shape, b.halo)


def _place(region: list[Buffer]) -> int:
    """Assign offsets by both orders, keep the better, and return the region's bytes."""

    def by_size(b: Buffer) -> tuple[int, int, int]:
        return (-b.size, min(b.live), b.live[min(b.live)][0])

    def by_life(b: Buffer) -> tuple[int, int, int]:
        return (-sum(last - first for first, last in b.live.values()), -b.size, b.live[min(b.live)][0])

    best: tuple[int, list[int]] | None = None
    orders: tuple[Callable[[Buffer], tuple[int, int, int]], ...] = (by_size, by_life)
    for order in orders:
        placed: list[Buffer] = []
        for buffer in sorted(region, key=order):
            _fit(buffer, placed)
            placed.append(buffer)
        total = max((b.offset + b.size for b in region), default=0)
        if best is None or total < best[0]:
            best = (total, [b.offset for b in region])
    assert best is not None
    for buffer, offset in zip(region, best[1], strict=True):
        buffer.offset = offset
    return -(-best[0] // ALIGNMENT) * ALIGNMENT


def _fit(buffer: Buffer, placed: list[Buffer]) -> None:
    """The lowest offset that is free while the buffer lives."""
    at = 0
    for other in sorted((b for b in placed if b.overlaps(buffer)), key=lambda b: b.offset):
        if at + buffer.size <= other.offset:
            break
        at = max(at, other.offset + other.size)
    buffer.offset = at
