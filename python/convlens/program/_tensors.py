"""Instructions over tensors with a layout: what the later passes build and what the file holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from ._expression import Expression
from ._flow import Chw, Geometry

REAL, INT64, UINT8, MASK = "real", "int64", "uint8", "mask"
PLAIN, BLOCKED, PACKED = "plain", "blocked", "packed"
ARENA, WEIGHT, STATE, EXTERNAL = "arena", "weight", "state", "external"
ALIGNMENT = 64


@dataclass(frozen=True)
class WeightKey:
    """What a weight slot holds: an expression over constants, packed by a geometry or as a plain vector."""

    expression: Expression
    geometry: Geometry | None = None
    scale: Expression | None = None

    def __str__(self) -> str:
        text = str(self.expression)
        if self.geometry is not None:
            g = self.geometry
            text += f" as k{g.K} c{g.C} r{g.R} s{g.S} g{g.groups}" + (" transposed" if g.transposed else "")
            text += (
                (" exchanged" if g.exchanged else "")
                + (" in phases" if g.phases else "")
                + (f" F({g.winograd},3)" if g.winograd else "")
            )
        return text + (f" times {self.scale}" if self.scale is not None else "")


@dataclass(eq=False)
class Tensor:
    """One piece of memory; the fields of cpp/src/runtime/tensor.hpp.

    `shape` is channels, height and width (for a packed weight: its numbers, 1, 1). `halo` is top, left, bottom, right.
    `apart` marks a copy of one pixel with a halo, which is no longer the same bytes blocked and plain. `part` is the
    tensor it is a part of, with the first of its blocks of channels.
    """

    name: str
    dtype: str
    layout: str
    place: str
    batched: bool
    shape: Chw
    halo: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    slot: int = -1
    offset: int = 0
    geometry: Geometry | None = None
    entry: int = 0
    apart: bool = False
    part: tuple[Tensor, int] | None = None

    @property
    def block_bytes(self) -> int:
        """Bytes of a block of channels, of real numbers."""
        _, h, w = self.shape
        return (h + self.halo[0] + self.halo[2]) * (w + self.halo[1] + self.halo[3]) * ALIGNMENT

    def bytes(self, itemsize: int) -> int:
        """Bytes of one copy; `itemsize` is that of the real type."""
        c, h, w = self.shape
        lanes = ALIGNMENT // itemsize
        rows, columns = h + self.halo[0] + self.halo[2], w + self.halo[1] + self.halo[3]
        blocks = -(-c // lanes)
        if self.dtype == MASK:
            groups = blocks * h * w if self.layout == BLOCKED else -(-(c * h * w) // lanes)
            size = groups * (lanes // 8)
        elif self.dtype == UINT8:
            size = blocks * h * w * lanes if self.layout == BLOCKED else c * h * w
        elif self.dtype == INT64:
            size = c * h * w * 8
        elif self.layout == BLOCKED:
            size = blocks * rows * columns * ALIGNMENT
        else:
            size = c * rows * columns * itemsize
        return size if self.place == EXTERNAL else -(-size // ALIGNMENT) * ALIGNMENT


@dataclass(eq=False)
class Instruction:
    """An opcode by name, its operands and attributes (a float is stored as the bits of a double).

    `reuse` lists (output, input) pairs that may share memory when the input is read for the last time.
    """

    op: str
    inputs: list[Tensor | None]
    outputs: list[Tensor | None]
    attributes: list[int | float]
    name: str = ""
    reuse: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Port:
    """What a caller hands to an entry or gets back."""

    name: str
    dtype: str
    batched: bool
    dims: tuple[int, ...]
    is_output: bool
    graph_dtype: str


@dataclass
class Layouted:
    """A lowered graph before its tensors have offsets."""

    entries: list[list[Instruction]]
    labels: list[str]
    ports: list[list[Port]]
    weights: dict[WeightKey, Tensor]
    states: list[tuple[str, Tensor, tuple[int, ...]]]
