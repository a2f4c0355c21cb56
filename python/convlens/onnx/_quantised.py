"""Quantised operators: whole numbers of 8 bits as floats, each operator between a Dequantize and a Quantize.

A file with QuantizeLinear and DequantizeLinear around its operators imports as it is; QLinearConv and the like become
the same nodes. Lowering computes such layers in whole numbers again (``program/_integers.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import UnsupportedError
from ..graph import Shape
from ._registry import HANDLERS, Handler, contributed, folds, handles
from ._site import Site
from ._tensors import dtype_name

Array = npt.NDArray[Any]
Grid = tuple[Array, Array]  # scale and zero point, which broadcast to their tensor

_RANGES = {"uint8": (0, 255), "int8": (-128, 127)}
_MICROSOFT = "com.microsoft"
# What ONNX Runtime's quantiser takes a ReLU from, where saturation at the zero point does the same.
_BEFORE_RELU = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Sub", "BatchNormalization"})


# -- scales and zero points --------------------------------------------------------------------------------------------


def _grid(site: Site, scale: int, zero: int, shape: Shape, axis: int, what: str) -> tuple[Grid, str]:
    """The scale and zero point given as inputs, and the zero point's type."""
    name = site.inputs[scale]
    steps = np.asarray(site.known(scale, f"{what}_scale"), np.float32)
    if site.has(zero):
        given = site.known(zero, f"{what}_zero_point")
    else:
        given = np.zeros(steps.shape, np.uint8)
    dtype = given.dtype.name
    if not np.all(np.isfinite(steps) & (steps > 0)):
        raise ValueError(f"`{what}_scale` ({name!r}) must be positive and finite")
    if steps.size == 1:
        if given.size != 1:
            raise ValueError(f"`{what}_zero_point` has {given.size} numbers, `{what}_scale` 1; they must agree")
        return (steps.reshape(()), given.astype(np.float32).reshape(())), dtype
    if steps.ndim > 1 or site.attribute("block_size", 0):
        raise UnsupportedError(f"`{what}_scale`, {steps.shape}, is one a block; supported: one, or one a slice")
    axis = site.axis(axis, len(shape))
    if shape[axis] == "N":
        raise UnsupportedError(f"`axis` (={axis}) is the batch; images are computed one by one")
    if steps.size != shape[axis] or given.size not in (1, steps.size):
        raise ValueError(
            f"`{what}_scale` and `{what}_zero_point` have {steps.size} and {given.size} numbers; axis {axis} has "
            f"{shape[axis]}"
        )
    along = (-1,) + (1,) * (len(shape) - 1 - axis)
    zeros = np.broadcast_to(given.reshape(-1), steps.shape).astype(np.float32)
    return (steps.reshape(along), zeros.reshape(along)), dtype


def _range(dtype: str) -> tuple[int, int]:
    if dtype not in _RANGES:
        raise UnsupportedError(f"it quantises to {dtype}; supported: {' and '.join(_RANGES)}")
    return _RANGES[dtype]


def _constants(site: Site, grid: Grid, stem: str) -> list[str]:
    return [site.constant(part, f"{stem}.{what}") for part, what in zip(grid, ("scale", "zero"), strict=True)]


def _values(q: Array, grid: Grid) -> Array:
    return np.asarray((q.astype(np.float32) - grid[1]) * grid[0])


# -- QuantizeLinear, DequantizeLinear ----------------------------------------------------------------------------------


def _target(site: Site, dtype: str) -> str:
    """The type that a QuantizeLinear makes: `output_dtype` where there is no zero point."""
    chosen = int(site.attribute("output_dtype", 0))
    return dtype_name(chosen, "`output_dtype`") if chosen and not site.has(2) else dtype


@folds("QuantizeLinear")
def _fold_quantize(site: Site, x: Array, scale: Array, zero: Array | None = None) -> Array:
    site.spend(4 * x.size)
    grid, dtype = _grid(site, 1, 2, x.shape, int(site.attribute("axis", 1)), "y")
    dtype = _target(site, dtype)
    steps = np.rint(x.astype(np.float32) / grid[0]) + grid[1]
    return np.asarray(np.clip(steps, *_range(dtype)).astype(dtype))


@contributed(_MICROSOFT, "QuantizeLinear")
def _quantize(site: Site) -> str:
    x = site.tensor(0)
    grid, dtype = _grid(site, 1, 2, site.shape(0), int(site.attribute("axis", 1)), "y")
    return _quantised(site, x, grid, _target(site, dtype), site.made_by(0))


def _quantised(site: Site, x: str, grid: Grid, dtype: str, maker: str) -> str:
    """The node's output: `x`, which an operator `maker` made, as whole numbers."""
    low, high = _range(dtype)
    relu = maker in _BEFORE_RELU and bool(np.all(grid[1] == low))
    grids = _constants(site, grid, site.outputs[0])
    site.steps[site.outputs[0]] = grids, low, high
    return site.finish("Quantize", [x, *grids], low=low, high=high, activation="relu" if relu else "")


@folds("DequantizeLinear")
def _fold_dequantize(site: Site, q: Array, scale: Array, zero: Array | None = None) -> Array:
    """A weight stays its whole numbers in the graph, so that lowering has them."""
    site.spend(4 * q.size)
    if q.dtype.name not in (*_RANGES, "int32"):
        raise UnsupportedError(f"its input is {q.dtype.name}; supported: {', '.join(_RANGES)} and int32")
    grid, _ = _grid(site, 1, 2, q.shape, int(site.attribute("axis", 1)), "x")
    site.keep_grid(site.outputs[0], (q.astype(np.float32), *grid))
    return _values(q, grid)


@contributed(_MICROSOFT, "DequantizeLinear")
def _dequantize(site: Site) -> str:
    q = site.tensor(0)
    given = (site.type_of(q).dtype, site.known(2, "x_zero_point").dtype.name if site.knows(2) else "uint8")
    if any(dtype not in (*_RANGES, "int32", "float32") for dtype in given):
        raise UnsupportedError(
            f"its input is {given[0]}, `x_zero_point` {given[1]}; supported: {', '.join(_RANGES)}, int32"
        )
    if not site.knows(1):  # the range of an image, from a DynamicQuantizeLinear
        zero = site.tensor(2) if site.has(2) else site.scalar(0.0, site.tensor(1))
        return site.finish("Dequantize", [q, site.tensor(1), zero])
    grid, _ = _grid(site, 1, 2, site.shape(0), int(site.attribute("axis", 1)), "x")
    return site.finish("Dequantize", [q, *_constants(site, grid, site.outputs[0])])


@handles("DynamicQuantizeLinear")
def _dynamic_quantize(site: Site) -> None:
    """To uint8, by the range of each image with 0 in it."""
    x, batched = site.tensor(0), site.type(0).batched
    axes = site.numbers(range(1 if batched else 0, site.rank(0)), "axes")
    keep = {"keepdims": int(batched), "noop_with_empty_axes": int(batched)}
    zero, levels = site.scalar(0.0, x), site.scalar(255.0, x)
    least = site.emit("Min", [site.emit("ReduceMin", [x, axes], **keep), zero])
    most = site.emit("Max", [site.emit("ReduceMax", [x, axes], **keep), zero])
    step = site.emit("Div", [site.emit("Sub", [most, least]), levels])
    step = site.emit("Where", [site.emit("Equal", [step, zero]), site.scalar(1.0, x), step])
    start = site.emit("Div", [site.emit("Neg", [least]), step])
    start = site.emit("Min", [site.emit("Max", [start, zero]), levels])
    scale = site.emit("StopGradient", [step])
    point = site.emit("StopGradient", [site.emit("Round", [start])])
    site.finish("Quantize", [x, scale, point], low=0, high=255)
    site.output(1, "Identity", [scale])
    site.output(2, "Identity", [point])
    if batched:
        site.note("an activation quantised dynamically takes the range of its image; ONNX Runtime takes the batch's")


# -- operators between quantised tensors -------------------------------------------------------------------------------


def _real(site: Site, at: int, scale: int, zero: int, axis: int = 1) -> str:
    """The real values of a quantised input."""
    name = site.inputs[at]
    shape = site.known(at, name).shape if site.knows(at) else site.shape(at)
    grid, _ = _grid(site, scale, zero, shape, axis, name)
    if site.knows(at):
        q = site.known(at, name)
        return site.known_tensor(f"{name}.dequantised", _values(q, grid), (q.astype(np.float32), *grid))
    return site.emit_once(f"{name}.dequantised", "Dequantize", [site.tensor(at), *_constants(site, grid, name)])


def _whole(site: Site, at: int, zero: int, axis: int) -> str:
    """An input counted from its zero point."""
    name = site.inputs[at]
    if not site.knows(at):
        q = site.tensor(at)
        one = site.constant(np.array(1, np.float32), f"{name}.one")
        start = site.tensor(zero) if site.has(zero) and not site.knows(zero) else ""
        if not start:
            value = site.known(zero, "zero_point") if site.has(zero) else np.zeros(())
            if value.size != 1:
                raise UnsupportedError(f"the zero point of {name!r} has {value.size} numbers; supported: one")
            start = site.constant(value.astype(np.float32).reshape(()), f"{name}.zero")
        return site.emit_once(f"{name}.whole", "Dequantize", [q, one, start])
    stored = site.known(at, name).astype(np.float32)
    starts = site.known(zero, "zero_point").astype(np.float32) if site.has(zero) else np.zeros((), np.float32)
    along = (-1,) + (1,) * (stored.ndim - 1 - axis) if starts.size > 1 else ()
    starts = starts.reshape(along)
    return site.known_tensor(f"{name}.whole", stored - starts, (stored, np.ones((), np.float32), starts))


def _made(site: Site, op: str, inputs: Sequence[str], attributes: Mapping[str, Any], *, last: bool = False) -> str:
    """An operator of ONNX over tensors that are real."""
    inner = site.derived(op, inputs, attributes, last=last)
    result = HANDLERS[op](inner)
    assert result is not None
    return result


def on_values(handler: Handler) -> Handler:
    """Let an operator that keeps a grid see the values that whole numbers stand for: a layer's are real."""

    def handle(site: Site) -> str | None:
        name = site.inputs[0]
        if name not in site.steps:
            return handler(site)
        grid, low, high = site.steps[site.outputs[0]] = site.steps[name]
        real = site.emit_once(f"{name}.dequantised", "Dequantize", [site.tensor(0), *grid])
        y = handler(site.derived(site.op, [real, *site.inputs[1:]], site.attributes))
        assert y is not None
        return site.finish("Quantize", [y, *grid], low=low, high=high)

    return handle


def _finish(site: Site, y: str, scale: int, zero: int, maker: str) -> str:
    grid, dtype = _grid(site, scale, zero, site.type_of(y).shape, 1, "y")
    return _quantised(site, y, grid, dtype, maker)


@handles("QLinearConv")
def _qlinear_conv(site: Site) -> str:
    inputs = [_real(site, 0, 1, 2), _real(site, 3, 4, 5, axis=0)]
    if site.has(8):
        inputs.append(_bias(site, 8, 1, 4))
    return _finish(site, _made(site, "Conv", inputs, site.attributes), 6, 7, "Conv")


def _bias(site: Site, at: int, x_scale: int, w_scale: int) -> str:
    """An int32 bias, a sum of products: its scale is that of both operands."""
    bias = site.known(at, "B").reshape(-1)
    scales = (site.known(i, "scale").astype(np.float32).reshape(-1) for i in (x_scale, w_scale))
    scale = np.multiply(*scales)
    scale = scale.reshape(()) if scale.size == 1 else scale
    grid = (scale, np.zeros((), np.float32))
    name = f"{site.inputs[at]}.dequantised"
    return site.known_tensor(name, _values(bias, grid), (bias.astype(np.float32), *grid))


@handles("QLinearMatMul")
def _qlinear_matmul(site: Site) -> str:
    y = _made(site, "MatMul", [_real(site, 0, 1, 2), _real(site, 3, 4, 5, axis=-1)], {})
    return _finish(site, y, 6, 7, "MatMul")


@handles("ConvInteger")
def _conv_integer(site: Site) -> str:
    return _made(site, "Conv", [_whole(site, 0, 2, 0), _whole(site, 1, 3, 0)], site.attributes, last=True)


@handles("MatMulInteger")
def _matmul_integer(site: Site) -> str:
    columns = len(site.known(1, "B").shape) - 1 if site.knows(1) else 0
    return _made(site, "MatMul", [_whole(site, 0, 2, 0), _whole(site, 1, 3, columns)], {}, last=True)


@contributed(_MICROSOFT, "QGemm")
def _qgemm(site: Site) -> str:
    """Without a scale of the result it stays real."""
    alpha = float(site.attribute("alpha", 1.0))
    if alpha != 1:
        raise UnsupportedError(f"`alpha` (={alpha}) must be 1")
    transposed = {name: int(site.attribute(name, 0)) for name in ("transA", "transB")}
    inputs = [_real(site, 0, 1, 2), _real(site, 3, 4, 5, axis=0 if transposed["transB"] else 1)]
    if site.has(6):
        inputs.append(_bias(site, 6, 1, 4))
    if not site.has(7):
        return _made(site, "Gemm", inputs, transposed, last=True)
    return _finish(site, _made(site, "Gemm", inputs, transposed), 7, 8, "Gemm")


@contributed(_MICROSOFT, "QLinearAdd", "QLinearMul")
def _qlinear_binary(site: Site) -> str:
    op = site.op.removeprefix("QLinear")
    return _finish(site, _made(site, op, [_real(site, 0, 1, 2), _real(site, 3, 4, 5)], {}), 6, 7, op)


@contributed(
    _MICROSOFT,
    *("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax"),
)
def _qlinear_unary(site: Site) -> str:
    if site.attribute("channels_last", 0):
        raise UnsupportedError("`channels_last` (=1) is not supported; supported: channels first")
    op, unsaid = site.op.removeprefix("QLinear"), ("channels_last", "opset")
    attributes = {name: value for name, value in site.attributes.items() if name not in unsaid}
    return _finish(site, _made(site, op, [_real(site, 0, 1, 2)], attributes), 3, 4, op)


@contributed(_MICROSOFT, "QLinearConcat")
def _qlinear_concat(site: Site) -> str:
    parts = [_real(site, at, at + 1, at + 2) for at in range(2, len(site.inputs), 3)]
    return _finish(site, _made(site, "Concat", parts, {"axis": site.attribute("axis", 1)}), 0, 1, "Concat")
