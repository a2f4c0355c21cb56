"""Activations beyond :class:`ReLU`, under PyTorch's names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from ..graph import GraphBuilder, TensorType
from ._layer import Layer, ParameterSpec


class _Activation(Layer):
    """A layer that changes each value by itself and owns nothing."""

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        return ()


class Hardtanh(_Activation):
    """Clip to ``[min_val, max_val]``. Its gradient at the bounds is 0.

    Parameters
    ----------
    min_val, max_val : float
    name : str, optional
    """

    stem = "hardtanh"
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {1: ("min_val",), 2: ("min_val", "max_val")}

    def __init__(self, *, min_val: float = -1.0, max_val: float = 1.0, name: str | None = None) -> None:
        super().__init__(name=name)
        if not min_val < max_val:
            raise ValueError(f"`min_val` (={min_val}) must be below `max_val` (={max_val})")
        self.min_val = float(min_val)
        self.max_val = float(max_val)

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        dtype = builder.types[inputs[0]].dtype
        low = builder.constant(np.array(self.min_val, dtype), f"{name}.min")
        high = builder.constant(np.array(self.max_val, dtype), f"{name}.max")
        builder.add("Clip", [inputs[0], low, high], {"gradient_at_bounds": 0}, name=name, outputs=[tensor])


class ReLU6(Hardtanh):
    """Set what is negative to zero and what is above 6 to 6. Its gradient is 0 at both."""

    stem = "relu6"
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {}

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(min_val=0.0, max_val=6.0, name=name)
