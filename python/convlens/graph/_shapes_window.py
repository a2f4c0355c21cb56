"""Shape rules of operators over images and signals: convolution, pooling, padding, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence

from .._errors import UnsupportedError
from ._ir import Dim, Shape, TensorType
from ._registry import FLOATS, NUMBERS, Call, axis_of, shape_rule, show
from ._window import Window, of_row, one_row, transposed_window, window_of

# Strides, pads and dilations that are not given are 1, 0 and 1 along each axis.
_CONV = {"kernel_shape": None, "strides": None, "pads": None, "dilations": None, "group": 1}
_POOL = {"kernel_shape": None, "strides": None, "pads": None, "dilations": None, "ceil_mode": 0}


@shape_rule("Conv", "x weight bias?", **_CONV)
def _conv(call: Call) -> TensorType:
    x = _image(call, "x")
    weight = call.kind("weight", (x.dtype,), rank=len(x.shape))
    if call.has("bias") and call.kind("bias", (x.dtype,)).shape != weight.shape[:1]:
        raise ValueError(f"`bias` must have shape ({weight.shape[0]},), one value an output channel of `weight`")
    window = _conv_window(call, weight.shape)
    _check_groups(call, int(x.shape[1]), weight.shape)
    return TensorType(x.dtype, (x.shape[0], weight.shape[0], *_windows(window, x.shape[2:])))


@shape_rule("ConvTranspose", "x weight bias?", output_padding=None, **_CONV)
def _conv_transpose(call: Call) -> TensorType:
    x = _image(call, "x")
    weight = call.kind("weight", (x.dtype,), rank=len(x.shape))
    groups = int(call.attribute("group"))
    _conv_window(call, weight.shape)
    if groups < 1 or int(x.shape[1]) % groups:
        raise ValueError(f"`in_channels` (={x.shape[1]}) must be divisible by `group` (={groups})")
    if x.shape[1] != weight.shape[0]:
        raise ValueError(f"`weight` {show(weight.shape)} is for {weight.shape[0]} channels, the input has {x.shape[1]}")
    channels = int(weight.shape[1]) * groups
    if call.has("bias") and call.kind("bias", (x.dtype,)).shape != (channels,):
        raise ValueError(f"`bias` must have shape ({channels},), one value an output channel")
    _, size = transposed_window(call.node, call.types)
    return TensorType(x.dtype, (x.shape[0], channels, *of_row(size, len(x.shape) - 2)))


@shape_rule("ConvGradInput", "dy weight", input_shape=None, **_CONV)
def _conv_grad_input(call: Call) -> TensorType:
    dy = _image(call, "dy")
    weight = call.kind("weight", (dy.dtype,), rank=len(dy.shape))
    shape = _given(call, "input_shape", len(dy.shape) - 1)
    window = _conv_window(call, weight.shape)
    _check_groups(call, shape[0], weight.shape)
    _check_output(dy, (int(weight.shape[0]), *_windows(window, shape[1:])))
    return TensorType(dy.dtype, (dy.shape[0], *shape))


@shape_rule("ConvGradWeight", "dy x", weight_shape=None, **_CONV)
def _conv_grad_weight(call: Call) -> TensorType:
    dy = _image(call, "dy")
    x = call.kind("x", (dy.dtype,), rank=len(dy.shape))
    shape = _given(call, "weight_shape", len(dy.shape))
    window = _conv_window(call, shape)
    _check_groups(call, int(x.shape[1]), shape)
    _check_output(dy, (shape[0], *_windows(window, x.shape[2:])))
    if dy.shape[0] != x.shape[0]:
        raise ValueError("`dy` and `x` must have the same number of images")
    return TensorType(dy.dtype, shape)


@shape_rule("MaxPool", "x", **_POOL)
def _max_pool(call: Call) -> TensorType:
    return _pooled(call, _image(call, "x"))


@shape_rule("AveragePool", "x", count_include_pad=0, **_POOL)
def _average_pool(call: Call) -> TensorType:
    return _pooled(call, _image(call, "x"))


@shape_rule("MaxPoolOffset", "x", **_POOL)
def _max_pool_offset(call: Call) -> TensorType:
    shape = _pooled(call, _image(call, "x")).shape
    _check_offsets(window_of(call.node, call.types))
    return TensorType("uint8", shape)


@shape_rule("MaxPoolGrad", "dy offset", input_shape=None, **_POOL)
def _max_pool_grad(call: Call) -> TensorType:
    dy = _image(call, "dy")
    if call.kind("offset", ("uint8",)).shape != dy.shape:
        raise ValueError("`offset` must have the shape of `dy`: one winner a window")
    _check_offsets(window_of(call.node, call.types))
    return _unpooled(call, dy)


@shape_rule("AveragePoolGrad", "dy", input_shape=None, count_include_pad=0, **_POOL)
def _average_pool_grad(call: Call) -> TensorType:
    return _unpooled(call, _image(call, "dy"))


@shape_rule("GlobalAveragePool", "x")
@shape_rule("GlobalMaxPool", "x")
def _global_pool(call: Call) -> TensorType:
    x = _image(call, "x")
    return TensorType(x.dtype, (*x.shape[:2], *(1,) * (len(x.shape) - 2)))


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


def _image(call: Call, operand: str) -> TensorType:
    """The type of an operand that a window slides over: images or signals."""
    kind = call.kind(operand, FLOATS)
    if len(kind.shape) not in (3, 4):
        raise ValueError(f"`{operand}` must have 4 axes (N, C, H, W) or 3 (N, C, L), not {len(kind.shape)}")
    return kind


def _windows(window: Window, sizes: Sequence[Dim]) -> tuple[int, ...]:
    """The sizes of the output, for an input of the sizes of one axis or two."""
    return of_row(window.output_size(one_row(sizes)), len(sizes))


def _pooled(call: Call, x: TensorType) -> TensorType:
    window = _pool_window(call, x)
    window.check_covers(one_row(x.shape[2:]))
    return TensorType(x.dtype, (*x.shape[:2], *_windows(window, x.shape[2:])))


def _unpooled(call: Call, dy: TensorType) -> TensorType:
    shape = _given(call, "input_shape", len(dy.shape) - 1)
    window = _pool_window(call, dy)
    window.check_covers(one_row(shape[1:]))
    _check_output(dy, (shape[0], *_windows(window, shape[1:])))
    return TensorType(dy.dtype, (dy.shape[0], *shape))


def _pool_window(call: Call, x: TensorType) -> Window:
    window, given = window_of(call.node, call.types), call.attribute("kernel_shape")
    if len(given) != len(x.shape) - 2:
        raise ValueError(f"`kernel_shape` (={given}) must have a number for each axis of {show(x.shape)} behind C")
    return window


def _conv_window(call: Call, weight: Shape) -> Window:
    window = window_of(call.node, call.types)
    if window.kernel != one_row(weight[2:]) or len(call.attribute("kernel_shape") or weight[2:]) != len(weight) - 2:
        raise ValueError(
            f"`kernel_shape` (={call.attribute('kernel_shape')}) must be the axes of the weight {show(weight)} behind "
            "its channels"
        )
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
