"""Shape rules of operators over images: convolution, pooling, padding, resizing, and their gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .._errors import UnsupportedError
from ._ir import Shape, TensorType
from ._registry import FLOATS, NUMBERS, Call, axis_of, shape_rule, show
from ._window import Window, window_of

_CONV = {"kernel_shape": None, "strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1), "group": 1}
_POOL = {"kernel_shape": None, "strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1), "ceil_mode": 0}


@shape_rule("Conv", "x weight bias?", **_CONV)
def _conv(call: Call) -> TensorType:
    x = call.kind("x", FLOATS, rank=4)
    weight = call.kind("weight", (x.dtype,), rank=4)
    if call.has("bias") and call.kind("bias", (x.dtype,)).shape != weight.shape[:1]:
        raise ValueError(f"`bias` must have shape ({weight.shape[0]},), one value an output channel of `weight`")
    window = _conv_window(call, weight.shape)
    _check_groups(call, int(x.shape[1]), weight.shape)
    rows, columns = window.output_size((int(x.shape[2]), int(x.shape[3])))
    return TensorType(x.dtype, (x.shape[0], weight.shape[0], rows, columns))


@shape_rule("ConvGradInput", "dy weight", input_shape=None, **_CONV)
def _conv_grad_input(call: Call) -> TensorType:
    dy = call.kind("dy", FLOATS, rank=4)
    weight = call.kind("weight", (dy.dtype,), rank=4)
    shape = _given(call, "input_shape", 3)
    window = _conv_window(call, weight.shape)
    _check_groups(call, shape[0], weight.shape)
    _check_output(dy, (int(weight.shape[0]), *window.output_size((shape[1], shape[2]))))
    return TensorType(dy.dtype, (dy.shape[0], *shape))


@shape_rule("ConvGradWeight", "dy x", weight_shape=None, **_CONV)
def _conv_grad_weight(call: Call) -> TensorType:
    dy = call.kind("dy", FLOATS, rank=4)
    x = call.kind("x", (dy.dtype,), rank=4)
    shape = _given(call, "weight_shape", 4)
    window = _conv_window(call, shape)
    _check_groups(call, int(x.shape[1]), shape)
    _check_output(dy, (shape[0], *window.output_size((int(x.shape[2]), int(x.shape[3])))))
    if dy.shape[0] != x.shape[0]:
        raise ValueError("`dy` and `x` must have the same number of images")
    return TensorType(dy.dtype, shape)


@shape_rule("MaxPool", "x", **_POOL)
def _max_pool(call: Call) -> TensorType:
    return _pooled(call, call.kind("x", FLOATS, rank=4))


@shape_rule("AveragePool", "x", count_include_pad=0, **_POOL)
def _average_pool(call: Call) -> TensorType:
    return _pooled(call, call.kind("x", FLOATS, rank=4))


@shape_rule("MaxPoolOffset", "x", **_POOL)
def _max_pool_offset(call: Call) -> TensorType:
    shape = _pooled(call, call.kind("x", FLOATS, rank=4)).shape
    _check_offsets(window_of(call.node, call.types))
    return TensorType("uint8", shape)


@shape_rule("MaxPoolGrad", "dy offset", input_shape=None, **_POOL)
def _max_pool_grad(call: Call) -> TensorType:
    dy = call.kind("dy", FLOATS, rank=4)
    if call.kind("offset", ("uint8",)).shape != dy.shape:
        raise ValueError("`offset` must have the shape of `dy`: one winner a window")
    _check_offsets(window_of(call.node, call.types))
    return _unpooled(call, dy)


@shape_rule("AveragePoolGrad", "dy", input_shape=None, count_include_pad=0, **_POOL)
def _average_pool_grad(call: Call) -> TensorType:
    return _unpooled(call, call.kind("dy", FLOATS, rank=4))


@shape_rule("GlobalAveragePool", "x")
def _global_average_pool(call: Call) -> TensorType:
    x = call.kind("x", FLOATS, rank=4)
    return TensorType(x.dtype, (x.shape[0], x.shape[1], 1, 1))


@shape_rule("Pad", "x pads constant_value? axes?", mode="constant")
def _pad(call: Call) -> TensorType:
    x = call.kind("x", (*NUMBERS, "bool"))
    if call.attribute("mode") != "constant":
        raise UnsupportedError(f"`mode` (={call.attribute('mode')!r}) must be 'constant'")
    if call.has("constant_value") and call.kind("constant_value", (x.dtype,)).shape not in ((), (1,)):
        raise ValueError("`constant_value` must be a scalar")
    shape = list(x.shape)
    for axis, (before, after) in enumerate(pad_widths(call)):
        if (before or after) and x.batched and axis == 0:
            raise ValueError("`pads` must be 0 for the batch axis")
        if before or after:
            shape[axis] = int(shape[axis]) + before + after
            if int(shape[axis]) < 1:
                raise ValueError(f"`pads` ({before}, {after}) leave nothing of axis {axis}")
    return TensorType(x.dtype, tuple(shape))


def pad_widths(call: Call) -> list[tuple[int, int]]:
    """(before, after) for each axis; negative ones crop."""
    rank = len(call.kind("x", (*NUMBERS, "bool")).shape)
    pads = [int(v) for v in call.constant("pads").reshape(-1)]
    axes = [int(v) for v in call.constant("axes").reshape(-1)] if call.has("axes") else list(range(rank))
    if len(pads) != 2 * len(axes):
        raise ValueError(f"`pads` (={pads}) must have {2 * len(axes)} numbers: all befores, then all afters")
    widths = [(0, 0)] * rank
    for place, axis in enumerate(axes):
        widths[axis_of(axis, rank, "axes")] = (pads[place], pads[place + len(axes)])
    return widths


@shape_rule(
    "Resize",
    "x roi? scales? sizes?",
    mode="nearest",
    coordinate_transformation_mode="half_pixel",
    nearest_mode="round_prefer_floor",
    axes=None,
)
def _resize(call: Call) -> TensorType:
    x = call.kind("x", FLOATS, rank=4)
    _choice(call, "mode", ("linear", "nearest"))
    _choice(call, "coordinate_transformation_mode", ("half_pixel",))
    _choice(call, "nearest_mode", ("round_prefer_floor", "round_prefer_ceil"))
    size, _ = resize_geometry(call)
    return TensorType(x.dtype, (*x.shape[:2], *size))


def resize_geometry(call: Call) -> tuple[tuple[int, int], tuple[float, float]]:
    """The output's (height, width) and the scales (output over input) that map its pixels back to the input's."""
    x = call.kind("x", FLOATS, rank=4)
    given = [name for name in ("scales", "sizes") if call.has(name) and call.constant(name).size]
    if len(given) != 1:
        raise ValueError("exactly one of `scales` and `sizes` must be given")
    axes = [axis_of(int(a), 4, "axes") for a in (call.attribute("axes") or range(4))]
    values = [float(v) for v in np.asarray(call.constant(given[0])).reshape(-1)]
    if len(values) != len(axes):
        raise ValueError(f"`{given[0]}` (={values}) must have one number for each of the axes {axes}")
    size, scales = [int(x.shape[2]), int(x.shape[3])], [1.0, 1.0]
    for axis, value in zip(axes, values, strict=True):
        if axis >= 2:
            old = int(x.shape[axis])
            new = math.floor(old * value) if given[0] == "scales" else int(value)
            if new < 1:
                raise ValueError(f"`{given[0]}` (={values}) leave nothing of axis {axis}")
            size[axis - 2], scales[axis - 2] = new, (value if given[0] == "scales" else new / old)
        elif axis == 1 and value != (1 if given[0] == "scales" else x.shape[1]):
            raise UnsupportedError(f"`{given[0]}` (={values}) resize the channels; only height and width can be")
        elif axis == 0 and given[0] == "scales" and value != 1:
            raise UnsupportedError(f"`scales` (={values}) resize the batch; only height and width can be")
    return (size[0], size[1]), (scales[0], scales[1])


def _pooled(call: Call, x: TensorType) -> TensorType:
    window = window_of(call.node, call.types)
    size = (int(x.shape[2]), int(x.shape[3]))
    window.check_covers(size)
    return TensorType(x.dtype, (*x.shape[:2], *window.output_size(size)))


def _unpooled(call: Call, dy: TensorType) -> TensorType:
    shape = _given(call, "input_shape", 3)
    window = window_of(call.node, call.types)
    window.check_covers((shape[1], shape[2]))
    _check_output(dy, (shape[0], *window.output_size((shape[1], shape[2]))))
    return TensorType(dy.dtype, (dy.shape[0], *shape))


def _conv_window(call: Call, weight: Shape) -> Window:
    window = window_of(call.node, call.types)
    if window.kernel != tuple(weight[2:]):
        raise ValueError(f"`kernel_shape` (={window.kernel}) must be the last two axes of the weight {show(weight)}")
    return window


def _check_groups(call: Call, in_channels: int, weight: Shape) -> None:
    groups = int(call.attribute("group"))
    out_channels, per_group = int(weight[0]), int(weight[1])
    if groups < 1:
        raise ValueError(f"`group` (={groups}) must be at least 1")
    if in_channels % groups:
        raise ValueError(f"`in_channels` (={in_channels}) must be divisible by `group` (={groups})")
    if out_channels % groups:
        raise ValueError(f"`out_channels` (={out_channels}) must be divisible by `group` (={groups})")
    if in_channels != per_group * groups:
        has = f"{in_channels}" if groups == 1 else f"{in_channels} in {groups} groups, {in_channels // groups} a group"
        raise ValueError(f"`weight` expects {per_group} input channels a group, the input has {has}")


def _check_output(dy: TensorType, shape: tuple[int, ...]) -> None:
    if dy.shape[1:] != shape:
        raise ValueError(f"`dy` must have shape {show((dy.shape[0], *shape))}, as the forward operator's output has")


def _check_offsets(window: Window) -> None:
    if window.kernel[0] * window.kernel[1] > 256:
        raise UnsupportedError(
            f"`kernel_shape` (={window.kernel}) must have at most 256 elements: an offset is a uint8"
        )


def _given(call: Call, name: str, length: int) -> tuple[int, ...]:
    value: Sequence[int] | None = call.attribute(name)
    if value is None or len(value) != length:
        raise ValueError(f"`{name}` (={value}) must be given, {length} numbers")
    return tuple(int(v) for v in value)


def _choice(call: Call, name: str, choices: Sequence[str]) -> None:
    if call.attribute(name) not in choices:
        raise UnsupportedError(f"`{name}` (={call.attribute(name)!r}) must be {' or '.join(map(repr, choices))}")
