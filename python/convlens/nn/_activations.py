"""Activations beyond :class:`ReLU`, under PyTorch's names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from .._arguments import real
from ..graph import GraphBuilder, TensorType
from ._arguments import integer
from ._layer import Layer, ParameterSpec, written


class _Activation(Layer):
    """A layer that changes each value by itself: one operator with attributes, nothing owned."""

    operator: ClassVar[str]

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        return ()

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        builder.add(self.operator, inputs, self._attributes(), name=name, outputs=[tensor])

    def _attributes(self) -> Mapping[str, Any]:
        return {}


class Hardtanh(_Activation):
    """Clip to ``[min_val, max_val]``. Its gradient at the bounds is 0.

    Parameters
    ----------
    min_val, max_val : float
    name : str, optional
    """

    stem = "hardtanh"
    operator = "Clip"
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

    stem = "relu6_"
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {}

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(min_val=0.0, max_val=6.0, name=name)


class LeakyReLU(_Activation):
    """Multiply what is negative by `negative_slope`, which is also the gradient at 0.

    Parameters
    ----------
    negative_slope : float
    name : str, optional
    """

    stem = "leaky_relu"
    operator = "LeakyRelu"
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {1: ("negative_slope",)}

    def __init__(self, *, negative_slope: float = 0.01, name: str | None = None) -> None:
        super().__init__(name=name)
        self.negative_slope = float(negative_slope)

    def _attributes(self) -> Mapping[str, Any]:
        return {"alpha": self.negative_slope}


class PReLU(Layer):
    """Multiply what is negative by a learned slope, which is also the gradient at 0.

    Parameters
    ----------
    num_parameters : int
        1, or the number of channels for a slope each.
    init : float
        What the slopes start at.
    name : str, optional
        ``name.weight`` of shape (num_parameters,) is learned.

    References
    ----------
    He et al., "Delving Deep into Rectifiers", arXiv:1502.01852.
    """

    stem = "prelu"
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {1: ("num_parameters",), 2: ("num_parameters", "init")}

    def __init__(self, *, num_parameters: int = 1, init: float = 0.25, name: str | None = None) -> None:
        super().__init__(name=name)
        self.num_parameters = integer("num_parameters", num_parameters, at_least=1)
        self.init = real()("init", init)

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        channels = inputs[0].per_image[0]
        if self.num_parameters not in (1, channels):
            raise ValueError(
                f"`num_parameters` (={self.num_parameters}) must be 1 or the channels of the input "
                f"{written(inputs[0])}, {channels}"
            )
        return (ParameterSpec("weight", (self.num_parameters,), self.init),)

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        slope, places = parameters["weight"], len(builder.types[inputs[0]].shape) - 2
        if self.num_parameters > 1 and places:
            shape = builder.constant(np.array([self.num_parameters] + [1] * places, np.int64), f"{name}.shape")
            slope = builder.add("Reshape", [slope, shape], name=f"{name}.slope")
        builder.add("PRelu", [inputs[0], slope], name=name, outputs=[tensor])


class ELU(_Activation):
    """Replace what is negative by ``alpha (exp(x) - 1)``. Its gradient at 0 is `alpha`.

    Parameters
    ----------
    alpha : float
    name : str, optional

    References
    ----------
    Clevert et al., "Fast and Accurate Deep Network Learning by Exponential Linear Units", arXiv:1511.07289.
    """

    stem = "elu"
    operator = "Elu"
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {1: ("alpha",)}

    def __init__(self, *, alpha: float = 1.0, name: str | None = None) -> None:
        super().__init__(name=name)
        self.alpha = float(alpha)

    def _attributes(self) -> Mapping[str, Any]:
        return {"alpha": self.alpha}


class SELU(_Activation):
    """Apply a scaled ELU with the constants of its paper, arXiv:1706.02515."""

    stem = "selu"
    operator = "Selu"

    def _attributes(self) -> Mapping[str, Any]:
        return {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}


class SiLU(_Activation):
    """Compute ``x sigmoid(x)``, also called swish: two nodes, as ONNX has it."""

    stem = "silu"

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        gate = builder.add("Sigmoid", inputs, name=f"{name}.sigmoid")
        builder.add("Mul", [inputs[0], gate], name=name, outputs=[tensor])


class GELU(_Activation):
    """Compute ``x`` times the share of the normal distribution below it.

    Parameters
    ----------
    approximate : str
        ``"none"``, or ``"tanh"`` for the formula with the hyperbolic tangent.
    name : str, optional

    References
    ----------
    Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv:1606.08415.
    """

    stem = "gelu"
    operator = "Gelu"
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {1: ("approximate",)}

    def __init__(self, *, approximate: str = "none", name: str | None = None) -> None:
        super().__init__(name=name)
        if approximate not in ("none", "tanh"):
            raise ValueError(f"`approximate` (={approximate!r}) must be 'none' or 'tanh'")
        self.approximate = approximate

    def _attributes(self) -> Mapping[str, Any]:
        return {"approximate": self.approximate}


class Mish(_Activation):
    """Compute ``x tanh(softplus(x))``, arXiv:1908.08681."""

    stem = "mish"
    operator = "Mish"


class Hardswish(_Activation):
    """Compute ``x min(max(x + 3, 0), 6) / 6``. Its gradient is 0 at -3 and 1 at 3."""

    stem = "hardswish"
    operator = "HardSwish"


class Hardsigmoid(_Activation):
    """Compute ``min(max(x + 3, 0), 6) / 6``. Its gradient is 0 at -3 and 3."""

    stem = "hardsigmoid"
    operator = "HardSigmoid"

    def _attributes(self) -> Mapping[str, Any]:
        return {"alpha": 1 / 6, "beta": 0.5}


class Softplus(_Activation):
    """Compute ``log(1 + exp(x))``."""

    stem = "softplus"
    operator = "Softplus"
