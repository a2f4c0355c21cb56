"""Expressions over the graph's constants, evaluated when a weight is packed and never while a network runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph import GraphBuilder


@dataclass(frozen=True)
class Expression:
    """A constant by name, a number, whole numbers, or an operator over others; `shape` is that of its value."""

    shape: tuple[int, ...]
    op: str = ""
    inputs: tuple[Expression, ...] = ()
    attributes: tuple[tuple[str, Any], ...] = ()
    name: str = ""
    number: float | None = None
    integers: tuple[int, ...] | None = None

    def reshape(self, shape: tuple[int, ...]) -> Expression:
        """The same elements in another shape."""
        return self if shape == self.shape else Expression(shape, "Reshape", (self,))

    def __str__(self) -> str:
        if self.number is not None:
            return repr(self.number)
        if self.integers is not None:
            return repr(self.integers)
        return self.name or f"{self.op}({', '.join(map(str, self.inputs))})"


def apply(op: str, *inputs: Expression) -> Expression:
    """An element-wise operator over expressions that broadcast together."""
    return Expression(np.broadcast_shapes(*(i.shape for i in inputs)), op, inputs)


def number(value: float) -> Expression:
    """A number."""
    return Expression((), number=value)


def integers(*values: int) -> Expression:
    """A vector of axes, sizes or places."""
    return Expression((len(values),), integers=values)


def constants_of(expression: Expression) -> set[str]:
    """The names of the constants that an expression reads."""
    own = {expression.name} if expression.name else set()
    return own.union(*map(constants_of, expression.inputs))


def freeze(value: Any) -> Any:
    """An attribute in a form that can be hashed."""
    return tuple(value) if isinstance(value, (list, tuple, np.ndarray)) else value


def evaluate(expression: Expression, arrays: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Compute an expression in float64, so that folding rounds once; a constant alone comes as it is.

    Raises
    ------
    KeyError
        When a constant it reads is not among `arrays`.
    """
    if not expression.op:
        return _leaf(expression, arrays) if expression.number is not None else np.asarray(arrays[expression.name])
    from ..reference import run

    builder = GraphBuilder()
    made: dict[Expression, str] = {}

    def build(e: Expression) -> str:
        if e not in made:
            if e.op in ("Reshape", "Expand") and len(e.inputs) == 1:
                shape = builder.constant(np.asarray(e.shape, dtype=np.int64))
                made[e] = builder.add(e.op, [build(e.inputs[0]), shape])
            elif e.op:
                made[e] = builder.add(e.op, [build(i) for i in e.inputs], dict(e.attributes))
            else:
                made[e] = builder.constant(_leaf(e, arrays))
        return made[e]

    out = build(expression)
    return run(builder.build([out]), {}, [out])[out]


def _leaf(expression: Expression, arrays: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    if expression.number is not None:
        return np.asarray(expression.number, dtype=np.float64)
    if expression.integers is not None:
        return np.asarray(expression.integers, dtype=np.int64)
    array = np.asarray(arrays[expression.name])
    return array.astype(np.float64) if array.dtype.kind == "f" else array
