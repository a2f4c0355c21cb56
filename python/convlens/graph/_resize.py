"""Resampling along height and width: what Resize and its gradient are, and where each output pixel lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .._errors import UnsupportedError
from ._ir import TensorType
from ._registry import FLOATS, Call, axis_of, shape_rule
from ._window import Pair, of_row, one_row

_MODES = ("linear", "nearest", "cubic", "area", "windows")
_COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric")
_POLICIES = ("stretch", "not_larger", "not_smaller")
_NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
_RESIZE = {
    "mode": "nearest",
    "coordinate_transformation_mode": "half_pixel",
    "nearest_mode": "round_prefer_floor",
    "antialias": 0,
    "exclude_outside": 0,
    "cubic_coeff_a": -0.75,
    "window_shape": None,
}
# Of Resize alone; the last is of a coordinate transformation that there is not.
_ASKED = {"keep_aspect_ratio_policy": "stretch", "extrapolation_value": 0.0}


@dataclass(frozen=True)
class Resizing:
    """Resampling of images of size `old` to size `new`, each (height, width).

    ``scales`` are output over input; None is the exact ratio. ``cubic`` is the coefficient of the cubic kernel.
    ``antialias`` widens the linear or cubic kernel where the image shrinks; ``inside`` gives neighbours outside the
    image no weight, where else the edge repeats. ``window`` is, for mode "windows", the size of each of the windows
    that lie side by side.
    """

    old: Pair
    new: Pair
    scales: tuple[float, float] | None
    mode: str
    coordinates: str
    nearest: str
    window: Pair
    cubic: float = -0.75
    antialias: bool = False
    inside: bool = False

    def place(self, axis: int, i: int) -> float:
        """Where in the input output pixel `i` of an axis lies."""
        old, new = self.old[axis], self.new[axis]
        if self.coordinates == "align_corners":
            return i * (old - 1) / (new - 1) if new > 1 else 0.0
        if self.coordinates == "pytorch_half_pixel" and new == 1:
            return 0.0
        shift = 0.0 if self.coordinates == "asymmetric" else 0.5
        if self.coordinates == "half_pixel_symmetric":
            scale = self.scale(axis)
            return old / 2 * (1 - new / (scale * old)) + (i + 0.5) / scale - 0.5
        if self.scales is None or self.scales[axis] == new / old:
            return (i + shift) * old / new - shift  # a product of whole numbers, divided once
        return (i + shift) / self.scales[axis] - shift

    def scale(self, axis: int) -> float:
        """Output over input."""
        return self.new[axis] / self.old[axis] if self.scales is None else self.scales[axis]


def adaptive_range(i: int, size: int, count: int) -> tuple[int, int]:
    """The inputs [first, end) of window `i` of `count` adaptive windows over `size`: they cover it, and may overlap.

    >>> [adaptive_range(i, 7, 3) for i in range(3)]
    [(0, 3), (2, 5), (4, 7)]
    """
    return i * size // count, -(-(i + 1) * size // count)


def adaptive_extent(size: int, count: int) -> int:
    """The most inputs that one of `count` adaptive windows over `size` has."""
    ranges = (adaptive_range(i, size, count) for i in range(count))
    return max(end - first for first, end in ranges)


@shape_rule("Resize", "x roi? scales? sizes?", axes=None, **_RESIZE, **_ASKED)
def _resize(call: Call) -> TensorType:
    x = call.kind("x", FLOATS)
    return TensorType(x.dtype, (*x.shape[:2], *of_row(resizing_of(call).new, len(x.shape) - 2)))


@shape_rule("ResizeGrad", "dy", input_shape=None, scales=None, **_RESIZE)
def _resize_grad(call: Call) -> TensorType:
    dy, shape = call.kind("dy", FLOATS), call.attribute("input_shape")
    if shape is None or len(shape) != len(dy.shape) - 1 or shape[0] != dy.shape[1]:
        raise ValueError(f"`input_shape` (={shape}) must be that of one of the images, with the channels of `dy`")
    resizing_of(call)
    return TensorType(dy.dtype, (dy.shape[0], *(int(d) for d in shape)))


def resizing_of(call: Call) -> Resizing:
    """The resampling that a Resize does, or that a ResizeGrad is the gradient of."""
    _choice(call, "mode", _MODES)
    _choice(call, "coordinate_transformation_mode", _COORDINATES)
    _choice(call, "nearest_mode", _NEAREST)
    if call.attribute("antialias") and call.attribute("mode") not in ("linear", "cubic"):
        raise UnsupportedError(f"`antialias` (=1) is for the modes linear and cubic, not {call.attribute('mode')!r}")
    gradient = call.node.op == "ResizeGrad"
    kind = call.kind("dy" if gradient else "x", FLOATS)
    axes = len(kind.shape) - 2
    if axes not in (1, 2):
        raise ValueError(f"`x` must have 4 axes (N, C, H, W) or 3 (N, C, L), not {len(kind.shape)}")
    scales: tuple[float, ...] | None
    if gradient:
        old, new, scales = one_row(call.attribute("input_shape")[1:]), one_row(kind.shape[2:]), call.attribute("scales")
    else:
        old, (new, scales) = one_row(kind.shape[2:]), _asked_for(call, kind)
    window = one_row(call.attribute("window_shape") or (1,) * axes)
    if scales is not None:
        scales = (1.0, *map(float, scales))[-2:]
    made = Resizing(
        old,
        new,
        None if scales is None else (scales[0], scales[1]),
        str(call.attribute("mode")),
        str(call.attribute("coordinate_transformation_mode")),
        str(call.attribute("nearest_mode")),
        window,
        float(call.attribute("cubic_coeff_a")),
        bool(call.attribute("antialias")),
        bool(call.attribute("exclude_outside")),
    )
    if made.mode == "windows":
        _check_windows(made)
    return made


def _check_windows(r: Resizing) -> None:
    for axis in range(2):
        extent = r.window[axis]
        if r.new[axis] % extent or adaptive_extent(r.old[axis], r.new[axis] // extent) > extent:
            raise ValueError(
                f"`window_shape` (={r.window}) must divide the sizes {r.new} and hold each adaptive window of {r.old}"
            )


def _asked_for(call: Call, x: TensorType) -> tuple[Pair, tuple[float, ...] | None]:
    """The output's (height, width), and the scales where they are what was given."""
    given = [name for name in ("scales", "sizes") if call.has(name) and call.constant(name).size]
    if len(given) != 1:
        raise ValueError("exactly one of `scales` and `sizes` must be given")
    rank, by_scale = len(x.shape), given[0] == "scales"
    axes = [axis_of(int(a), rank, "axes") for a in (call.attribute("axes") or range(rank))]
    constant = np.asarray(call.constant(given[0])).reshape(-1)
    values = [float(v) for v in constant]
    if len(values) != len(axes):
        raise ValueError(f"`{given[0]}` (={values}) must have one number for each of the axes {axes}")
    sizes, scales = [int(size) for size in x.shape[2:]], [1.0] * (rank - 2)
    _choice(call, "keep_aspect_ratio_policy", _POLICIES)
    if not by_scale and call.attribute("keep_aspect_ratio_policy") != "stretch":
        return _one_scale(call, x, axes, values)
    only = "only height and width can be" if rank == 4 else "only the length can be"
    for axis, value, number in zip(axes, values, constant, strict=True):
        if axis >= 2:
            # In the constant's own type: ten times the float32 next to 2.3 are 23.
            new = math.floor(constant.dtype.type(x.shape[axis]) * number) if by_scale else int(value)
            if new < 1:
                raise ValueError(f"`{given[0]}` (={values}) leave nothing of axis {axis}")
            sizes[axis - 2], scales[axis - 2] = new, value
        elif axis == 1 and value != (1 if by_scale else x.shape[1]):
            raise UnsupportedError(f"`{given[0]}` (={values}) resize the channels; {only}")
        elif axis == 0 and by_scale and value != 1:
            raise UnsupportedError(f"`scales` (={values}) resize the batch; {only}")
    return one_row(sizes), tuple(scales) if by_scale else None


def _one_scale(call: Call, x: TensorType, axes: list[int], asked: list[float]) -> tuple[Pair, tuple[float, ...]]:
    """Sizes in the image's own proportions that fit into, or cover, those asked for."""
    policy = str(call.attribute("keep_aspect_ratio_policy"))
    if min(axes) < 2:
        raise UnsupportedError(f"`keep_aspect_ratio_policy` (={policy!r}) needs `axes` of height and width alone")
    ratios = [size / int(x.shape[axis]) for axis, size in zip(axes, asked, strict=True)]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    scales = [scale if axis in axes else 1.0 for axis in range(2, len(x.shape))]
    sizes = [math.floor(int(size) * s + 0.5) for size, s in zip(x.shape[2:], scales, strict=True)]
    if min(sizes) < 1:
        raise ValueError(f"`sizes` (={asked}) with `keep_aspect_ratio_policy` (={policy!r}) leave nothing of {x.shape}")
    return one_row(sizes), tuple(scales)


def _choice(call: Call, name: str, choices: Sequence[str]) -> None:
    if call.attribute(name) not in choices:
        raise UnsupportedError(f"`{name}` (={call.attribute(name)!r}) must be {' or '.join(map(repr, choices))}")
