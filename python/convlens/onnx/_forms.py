"""Operators that the graph shares with ONNX, where ONNX asks for more or takes less: how they are written."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph import Call, Resizing, axis_of, of_row, one_row, reduce_axes, resizing_of, window_of
from ._registry import writes
from ._resampling import gathered, multiplied
from ._writer import Writer

Array = npt.NDArray[Any]


@writes("ConvTranspose")
def _conv_transpose(writer: Writer, call: Call) -> None:
    """What is added at the end, less padding there takes away: runtimes refuse to add a stride or more."""
    window, axes = window_of(call.node, call.types), len(call.types[call.tensor("x")].shape) - 2
    extra = list(one_row(call.attribute("output_padding") or (0,) * axes, 0))
    ends = list(window.pads[2:])
    if all(extra[i] < max(window.stride[i], window.dilation[i]) for i in range(2)):
        writer.straight(call)
        return
    for i in range(2):
        less = min(extra[i], ends[i])
        extra[i], ends[i] = extra[i] - less, ends[i] - less
    pads = (*of_row(window.pads[:2], axes), *of_row(ends, axes))
    writer.straight(call, output_padding=of_row(extra, axes), pads=pads)


@writes("LayerNormalization", "InstanceNormalization", "GroupNormalization")
def _norm(writer: Writer, call: Call) -> None:
    """With a scale of ones and a shift of zeros where there are none; a layer's shift alone may be absent."""
    x, given = call.types[call.tensor("x")], writer.operands(call)
    given += [""] * (3 - len(given))
    layer = call.node.op == "LayerNormalization"
    shape = x.shape[axis_of(int(call.attribute("axis")), len(x.shape)) :] if layer else x.shape[1:2]
    for place, name, value in ((1, "scale", 1), (2, "bias", 0)):
        if not given[place] and not (layer and name == "bias"):
            sizes = tuple(int(size) for size in shape)
            given[place] = writer.constant(np.full(sizes, value, x.dtype), name)
    if layer and not call.has("bias"):
        given = given[: max(2, len(call.node.inputs))]
    writer.straight(call, given)


@writes("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2")
def _reduce(writer: Writer, call: Call) -> None:
    """Axes are an operand."""
    inputs = writer.operands(call)
    if not call.has("axes") and call.attribute("axes"):
        inputs = [inputs[0], writer.ints(reduce_axes(call), "axes")]
    writer.straight(call, inputs, axes=None)


@writes("Squeeze")
def _squeeze(writer: Writer, call: Call) -> None:
    """Always along axes that are named: one image must not lose its batch axis."""
    inputs = writer.operands(call)
    if not call.has("axes"):
        shape = call.types[inputs[0]].shape
        inputs = [inputs[0], writer.ints([axis for axis, size in enumerate(shape) if size == 1], "axes")]
    writer.straight(call, inputs)


@writes("Split")
def _split(writer: Writer, call: Call) -> None:
    """By sizes, or into a number of parts that is always said."""
    parts = None if call.has("split") else call.attribute("num_outputs") or len(call.node.outputs)
    writer.straight(call, num_outputs=parts)


@writes("Greater", "GreaterOrEqual", "Less", "LessOrEqual")
def _compare(writer: Writer, call: Call) -> None:
    """Of masks by logic, which is all that ONNX has for them."""
    a, b = call.node.inputs
    if call.types[a].dtype != "bool":
        writer.straight(call)
    elif call.node.op.startswith("Greater"):
        writer.finish("Or" if call.node.op.endswith("Equal") else "And", [a, writer.emit("Not", [b])])
    else:
        writer.finish("Or" if call.node.op.endswith("Equal") else "And", [writer.emit("Not", [a]), b])


@writes("MaxPool", "AveragePool")
def _pool(writer: Writer, call: Call) -> None:
    """With ceil_mode only where it makes another window, and loses none.

    This opset rounds the size up even if the last window then begins beyond the image; runtimes, and the graph, leave
    such a window out.
    """
    window, sizes = window_of(call.node, call.types), one_row(call.types[call.tensor("x")].shape[2:])
    axes, ends = len(call.attribute("kernel_shape")), []
    dropped = False
    for axis, (count, size) in enumerate(zip(window.output_size(sizes), sizes, strict=True)):
        before, after = window.pads[axis], window.pads[axis + 2]
        reach = window.stride[axis] * (count - 1) + window.extent[axis] - before - size
        ends.append(max(after, reach))
        dropped |= reach < after
    gains = ends != list(window.pads[2:])
    if not window.ceil_mode or (gains and not dropped):
        writer.straight(call)
    elif not gains:
        writer.straight(call, ceil_mode=0)
    elif call.node.op == "AveragePool" and call.attribute("count_include_pad"):
        writer.refuse("`ceil_mode` (=1) with `count_include_pad` adds a window along one axis and none along the other")
    else:
        writer.straight(call, ceil_mode=0, pads=(*of_row(window.pads[:2], axes), *of_row(ends, axes)))


@writes("Resize")
def _resize(writer: Writer, call: Call) -> None:
    """Along what lies behind the channels; ours, means over adaptive windows and windows side by side, written out."""
    made, rank = resizing_of(call), len(call.types[call.tensor("x")].shape)
    if made.mode == "area":
        multiplied(writer, call.tensor("x"), made, range(2, rank))
    elif made.mode == "windows":
        gathered(writer, call.tensor("x"), made, range(2, rank))
    else:
        axes, name, values = _asked_for(call, made, rank)
        given = call.constant(name) if call.has(name) else None
        same = given is not None and given.dtype == values.dtype and np.array_equal(given, values)
        what = call.tensor(name) if same else writer.constant(values, name)
        inputs = [call.tensor("x"), "", what] if name == "scales" else [call.tensor("x"), "", "", what]
        # Elsewhere the edge repeats, which is the same; runtimes refuse it there.
        excluding = bool(call.attribute("exclude_outside")) and (made.mode == "cubic" or made.antialias)
        writer.straight(call, inputs, axes=axes, window_shape=None, exclude_outside=int(excluding))


def _asked_for(call: Call, made: Resizing, rank: int) -> tuple[list[int], str, Array]:
    """The axes, and sizes or scales along them; the sizes where scales in double are the sizes' ratio."""
    along = [axis_of(int(axis), rank, "axes") for axis in call.attribute("axes") or range(rank)]
    axes = [axis for axis in along if axis >= 2]
    old, new = ([of_row(pair, rank - 2)[axis - 2] for axis in axes] for pair in (made.old, made.new))
    if not call.has("scales") or not call.constant("scales").size:
        asked = call.constant("sizes").reshape(-1)  # not made.new: `keep_aspect_ratio_policy` may choose less or more
        return axes, "sizes", np.array([asked[along.index(axis)] for axis in axes], np.int64)
    given = call.constant("scales").reshape(-1)
    scales = [given[place] for place, axis in enumerate(along) if axis >= 2]
    if given.dtype != np.float32 and all(s == n / o for s, n, o in zip(scales, new, old, strict=True)):
        return axes, "sizes", np.array(new, np.int64)
    return axes, "scales", np.array([_scale(*each) for each in zip(scales, old, new, strict=True)], np.float32)


def _scale(scale: float, old: int, new: int) -> Any:
    """The float32 next to a scale that gives the same size, whether multiplied in single or in double precision."""
    single = np.float32(scale)
    while True:
        sizes = math.floor(np.float32(old) * single), math.floor(old * float(single))
        if min(sizes) < new:
            single = np.nextafter(single, np.float32(np.inf))
        elif max(sizes) > new:
            single = np.nextafter(single, np.float32(0))
        else:
            return single
