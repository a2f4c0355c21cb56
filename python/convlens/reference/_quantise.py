"""Rounding to a grid of whole numbers, from its formula."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ._wide import Array


def round(x: npt.ArrayLike) -> Array:
    """Round to the nearest whole number, halves to the even one."""
    x = np.asarray(x)
    with np.errstate(invalid="ignore"):
        down = np.floor(x)
        rest = x - down
        up = (rest > 0.5) | ((rest == 0.5) & (np.mod(down, 2) == 1))
        return np.asarray(np.where(np.isfinite(x), down + up.astype(x.dtype), x))


def quantize(x: npt.ArrayLike, scale: npt.ArrayLike, zero_point: npt.ArrayLike, low: float, high: float) -> Array:
    """Compute ``clip(round(x / scale) + zero_point, low, high)`` in the type of `x`, as ONNX's QuantizeLinear."""
    x = np.asarray(x)
    with np.errstate(all="ignore"):
        steps = round(x / np.asarray(scale, x.dtype)) + np.asarray(zero_point, x.dtype)
    return np.asarray(np.clip(steps, x.dtype.type(low), x.dtype.type(high)))


def dequantize(q: npt.ArrayLike, scale: npt.ArrayLike, zero_point: npt.ArrayLike) -> Array:
    """Compute ``(q - zero_point) scale`` in the type of `scale`, as ONNX's DequantizeLinear."""
    scale = np.asarray(scale)
    return np.asarray((np.asarray(q, scale.dtype) - np.asarray(zero_point, scale.dtype)) * scale)


def fake_quantize_per_tensor_affine(
    x: npt.ArrayLike, scale: float, zero_point: int, quant_min: int, quant_max: int
) -> Array:
    """Quantise to ``[quant_min, quant_max]`` and back: the nearest value that a quantised tensor can hold."""
    x = np.asarray(x)
    step = np.asarray(scale, x.dtype)
    return dequantize(quantize(x, step, zero_point, quant_min, quant_max), step, zero_point)


def fake_quantize_per_channel_affine(
    x: npt.ArrayLike,
    scale: Sequence[float],
    zero_point: Sequence[int],
    axis: int,
    quant_min: int,
    quant_max: int,
) -> Array:
    """Quantise each slice along `axis` with its own scale and zero point, and back."""
    x = np.asarray(x)
    slices = [
        fake_quantize_per_tensor_affine(np.take(x, i, axis), float(s), int(z), quant_min, quant_max)
        for i, (s, z) in enumerate(zip(scale, zero_point, strict=True))
    ]
    return np.stack(slices, axis)
