"""Rounding, and rounding to the values that a quantised tensor can hold, with PyTorch's names; and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._arguments import checked
from ._broadcast import elementwise, elementwise_grad
from ._call import Array, Build, floats


def round(x: npt.ArrayLike) -> Array:
    """Round to the nearest whole number, halves to the even one; NaN stays NaN. Its gradient is 0."""
    return elementwise("Round", x=x)


@checked
def fake_quantize_per_tensor_affine(
    x: npt.ArrayLike, scale: float, zero_point: int, quant_min: int, quant_max: int
) -> Array:
    """Quantise to ``[quant_min, quant_max]`` and back.

    Parameters
    ----------
    x : ndarray of any shape, float32 or float64
    scale : float
        The step of the grid.
    zero_point : int
        The whole number that stands for 0; it lies in the range.
    quant_min, quant_max : int
        The range, such as 0 and 255, or -128 and 127.

    Returns
    -------
    ndarray of the shape of `x`
        ``(clip(round(x / scale) + zero_point, quant_min, quant_max) - zero_point) scale``.

    Notes
    -----
    Halves go to the even number. PyTorch multiplies by 1 / scale where ONNX, and this, divide: that differs only where
    ``x / scale`` is within a rounding of a half.

    References
    ----------
    Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
    arXiv:1712.05877.

    Examples
    --------
    >>> fake_quantize_per_tensor_affine(np.array([-1.0, 0.2, 0.74, 9.0]), 0.5, 0, 0, 15).tolist()
    [0.0, 0.0, 0.5, 7.5]
    """
    return elementwise("fake_quantize", _grid(scale, zero_point, quant_min, quant_max), _fake, x=x)


@checked
def fake_quantize_per_tensor_affine_grad(
    grad_output: npt.ArrayLike, x: npt.ArrayLike, scale: float, zero_point: int, quant_min: int, quant_max: int
) -> Array:
    """Carry a gradient straight through the rounding, given the input; 0 where it saturates (arXiv:1308.3432)."""
    grid = _grid(scale, zero_point, quant_min, quant_max)
    return elementwise_grad("fake_quantize", grad_output, grid, _fake, x=x)[0]


@checked
def fake_quantize_per_channel_affine(
    x: npt.ArrayLike,
    scale: Sequence[float],
    zero_point: Sequence[int],
    axis: int,
    quant_min: int,
    quant_max: int,
) -> Array:
    """Quantise each slice along `axis` with a scale and a zero point of its own, and back.

    See :func:`fake_quantize_per_tensor_affine`.
    """
    grid, operands = _channels(x, scale, zero_point, axis, quant_min, quant_max)
    return elementwise("fake_quantize", grid, _fake, x=x, **operands)


@checked
def fake_quantize_per_channel_affine_grad(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    scale: Sequence[float],
    zero_point: Sequence[int],
    axis: int,
    quant_min: int,
    quant_max: int,
) -> Array:
    """Carry a gradient through :func:`fake_quantize_per_channel_affine`, given its input."""
    grid, operands = _channels(x, scale, zero_point, axis, quant_min, quant_max)
    return elementwise_grad("fake_quantize", grad_output, grid, _fake, x=x, **operands)[0]


def _grid(scale: Any, zero_point: Any, quant_min: int, quant_max: int) -> dict[str, Any]:
    for name, value in (("scale", scale), ("zero_point", zero_point)):
        if isinstance(value, tuple):
            raise TypeError(f"`{name}` (={value!r}) must be one number; several are for per-channel quantisation")
    return {"scale": scale, "zero": _inside(zero_point, quant_min, quant_max), "low": quant_min, "high": quant_max}


def _inside(zero_point: int, quant_min: int, quant_max: int) -> int:
    if quant_min >= quant_max:
        raise ValueError(f"`quant_min` (={quant_min}) must be less than `quant_max` (={quant_max})")
    if not quant_min <= zero_point <= quant_max:
        raise ValueError(f"`zero_point` (={zero_point}) must lie in [{quant_min}, {quant_max}]")
    return zero_point


def _channels(
    x: npt.ArrayLike, scale: Any, zero_point: Any, axis: int, quant_min: int, quant_max: int
) -> tuple[dict[str, Any], dict[str, Array]]:
    array = floats(x, "x")
    if not isinstance(axis, int):
        raise TypeError(f"`axis` (={axis!r}) must be an int")
    if not -array.ndim <= axis < array.ndim:
        raise ValueError(f"`axis` (={axis}) must lie in [{-array.ndim}, {array.ndim - 1}] for `x`, {array.shape}")
    axis %= array.ndim
    operands = {}
    for name, value in (("scale", scale), ("zero_point", zero_point)):
        if not isinstance(value, tuple) or len(value) != array.shape[axis]:
            raise ValueError(
                f"`{name}` must have {array.shape[axis]} numbers, one for each slice along `axis` (={axis}) of `x`, "
                f"{array.shape}; it is {value!r}"
            )
        operands[name] = np.array(value, array.dtype).reshape((-1,) + (1,) * (array.ndim - 1 - axis))
    for zero in zero_point:
        _inside(zero, quant_min, quant_max)
    return {"low": quant_min, "high": quant_max}, operands


def _fake(b: Build, grid: dict[str, Any], x: str, *channels: str) -> str:
    """`channels` names the tensors of scale and zero point; else they are numbers of `grid`."""
    scale, zero = channels or (b.scalar(grid["scale"]), b.scalar(grid["zero"]))
    q = b.add("Quantize", x, scale, zero, low=grid["low"], high=grid["high"])
    return b.add("Dequantize", q, scale, zero)
