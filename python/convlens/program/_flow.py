"""What the lowering passes share: the graph in a form that is easy to claim nodes from, and the steps they become."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from .._errors import UnsupportedError
from ..graph import Call, Graph, Node, TensorType, call_of
from ._expression import Expression

Chw = tuple[int, int, int]

# What an element-wise program computes: operators of the graph, then two of lowering's own, a value in the shape of
# another tensor and the update of a state.
ELEMENTWISE = frozenset(
    {
        *("Relu", "Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Abs", "Neg", "Sign", "Clip"),
        *("Erf", "Expm1", "Log1p", "Pow", "Round", "HardSwish", "Gelu"),
        *("Add", "Sub", "Mul", "Div", "Max", "Min", "Where"),
        *("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "And", "Or", "Not"),
        *("Fill", "Assign"),
    }
)


@dataclass(frozen=True)
class Entry:
    """A list of tensors that is computed from a list of inputs. Names are those of the graph's tensors."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise TypeError(f"`{name}` (={value!r}) must be a tuple of names; write ({value!r},)")
            object.__setattr__(self, name, tuple(value))


@dataclass(frozen=True)
class Geometry:
    """How a weight is packed: as that of a convolution (K, C / groups, R, S).

    A matrix is packed as (K, C, H, W), so that `linear` reads a blocked (C, H, W) without a flatten. `transposed` says
    that the logical array is that of (C * H * W, K), `exchanged` that it is (C, K, R, S). `winograd` is the tile that a
    3 x 3 kernel is transformed for, 0 when it is not. `phases` are taps that are packed as kernels of their own, one
    after the other.
    """

    K: int
    C: int
    R: int
    S: int
    groups: int = 1
    transposed: bool = False
    winograd: int = 0
    exchanged: bool = False
    phases: tuple[tuple[int, ...], ...] = ()

    @property
    def attributes(self) -> tuple[int, int, int, int, int]:
        """The attributes of pack_weight and unpack_weight."""
        return (self.K, self.C, self.R, self.S, self.groups)

    @property
    def elements(self) -> int:
        """Numbers in the logical array."""
        return self.K * (self.C // self.groups) * self.R * self.S


@dataclass(eq=False)
class Op:
    """A node of the graph, or one that a node was taken apart into."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: Mapping[str, Any]
    name: str
    index: int = 0
    entry: int = -1

    def unsupported(self, reason: str) -> NoReturn:
        """Raise an error that names the node."""
        raise UnsupportedError(f"node {self.name!r} ({self.op}): {reason}")


@dataclass(eq=False)
class Step:
    """One instruction before its tensors have a layout.

    `inputs` and `outputs` are graph tensors ('' for an absent operand); `operands` of weights name a key instead.
    `layout` is that of the full operands, for steps that take either.
    `plain` says that all of its tensors are, which come from the caller and go there.
    """

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: list[int | float]
    ops: list[Op]
    entry: int
    geometry: Geometry | None = None
    scale: Expression | None = None
    assigns: dict[str, str] = field(default_factory=dict)
    layout: str = ""
    plain: bool = False

    @property
    def key(self) -> int:
        """Where the step stood in the graph: at its last node."""
        return max(op.index for op in self.ops)


def chw(kind: TensorType) -> Chw:
    """A tensor of the graph as channels, height and width.

    Axes between the first and the last are one. A tensor that is not batched is a vector of its elements.
    """
    dims = kind.per_image
    if not kind.batched:
        elements = 1
        for dim in dims:
            elements *= dim
        return (elements, 1, 1)
    if len(dims) == 0:
        return (1, 1, 1)
    if len(dims) == 1:
        return (dims[0], 1, 1)
    if len(dims) == 2:
        return (dims[0], 1, dims[1])
    return (dims[0], math.prod(dims[1:-1]), dims[-1])


@dataclass(eq=False)
class Flow:
    """The graph between the passes.

    Attributes
    ----------
    root : tensor -> the tensor whose bytes, in plain order, are the same (through Identity, Flatten and Reshape)
    base : root -> the shape it is computed in
    immediates : tensor -> number
    constants : tensor -> expression over the graph's constants
    states : graph inputs that are updated in place
    types : the type of every tensor, added ones included
    requested : entry index -> tensors its caller gets
    input_entry : graph input -> index of the entry it is given to
    inside : inputs that the larger graph makes itself, where this is a part of one; else None
    blocked : inputs, outputs and states that cross in blocks of channels
    tiled : results of the convolutions that alone go by Winograd's algorithm; None where that is chosen for each
    """

    graph: Graph
    entries: dict[str, Entry]
    updates: dict[str, str]
    ops: list[Op] = field(default_factory=list)
    root: dict[str, str] = field(default_factory=dict)
    base: dict[str, Chw] = field(default_factory=dict)
    immediates: dict[str, float] = field(default_factory=dict)
    constants: dict[str, Expression] = field(default_factory=dict)
    types: dict[str, TensorType] = field(default_factory=dict)
    input_entry: dict[str, int] = field(default_factory=dict)
    inside: Collection[str] | None = None
    blocked: Collection[str] = ()
    tiled: Collection[str] | None = None
    geometry: dict[tuple[str, bool], Geometry] = field(default_factory=dict)
    _uses: dict[str, list[Op]] = field(default_factory=dict)
    _producer: dict[str, Op] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.requested = {self.root_of(name) for entry in self.entries.values() for name in entry.outputs}

    def root_of(self, name: str) -> str:
        """The tensor that holds the bytes of `name`."""
        return self.root.get(name, name)

    def base_of(self, name: str) -> Chw:
        """The shape the root of `name` is computed in."""
        root = self.root_of(name)
        found = self.base.get(root)
        return found if found is not None else chw(self.types[root])

    def native(self, name: str) -> bool:
        """Whether `name` is seen in the shape it was computed in."""
        return chw(self.types[name]) == self.base_of(name)

    def dynamic(self, name: str) -> bool:
        """Whether `name` is a tensor of the run: neither absent, an immediate nor made of constants."""
        return bool(name) and name not in self.immediates and name not in self.constants

    def index_uses(self) -> None:
        """Number the ops and note who reads and makes each root."""
        self.requested = {self.root_of(name) for entry in self.entries.values() for name in entry.outputs}
        self._uses, self._producer = {}, {}
        for index, op in enumerate(self.ops):
            op.index = index
            for out in op.outputs:
                if out:
                    self._producer[out] = op
            for root in dict.fromkeys(self.root_of(name) for name in op.inputs if self.dynamic(name)):
                self._uses.setdefault(root, []).append(op)

    def uses(self, name: str) -> list[Op]:
        """The ops that read the bytes of `name`, in order."""
        return self._uses.get(self.root_of(name), [])

    def producer(self, name: str) -> Op | None:
        """The op that makes `name`; None for inputs and constants."""
        return self._producer.get(self.root_of(name))

    def only_use(self, name: str, entry: int) -> Op | None:
        """The one op that reads `name`, once, in `entry`; None when there are others or it was asked for."""
        users = self.uses(name)
        root = self.root_of(name)
        if len(users) != 1 or root in self.requested or users[0].entry != entry:
            return None
        seen = [i for i in users[0].inputs if i and self.root_of(i) == root]
        return users[0] if len(seen) == 1 and self.native(seen[0]) else None

    def other(self, op: Op, name: str) -> str:
        """The operand of a binary op that is not `name`."""
        root = self.root_of(name)
        return op.inputs[1] if self.root_of(op.inputs[0]) == root else op.inputs[0]

    def node(self, op: Op) -> Node:
        """The op as a node of the graph."""
        return Node(op.op, tuple(op.inputs), tuple(op.outputs), op.attributes, op.name)

    def call(self, op: Op) -> Call:
        """The op as its shape rule saw it: operands by name, attributes with defaults."""
        return call_of(self.node(op), self.types, self.graph.constants)

    def is_channel_vector(self, name: str, like: str) -> bool:
        """Whether `name` is not batched and broadcasts as one number a channel of `like`."""
        if not name or name in self.immediates or self.types[name].batched:
            return False
        return operand_shape(self.types[like], self.types[name]) == (chw(self.types[like])[0], 1, 1)


def operand_shape(out: TensorType, operand: TensorType) -> Chw | None:
    """The operand's (c, h, w) under NumPy's broadcasting to `out`; None where it is no such shape."""
    rank = len(out.shape)
    dims = [1] * (rank - len(operand.shape)) + [1 if d == "N" else int(d) for d in operand.shape]
    if not out.batched:
        elements = 1
        for dim in dims:
            elements *= dim
        return (elements, 1, 1)
    if dims[0] != 1:
        return None
    inner = dims[1:]
    if len(inner) == 0:
        return (1, 1, 1)
    if len(inner) == 1:
        return (inner[0], 1, 1)
    if len(inner) == 2:
        return (inner[0], 1, inner[1])
    middle, full = inner[1:-1], out.per_image[1:-1]
    if middle != list(full) and any(dim != 1 for dim in middle):
        return None
    return (inner[0], math.prod(middle), inner[-1])


def names(values: Iterable[str]) -> str:
    """Names for an error message."""
    return ", ".join(repr(v) for v in values) or "none"
