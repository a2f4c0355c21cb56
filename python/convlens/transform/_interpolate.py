"""PyTorch's interpolate as a Resize."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._errors import UnsupportedError
from ..graph import GraphBuilder

# PyTorch's modes as ONNX's attributes.
MODES: dict[str, dict[str, str]] = {
    "nearest": {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    "nearest-exact": {"mode": "nearest", "nearest_mode": "round_prefer_ceil"},
    "linear": {"mode": "linear"},
    "bilinear": {"mode": "linear"},
    "bicubic": {"mode": "cubic"},
    "area": {"mode": "area"},
}


class ResizePlan:
    """What to ask a Resize for: sizes or scales, one for each axis, and a mode."""

    def __init__(self, sizes: list[int] | None, scales: list[float] | None, attributes: dict[str, Any]) -> None:
        self.sizes, self.scales, self.attributes = sizes, scales, attributes

    def size(self, old: tuple[int, ...]) -> tuple[int, ...]:
        """The sizes of the result."""
        if self.sizes is not None:
            return tuple(self.sizes)
        assert self.scales is not None
        return tuple(math.floor(n * scale) for n, scale in zip(old, self.scales, strict=True))

    def emit(self, builder: GraphBuilder, x: str, name: str = "resize", tensor: str | None = None) -> str:
        """Append the Resize."""
        if self.sizes is not None:
            operands = [x, "", "", builder.constant(np.array(self.sizes, np.int64), builder.fresh(f"{name}.sizes"))]
            axes = tuple(range(2, 2 + len(self.sizes)))
        else:
            assert self.scales is not None
            scales = np.array(self.scales, np.float64)
            operands = [x, "", builder.constant(scales, builder.fresh(f"{name}.scales"))]
            axes = tuple(range(2, 2 + len(self.scales)))
        attributes = {**self.attributes, "axes": axes}
        return builder.add("Resize", operands, attributes, name=name, outputs=[tensor or name])


def resize_plan(
    old: tuple[int, ...], size: Any, scale_factor: Any, mode: str, align_corners: bool, antialias: bool = False
) -> ResizePlan:
    """Check PyTorch's arguments for images or signals of the sizes `old`."""
    if mode == "trilinear":
        raise UnsupportedError(f"`mode` (={mode!r}) is not supported; there are {', '.join(map(repr, MODES))}")
    if mode not in MODES:
        raise ValueError(f"`mode` (={mode!r}) must be one of {', '.join(map(repr, MODES))}")
    wrong = {"linear": 2, "bilinear": 1, "bicubic": 1}.get(mode)
    if wrong == len(old):
        raise ValueError(
            f"`mode` (={mode!r}) is for {'signals (N, C, L)' if wrong == 2 else 'images (N, C, H, W)'}; "
            f"use {'bilinear' if wrong == 2 else 'linear'!r}"
        )
    smooth = ("linear", "bilinear", "bicubic")
    if align_corners and mode not in smooth:
        raise ValueError(f"`align_corners` (=True) is for {', '.join(map(repr, smooth))}, not for {mode!r}")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(f"`antialias` (=True) is for 'bilinear' and 'bicubic', not for {mode!r}")
    if (size is None) == (scale_factor is None):
        raise ValueError("one of `size` and `scale_factor` must be given, and not both")
    attributes: dict[str, Any] = dict(MODES[mode])
    if align_corners:
        attributes["coordinate_transformation_mode"] = "align_corners"
    if antialias:  # PyTorch's gives neighbours outside no weight, and its cubic kernel is Pillow's then
        attributes |= {"antialias": 1, "exclude_outside": 1} | ({"cubic_coeff_a": -0.5} if mode == "bicubic" else {})
    name, value = ("size", size) if size is not None else ("scale_factor", scale_factor)
    numbers = list(value) if isinstance(value, (list, tuple, np.ndarray)) else [value] * len(old)
    if len(numbers) != len(old) or not all(number > 0 for number in numbers):
        raise ValueError(f"`{name}` (={value!r}) must be a positive number, or {len(old)} of them")
    if size is not None:
        return ResizePlan([int(number) for number in numbers], None, attributes)
    plan = ResizePlan(None, [float(number) for number in numbers], attributes)
    if min(plan.size(old)) < 1:
        raise ValueError(f"`scale_factor` (={scale_factor!r}) leaves nothing of {old}")
    if mode == "area":
        return ResizePlan(list(plan.size(old)), None, attributes)
    return plan
