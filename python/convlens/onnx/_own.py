"""Operators of the graph that ONNX lacks, most of them derivatives: what each is in ONNX's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph import BATCH, Call, Window, cuts_of, of_row, one_row, resizing_of, window_attributes, window_of
from ._registry import writes
from ._resampling import multiplied
from ._tensors import DOUBLE, FLOAT, UINT8
from ._writer import Writer

Array = npt.NDArray[Any]


def _sizes(call: Call, operand: str) -> tuple[int, ...]:
    """The sizes of an operand behind its channels."""
    return tuple(int(size) for size in call.types[call.tensor(operand)].shape[2:])


def _transposed(window: Window, count: Sequence[int], size: Sequence[int]) -> dict[str, Any]:
    """The attributes of the ConvTranspose that leads from `count` windows back to the `size` they slid over."""
    axes, extra, ends = len(size), [], []
    for axis, (n, out) in enumerate(zip(one_row(count), one_row(size), strict=True)):
        rest = out + window.pads[axis] - window.stride[axis] * (n - 1) - window.extent[axis]
        extra.append(max(0, rest))
        ends.append(max(0, -rest))
    pads = (*of_row(window.pads[:2], axes), *of_row(ends, axes))
    return {**window_attributes(window, axes), "pads": pads, "output_padding": of_row(extra, axes)}


@writes("ConvGradInput")
def _conv_grad_input(writer: Writer, call: Call) -> None:
    back = _transposed(window_of(call.node, call.types), _sizes(call, "dy"), call.attribute("input_shape")[1:])
    writer.finish("ConvTranspose", call.node.inputs, group=int(call.attribute("group")), **back)


@writes("ConvGradWeight")
def _conv_grad_weight(writer: Writer, call: Call) -> None:
    """A Conv of images as channels: windows are those of dy, strides and dilations in each other's place."""
    window, count, sizes = window_of(call.node, call.types), _sizes(call, "dy"), _sizes(call, "x")
    axes, groups = len(sizes), int(call.attribute("group"))
    _, per_group, *kernel = (int(size) for size in call.attribute("weight_shape"))
    behind = tuple(range(2, axes + 2))
    x = call.tensor("x")
    if groups == 1:
        x = writer.emit("Transpose", [x], perm=(1, 0, *behind))
    else:  # (N, groups C/g, ...) to (C/g, groups N, ...)
        x = writer.emit("Reshape", [x, writer.ints([BATCH, groups, per_group, *sizes], "split")])
        x = writer.emit("Transpose", [x], perm=(2, 1, 0, *(axis + 1 for axis in behind)))
        x = writer.emit("Reshape", [x, writer.ints([per_group, -1, *sizes], "joined")])
    dy = writer.emit("Transpose", [call.tensor("dy")], perm=(1, 0, *behind))
    how = window_attributes(window, axes)
    how |= {"kernel_shape": count, "strides": how["dilations"], "dilations": how["strides"]}
    dw = writer.emit("Conv", [x, dy], group=groups, **how)
    ends = [writer.ints(values, "ends") for values in ([0] * axes, kernel, behind)]
    dw = writer.emit("Slice", [dw, *ends])  # rows and columns that no window reached
    writer.finish("Transpose", [dw], perm=(1, 0, *behind))


@writes("MaxPoolOffset")
def _max_pool_offset(writer: Writer, call: Call) -> None:
    """Each window laid out along an axis of its own, and the first of its maxima."""
    window, sizes = window_of(call.node, call.types), _sizes(call, "x")
    axes, x = len(sizes), call.tensor("x")
    count = window.output_size(one_row(sizes))
    places = [_places(window, axis, count[axis]) for axis in range(2)][2 - axes :]
    before = [-int(taken.min()) for taken in places]
    after = [max(0, int(taken.max()) + 1 - size) for taken, size in zip(places, sizes, strict=True)]
    if any(before) or any(after):
        pads = writer.ints([0, 0, *before, 0, 0, *after], "pads")
        x = writer.emit("Pad", [x, pads, writer.constant(np.array(-np.inf, writer.dtype(x)), "lowest")])
    for axis, taken in enumerate(places):
        x = writer.emit("Gather", [x, writer.constant(taken + before[axis], "places")], axis=2 + 2 * axis)
    if axes == 2:
        x = writer.emit("Transpose", [x], perm=(0, 1, 2, 4, 3, 5))
        x = writer.emit("Reshape", [x, writer.ints([0, 0, *count, math.prod(window.kernel)], "windows")])
    winner = writer.emit("ArgMax", [x], axis=axes + 2, keepdims=0)
    writer.finish("Cast", [winner], to=UINT8)


@writes("MaxPoolGrad")
def _max_pool_grad(writer: Writer, call: Call) -> None:
    """A channel for each place of a window, all but the winner's zero; each is moved to its place and added."""
    window, count = window_of(call.node, call.types), _sizes(call, "dy")
    dy, dtype = call.tensor("dy"), writer.dtype(call.tensor("dy"))
    channels, *size = (int(n) for n in call.attribute("input_shape"))
    kernel = of_row(window.kernel, len(size))
    n_places = math.prod(kernel)
    places = np.arange(n_places, dtype=np.uint8).reshape(-1, *(1,) * len(size))
    along = writer.ints([2], "axes")
    offset = writer.emit("Unsqueeze", [call.tensor("offset"), along])
    won = writer.emit("Equal", [offset, writer.constant(places, "places")])
    zero = writer.constant(np.zeros((), dtype), "zero")
    shares = writer.emit("Where", [won, writer.emit("Unsqueeze", [dy, along]), zero])
    shares = writer.emit("Reshape", [shares, writer.ints([BATCH, channels * n_places, *count], "channels")])
    moves = np.eye(n_places, dtype=dtype).reshape(n_places, 1, *kernel)
    weight = writer.constant(np.tile(moves, (channels, *(1,) * (moves.ndim - 1))), "moves")
    writer.finish("ConvTranspose", [shares, weight], group=channels, **_transposed(window, count, size))


@writes("AveragePoolGrad")
def _average_pool_grad(writer: Writer, call: Call) -> None:
    """Each window's share, added to all of its places."""
    window, count = window_of(call.node, call.types), _sizes(call, "dy")
    dy, dtype = call.tensor("dy"), writer.dtype(call.tensor("dy"))
    channels, *size = (int(n) for n in call.attribute("input_shape"))
    padded = bool(call.attribute("count_include_pad"))
    rows, columns = (_divisors(window, axis, one_row(size), one_row(count), padded) for axis in range(2))
    divisors = (rows[:, np.newaxis] * columns).reshape(count).astype(dtype)
    shares = writer.emit("Div", [dy, writer.constant(divisors, "divisors")])
    weight = writer.constant(np.ones((channels, 1, *of_row(window.kernel, len(size))), dtype), "ones")
    writer.finish("ConvTranspose", [shares, weight], group=channels, **_transposed(window, count, size))


def _places(window: Window, axis: int, count: int) -> Array:
    """Where the places of each window lie along an axis, the first pixel at 0: (windows, places)."""
    starts = window.stride[axis] * np.arange(count) - window.pads[axis]
    return np.asarray(starts[:, np.newaxis] + window.dilation[axis] * np.arange(window.kernel[axis]))


def _divisors(window: Window, axis: int, size: Sequence[int], count: Sequence[int], padded: bool) -> Array:
    """How many places of each window along an axis lie in the image, or in the padded image."""
    places = _places(window, axis, count[axis])
    before, after = (window.pads[axis], window.pads[axis + 2]) if padded else (0, 0)
    return np.asarray(((places >= -before) & (places < size[axis] + after)).sum(axis=1))


@writes("ResizeGrad")
def _resize_grad(writer: Writer, call: Call) -> None:
    axes = range(2, len(call.types[call.tensor("dy")].shape))
    multiplied(writer, call.tensor("dy"), resizing_of(call), axes, gradient=True)


@writes("SliceGrad")
def _slice_grad(writer: Writer, call: Call) -> None:
    """Along each axis: turned where the step is negative, spread by zeros where it is not 1, laid among zeros."""
    dy = call.types[call.tensor("dy")]
    shape, rank = list(dy.shape), len(dy.shape)
    whole = [*dy.shape[: int(dy.batched)], *call.attribute("input_shape")]
    steps: list[tuple[str, list[str], dict[str, Any]]] = []
    before, after = [0] * rank, [0] * rank
    for axis, cut in enumerate(cuts_of(call)):
        if dy.shape[axis] == BATCH or cut.keeps(whole[axis]):
            continue
        first, step, along = cut.start, abs(cut.step), writer.ints([axis], "axes")
        if cut.step < 0:
            first += (cut.count - 1) * cut.step
            ends = [writer.ints([number], "ends") for number in (-1, -(2**62))]
            steps.append(("Slice", ["", *ends, along, writer.ints([-1], "steps")], {}))
        if step > 1:
            steps.append(("Unsqueeze", ["", writer.ints([axis + 1], "axes")], {}))
            gaps = [0] * (2 * rank + 2)
            gaps[rank + 2 + axis] = step - 1
            steps.append(("Pad", ["", writer.ints(gaps, "gaps")], {}))
            shape[axis] = cut.count * step
            steps.append(("Reshape", ["", writer.ints(shape, "shape")], {}))
        before[axis], after[axis] = first, int(whole[axis]) - first - cut.count * step
    if any(before) or any(after):
        steps.append(("Pad", ["", writer.ints([*before, *after], "pads")], {}))
    writer.chain(call.tensor("dy"), steps)


@writes("SoftmaxCrossEntropyLossGrad")
def _cross_entropy_grad(writer: Writer, call: Call) -> None:
    """Write ``(softmax - one_hot(label)) * dloss``, over the number of labels for a mean."""
    log_prob, labels, scale = call.node.inputs
    kind, along = call.types[log_prob], writer.ints([1], "axes")
    classes = np.arange(int(kind.shape[1]), dtype=call.types[labels].dtype).reshape(-1, *(1,) * (len(kind.shape) - 2))
    hot = writer.emit("Equal", [writer.emit("Unsqueeze", [labels, along]), writer.constant(classes, "classes")])
    share = writer.emit("Exp", [log_prob])
    less = writer.emit("Sub", [share, writer.constant(np.ones((), kind.dtype), "one")])
    difference = writer.emit("Where", [hot, less, share])
    if call.attribute("reduction") == "none":
        scale = writer.emit("Unsqueeze", [scale, along])
    elif call.attribute("reduction") == "mean":
        count = writer.emit("Cast", [writer.emit("Size", [labels])], to=DOUBLE if kind.dtype == "float64" else FLOAT)
        scale = writer.emit("Div", [scale, count])
    writer.finish("Mul", [difference, scale])


@writes("Expm1")
def _expm1(writer: Writer, call: Call) -> None:
    (x,) = call.node.inputs
    writer.finish("Sub", [writer.emit("Exp", [x]), writer.constant(np.ones((), writer.dtype(x)), "one")])


@writes("Log1p")
def _log1p(writer: Writer, call: Call) -> None:
    (x,) = call.node.inputs
    writer.finish("Log", [writer.emit("Add", [x, writer.constant(np.ones((), writer.dtype(x)), "one")])])


@writes("DropoutMask")
def _dropout_mask(writer: Writer, call: Call) -> None:
    """With other bits than ours: ONNX says nothing of how a runtime draws its numbers."""
    x = call.tensor("x")
    drawn = writer.emit("RandomUniformLike", [x], seed=float(call.attribute("node")))
    ratio = writer.constant(np.array(call.attribute("ratio"), writer.dtype(x)), "ratio")
    writer.finish("Greater", [drawn, ratio])


@writes("Quantize")
def _quantize(writer: Writer, call: Call) -> None:
    x, scale, zero = call.node.inputs
    bounds = [writer.constant(np.array(call.attribute(name), writer.dtype(x)), name) for name in ("low", "high")]
    whole = writer.emit("Round", [writer.emit("Div", [x, scale])])
    writer.finish("Clip", [writer.emit("Add", [whole, zero]), *bounds])


@writes("Dequantize")
def _dequantize(writer: Writer, call: Call) -> None:
    q, scale, zero = call.node.inputs
    if writer.dtype(q) != writer.dtype(scale):
        q = writer.emit("Cast", [q], to=DOUBLE if writer.dtype(scale) == "float64" else FLOAT)
    writer.finish("Mul", [writer.emit("Sub", [q, zero]), scale])


@writes("StopGradient")
def _stop_gradient(writer: Writer, call: Call) -> None:
    writer.finish("Identity", call.node.inputs)
