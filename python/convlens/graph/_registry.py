"""The registry of operators: what a row holds, and what a shape rule sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import UnsupportedError
from ._ir import BATCH, Dim, Node, Shape, TensorType

FLOATS = ("float32", "float64")
NUMBERS = (*FLOATS, "int64", "int32", "uint8", "int8")

Result = TensorType | tuple[TensorType, ...]


@dataclass(frozen=True)
class Operator:
    """One row of the operator set."""

    name: str
    operands: tuple[str, ...]
    required: int
    attributes: Mapping[str, Any]
    rule: Callable[[Call], Result] = field(repr=False)
    variadic: bool = False  # the last operand may come any number of times


OPERATORS: dict[str, Operator] = {}


@dataclass(frozen=True)
class Call:
    """What a shape rule sees: a node, its operands' types by the row's names, and the constants."""

    node: Node
    operator: Operator
    types: Mapping[str, TensorType]
    constants: Mapping[str, npt.NDArray[Any]]

    def tensor(self, operand: str) -> str:
        """The name of the tensor given as `operand`; "" when absent."""
        index = self.operator.operands.index(operand)
        return self.node.inputs[index] if index < len(self.node.inputs) else ""

    def has(self, operand: str) -> bool:
        """Whether the optional `operand` is given."""
        return bool(self.tensor(operand))

    def kind(self, operand: str, dtypes: Sequence[str] = FLOATS, rank: int | None = None) -> TensorType:
        """The type of an operand, checked."""
        kind = self.types[self.tensor(operand)]
        if kind.dtype not in dtypes:
            raise ValueError(f"`{operand}` must be {' or '.join(dtypes)}, not {kind.dtype}")
        if rank is not None and len(kind.shape) != rank:
            raise ValueError(f"`{operand}` must have {rank} axes{_RANKS.get(rank, '')}, not {len(kind.shape)}")
        return kind

    def constant(self, operand: str) -> npt.NDArray[Any]:
        """The value of an operand that must be known before any data is."""
        name = self.tensor(operand)
        if name not in self.constants:
            raise UnsupportedError(
                f"`{operand}` ({name!r}) must be a constant: shapes that depend on data are unsupported"
            )
        return self.constants[name]

    def attribute(self, name: str) -> Any:
        """An attribute, or its default."""
        return attribute(self.node, name)


_RANKS = {4: " (N, C, H, W)", 2: " (rows, columns)"}


def shape_rule(
    name: str, operands: str, **attributes: Any
) -> Callable[[Callable[[Call], Result]], Callable[[Call], Result]]:
    """Register an operator: its operands in order ("x weight bias?") and attributes' defaults.

    "?" marks an optional operand, "*" one that may come several times.
    """

    def register(rule: Callable[[Call], Result]) -> Callable[[Call], Result]:
        words = operands.split()
        required = sum(not word.endswith("?") for word in words)
        names = tuple(word.rstrip("?*") for word in words)
        OPERATORS[name] = Operator(name, names, required, attributes, rule, operands.endswith("*"))
        return rule

    return register


def call_of(node: Node, types: Mapping[str, TensorType], constants: Mapping[str, npt.NDArray[Any]]) -> Call:
    """A node as its shape rule sees it: operands by name, attributes with defaults."""
    return Call(node, OPERATORS[node.op], types, constants)


def attribute(node: Node, name: str) -> Any:
    """An attribute of a node, or the operator's default; sequences come as tuples."""
    value = node.attributes.get(name, OPERATORS[node.op].attributes.get(name))
    return tuple(value) if isinstance(value, (list, np.ndarray)) else value


# Of a window, along each of its axes, where the attribute is not given.
_ALONG_AXES = {"strides": 1, "dilations": 1, "pads": 0, "output_padding": 0}


def is_default(op: str, name: str, value: Any) -> bool:
    """Whether an attribute says what holds without it.

    >>> is_default("Conv", "group", 1), is_default("Conv", "pads", (0, 0, 0, 1))
    (True, False)
    """
    defaults = OPERATORS[op].attributes if op in OPERATORS else {}
    if name not in defaults:
        return False
    if name in _ALONG_AXES and isinstance(value, (tuple, list)):
        return all(number == _ALONG_AXES[name] for number in value)
    return bool(value == defaults[name])


def broadcast(*shapes: Shape) -> Shape:
    """The common shape under NumPy's broadcasting; the batch broadcasts with itself and with 1."""
    rank = max((len(shape) for shape in shapes), default=0)
    out: list[Dim] = []
    for axis in range(rank):
        dims = [shape[axis - rank + len(shape)] for shape in shapes if axis - rank + len(shape) >= 0]
        sizes = list(dict.fromkeys(dim for dim in dims if dim != 1))
        written = " and ".join(map(show, shapes))
        if len(sizes) > 1:
            raise ValueError(
                f"shapes {written} do not broadcast: axis {axis} has {' and '.join(map(str, sizes))}; "
                f"sizes must be equal or 1"
            )
        if sizes and sizes[0] == BATCH and axis > 0:
            raise ValueError(f"shapes {written} put the batch N at axis {axis}; it must stay the first axis")
        out.append(sizes[0] if sizes else 1)
    return tuple(out)


def show(shape: Sequence[Dim]) -> str:
    """A shape as it is written in errors: (N, 3, 8, 8)."""
    return f"({', '.join(map(str, shape))})"


def axis_of(value: int, rank: int, name: str = "axis") -> int:
    """An axis counted from the front."""
    if not -rank <= value < rank:
        raise ValueError(f"`{name}` (={value}) must lie in [{-rank}, {rank - 1}] for {rank} axes")
    return value % rank if rank else 0
