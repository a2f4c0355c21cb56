"""Activations with PyTorch's names and semantics, of arrays of any shape, and their gradients.

A gradient takes the activation's input. At a kink it is PyTorch's: see each function.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .._arguments import checked
from ._broadcast import elementwise, elementwise_grad
from ._call import Array, Build, array_of, floats, replayed


def _grad(op: str, grad_output: npt.ArrayLike, x: npt.ArrayLike, **attributes: Any) -> Array:
    return elementwise_grad(op, grad_output, attributes, x=x)[0]


@replayed
@checked
def clip(x: npt.ArrayLike, min: float | None = None, max: float | None = None) -> Array:
    """Compute ``min(max(x, min), max)``; NaN stays NaN. At a bound the gradient passes, as through torch.clamp."""
    return elementwise("Clip", _bounds(min, max, 1), _clipped, x=x)


@replayed
@checked
def clip_grad(
    grad_output: npt.ArrayLike, x: npt.ArrayLike, min: float | None = None, max: float | None = None
) -> Array:
    """Carry a gradient through :func:`clip`, given its input."""
    return elementwise_grad("Clip", grad_output, _bounds(min, max, 1), _clipped, x=x)[0]


@replayed
@checked
def hardtanh(x: npt.ArrayLike, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """Compute ``min(max(x, min_val), max_val)``. At a bound the gradient is 0."""
    return elementwise("Clip", _bounds(min_val, max_val, 0), _clipped, x=x)


@replayed
@checked
def hardtanh_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """Carry a gradient through :func:`hardtanh`, given its input."""
    return elementwise_grad("Clip", grad_output, _bounds(min_val, max_val, 0), _clipped, x=x)[0]


@replayed
def relu6(x: npt.ArrayLike) -> Array:
    """Compute ``min(max(x, 0), 6)``. The gradient is 0 at 0 and at 6."""
    return hardtanh(x, 0.0, 6.0)


@replayed
def relu6_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`relu6`, given its input."""
    return hardtanh_grad(grad_output, x, 0.0, 6.0)


@replayed
@checked
def leaky_relu(x: npt.ArrayLike, negative_slope: float = 0.01) -> Array:
    """Compute ``x`` where positive, else ``negative_slope * x``. The gradient at 0 is `negative_slope`."""
    return elementwise("LeakyRelu", {"alpha": negative_slope}, x=x)


@replayed
@checked
def leaky_relu_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike, negative_slope: float = 0.01) -> Array:
    """Carry a gradient through :func:`leaky_relu`, given its input."""
    return _grad("LeakyRelu", grad_output, x, alpha=negative_slope)


@replayed
def prelu(x: npt.ArrayLike, weight: npt.ArrayLike) -> Array:
    """Compute ``x`` where positive, else ``weight * x``. The gradient at 0 is `weight`.

    Parameters
    ----------
    x : ndarray of shape (N, C, ...), float32 or float64
    weight : ndarray of shape (1,) or (C,)
    """
    return elementwise("PRelu", x=x, weight=_slope(x, weight))


@replayed
def prelu_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike, weight: npt.ArrayLike) -> tuple[Array, Array]:
    """Compute the gradients of :func:`prelu` with respect to `x` and `weight`."""
    dx, dw = elementwise_grad("PRelu", grad_output, x=x, weight=_slope(x, weight))
    return dx, dw.reshape(np.shape(weight))


@replayed
@checked
def elu(x: npt.ArrayLike, alpha: float = 1.0) -> Array:
    """Compute ``x`` where positive, else ``alpha (exp(x) - 1)``. The gradient at 0 is `alpha`."""
    return elementwise("Elu", {"alpha": alpha}, x=x)


@replayed
@checked
def elu_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike, alpha: float = 1.0) -> Array:
    """Carry a gradient through :func:`elu`, given its input."""
    return _grad("Elu", grad_output, x, alpha=alpha)


_SELU = {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}


@replayed
def selu(x: npt.ArrayLike) -> Array:
    """Compute the scaled ELU of arXiv:1706.02515. The gradient at 0 is that from below, 1.7581."""
    return elementwise("Selu", _SELU, x=x)


@replayed
def selu_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`selu`, given its input."""
    return _grad("Selu", grad_output, x, **_SELU)


@replayed
def silu(x: npt.ArrayLike) -> Array:
    """Compute ``x sigmoid(x)``."""
    return elementwise("silu", formula=_silu, x=x)


@replayed
def silu_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`silu`, given its input."""
    return elementwise_grad("silu", grad_output, formula=_silu, x=x)[0]


@replayed
@checked
def gelu(x: npt.ArrayLike, *, approximate: str = "none") -> Array:
    """Compute ``x`` times the share of the normal distribution below it; or the formula with "tanh"."""
    return elementwise("Gelu", {"approximate": approximate}, x=x)


@replayed
@checked
def gelu_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike, *, approximate: str = "none") -> Array:
    """Carry a gradient through :func:`gelu`, given its input."""
    return _grad("Gelu", grad_output, x, approximate=approximate)


@replayed
def mish(x: npt.ArrayLike) -> Array:
    """Compute ``x tanh(softplus(x))``."""
    return elementwise("Mish", x=x)


@replayed
def mish_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`mish`, given its input."""
    return _grad("Mish", grad_output, x)


@replayed
def hardswish(x: npt.ArrayLike) -> Array:
    """Compute ``x relu6(x + 3) / 6``. The gradient is 0 at -3 and 1 at 3."""
    return elementwise("HardSwish", x=x)


@replayed
def hardswish_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`hardswish`, given its input."""
    return _grad("HardSwish", grad_output, x)


@replayed
def hardsigmoid(x: npt.ArrayLike) -> Array:
    """Compute ``relu6(x + 3) / 6``. The gradient is 0 at -3 and at 3."""
    return elementwise("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}, x=x)


@replayed
def hardsigmoid_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`hardsigmoid`, given its input."""
    return _grad("HardSigmoid", grad_output, x, alpha=1 / 6, beta=0.5)


@replayed
def softplus(x: npt.ArrayLike) -> Array:
    """Compute ``log(1 + exp(x))``, right to a few roundings everywhere: no threshold beyond which it is ``x``."""
    return elementwise("Softplus", x=x)


@replayed
def softplus_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`softplus`, given its input: ``g sigmoid(x)``."""
    return _grad("Softplus", grad_output, x)


def _bounds(low: float | None, high: float | None, gradient: int) -> dict[str, Any]:
    if low is not None and high is not None and not low <= high:
        name = "" if gradient else "_val"
        raise ValueError(f"`min{name}` (={low:g}) must not be above `max{name}` (={high:g})")
    return {"min": low, "max": high, "gradient_at_bounds": gradient}


def _clipped(b: Build, bounds: dict[str, Any], x: str) -> str:
    low, high = ("" if bounds[end] is None else b.scalar(bounds[end]) for end in ("min", "max"))
    return b.add("Clip", x, low, high, gradient_at_bounds=bounds["gradient_at_bounds"])


def _silu(b: Build, attributes: dict[str, Any], x: str) -> str:
    return b.add("Mul", x, b.add("Sigmoid", x))


def _slope(x: npt.ArrayLike, weight: npt.ArrayLike) -> Array:
    slope, shape = floats(weight, "weight", 1, "(1,) or (C,)"), array_of(x, "x").shape
    channels = shape[1] if len(shape) > 1 else 1
    if len(slope) not in (1, channels):
        raise ValueError(f"`weight` has {len(slope)} numbers; `x`, {shape}, takes 1 or {channels}")
    return slope.reshape((-1,) + (1,) * max(len(shape) - 2, 0)) if len(slope) > 1 else slope
