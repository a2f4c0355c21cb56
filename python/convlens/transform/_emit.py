"""Short hands for writing nodes: scalars, masks, reductions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph import GraphBuilder, Node, TensorType


class Emitter:
    """Appends nodes to a builder, sharing the small constants it needs.

    Scalars are constants of rank 0 in one floating-point type, which lowering turns into immediates; a ReLU's mask is
    ``Greater(y, zero)``, which it keeps one bit an element.
    """

    def __init__(self, builder: GraphBuilder, dtype: str, stem: str) -> None:
        self.builder = builder
        self.dtype = dtype
        self._stem = stem
        self._at = stem
        self._scalars: dict[float, str] = {}
        self._ints: dict[tuple[int, ...], str] = {}

    def at(self, node: Node | None) -> None:
        """Name what is emitted from here on after a node."""
        self._at = f"{self._stem}.{node.name}" if node is not None else self._stem

    def type(self, tensor: str) -> TensorType:
        """A tensor's type."""
        return self.builder.types[tensor]

    def emit(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append a node and return its output."""
        name = self.builder.fresh(f"{self._at}.{op.lower()}")
        return self.builder.add(op, inputs, attributes, name=name)

    def scalar(self, value: float) -> str:
        """A constant of rank 0."""
        if value not in self._scalars:
            name = self.builder.fresh(f"{self._stem}.scalar")
            self._scalars[value] = self.builder.constant(np.array(value, self.dtype), name)
        return self._scalars[value]

    def ints(self, values: Sequence[int]) -> str:
        """A constant of axes or sizes."""
        key = tuple(int(value) for value in values)
        if key not in self._ints:
            name = self.builder.fresh(f"{self._stem}.ints")
            self._ints[key] = self.builder.constant(np.array(key, np.int64), name)
        return self._ints[key]

    @property
    def zero(self) -> str:
        """The scalar 0."""
        return self.scalar(0.0)

    def add(self, a: str, b: str) -> str:
        """``a + b``."""
        return self.emit("Add", [a, b])

    def sub(self, a: str, b: str) -> str:
        """``a - b``."""
        return self.emit("Sub", [a, b])

    def mul(self, a: str, b: str) -> str:
        """``a * b``."""
        return self.emit("Mul", [a, b])

    def div(self, a: str, b: str) -> str:
        """``a / b``."""
        return self.emit("Div", [a, b])

    def times(self, a: str, factor: float) -> str:
        """``a`` times a number; `a` itself for 1."""
        return a if factor == 1 else self.mul(a, self.scalar(factor))

    def greater(self, a: str, b: str) -> str:
        """The mask ``a > b``."""
        return self.emit("Greater", [a, b])

    def where(self, mask: str, a: str, b: str | None = None) -> str:
        """``a`` where the mask holds, else `b` or 0."""
        return self.emit("Where", [mask, a, self.zero if b is None else b])

    def sum(self, x: str, axes: Sequence[int], keepdims: int = 1) -> str:
        """The sum over `axes`."""
        return self.emit("ReduceSum", [x, self.ints(axes)], keepdims=keepdims)

    def filled_like(self, tensor: str, value: str) -> str:
        """`value`, a scalar or what broadcasts, in the shape of `tensor`, whatever `tensor` holds (NaN too)."""
        return self.emit("Where", [self.greater(tensor, self.zero), value, value])

    def batch_size(self, tensor: str) -> str:
        """The number of images of a batched tensor, as a scalar: the batch has no number at compile time."""
        each, rank = tensor, len(self.type(tensor).shape)
        if math.prod(self.type(tensor).per_image) > 1:
            each = self.emit("ReduceMax", [tensor, self.ints(range(1, rank))])
        return self.sum(self.filled_like(each, self.scalar(1.0)), range(rank), keepdims=0)
