"""The interpreter: any graph, node by node, with the oracle's operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import UnsupportedError
from ..graph import (
    BATCH,
    Call,
    Graph,
    Resizing,
    TensorType,
    call_of,
    cuts_of,
    infer,
    one_row,
    pad_widths,
    permutation_of,
    reduce_axes,
    resizing_of,
    split_sizes,
    window_of,
)
from . import _activations as act
from . import _arithmetic as arith
from . import _conv, _dense, _norm, _pool, _quantise, _resize, _shape
from . import _elementwise as plain
from ._wide import Array, narrow, wide

_Operation = Callable[..., Any]
_TABLE: dict[str, _Operation] = {}


def run(
    graph: Graph,
    inputs: Mapping[str, npt.ArrayLike],
    outputs: Sequence[str] | None = None,
    *,
    dtype: npt.DTypeLike | None = None,
) -> dict[str, Array]:
    """Run a graph with the oracle's operations.

    Parameters
    ----------
    graph : Graph
    inputs : mapping of input name to array
        At least the inputs that the outputs depend on; the leading axis of batched ones is the number of images.
    outputs : sequence of str, optional
        Tensors wanted, inner ones too; by default the graph's outputs.
    dtype : {"float32", "float64"}, optional
        Compute every floating-point tensor in this type; by default in the graph's own.

    Returns
    -------
    dict of name to ndarray

    Raises
    ------
    ValueError
        If an input is missing, unknown, or of the wrong shape or dtype, or an output is unknown.
    """
    wanted = tuple(graph.outputs if outputs is None else outputs)
    unknown = [name for name in wanted if name not in graph.types]
    if unknown:
        raise ValueError(f"output {unknown[0]!r} is not a tensor of the graph")
    part = graph.subgraph(wanted)
    values: dict[str, Array] = {}
    n = _bind(graph, part, inputs, values, None if dtype is None else np.dtype(dtype))
    for name, value in part.constants.items():
        values[name] = _cast(value, dtype)
    for node in part.nodes:
        call = call_of(node, part.types, part.constants)
        operands = [values[name] if name else None for name in node.inputs]
        operation = _TABLE.get(node.op)
        if operation is None:
            raise UnsupportedError(f"node {node.name!r} ({node.op}): no oracle; there are {', '.join(sorted(_TABLE))}")
        result = operation(call, n, *operands)
        results = result if isinstance(result, tuple) else (result,)
        for name, value in zip(node.outputs, results, strict=False):
            if name:
                values[name] = _checked(name, value, part.types[name], n)
    return {name: values[name] for name in wanted}


def _bind(graph: Graph, part: Graph, inputs: Mapping[str, npt.ArrayLike], values: dict[str, Array], dtype: Any) -> int:
    """Check and take the inputs; returns the number of images."""
    for name in inputs:
        if name not in graph.inputs:
            raise ValueError(f"`inputs` holds {name!r}; the graph's inputs are {', '.join(graph.inputs)}")
    n: int | None = None
    for name, kind in part.inputs.items():
        if name not in inputs:
            raise ValueError(f"input {name!r} is missing; it is {kind}")
        array = np.asarray(inputs[name])
        given_float = array.dtype.kind == "f" and kind.dtype.startswith("float")
        if array.dtype.name != kind.dtype and not (given_float and dtype is not None):
            raise ValueError(f"input {name!r} has dtype {array.dtype}; it must be {kind.dtype}")
        if kind.batched and array.ndim and n is None:
            n = array.shape[0]
        shape = tuple(n if dim == BATCH else dim for dim in kind.shape)
        if array.shape != shape:
            raise ValueError(f"input {name!r} has shape {array.shape}; it must be {kind}")
        values[name] = _cast(array, dtype)
    return 0 if n is None else n


def _cast(value: Array, dtype: npt.DTypeLike | None) -> Array:
    return value.astype(dtype) if dtype is not None and value.dtype.kind == "f" else value


def _checked(name: str, value: Any, kind: TensorType, n: int) -> Array:
    array = np.asarray(value)
    shape = tuple(n if dim == BATCH else dim for dim in kind.shape)
    same = array.dtype.name == kind.dtype or (array.dtype.kind == "f" and kind.dtype.startswith("float"))
    if array.shape != shape or not same:
        raise AssertionError(f"{name!r} came out as {array.dtype}{array.shape}, inferred as {kind}")
    return array


def _operation(*names: str) -> Callable[[_Operation], _Operation]:
    def register(function: _Operation) -> _Operation:
        for name in names:
            _TABLE[name] = function
        return function

    return register


def _in_rows(operation: _Operation) -> _Operation:
    """Let an operation on images take signals: images of one row."""

    def on_signals(call: Call, n: int, *operands: Array | None) -> Any:
        if operands[0] is None or operands[0].ndim == 4:
            return operation(call, n, *operands)
        lifted = (a[:, :, np.newaxis] if a is not None and a.ndim == 3 else a for a in operands)
        return operation(call, n, *lifted)[:, :, 0]

    return on_signals


def _conv_arguments(call: Call) -> dict[str, Any]:
    window = window_of(call.node, call.types)
    top, left, bottom, right = window.pads
    return {
        "stride": window.stride,
        "padding": ((top, bottom), (left, right)),
        "dilation": window.dilation,
        "groups": int(call.attribute("group")),
    }


def _pool_arguments(call: Call) -> dict[str, Any]:
    window = window_of(call.node, call.types)
    top, left, bottom, right = window.pads
    extra = {"count_include_pad": bool(call.attribute("count_include_pad"))} if "Average" in call.node.op else {}
    return {
        "kernel_size": window.kernel,
        "stride": window.stride,
        "padding": ((top, bottom), (left, right)),
        "dilation": window.dilation,
        "ceil_mode": window.ceil_mode,
        **extra,
    }


def _input_shape(call: Call, dy: Array) -> tuple[int, ...]:
    channels, *sizes = call.attribute("input_shape")
    return (dy.shape[0], int(channels), *one_row(sizes))


@_operation("Conv")
@_in_rows
def _run_conv(call: Call, n: int, x: Array, weight: Array, bias: Array | None = None) -> Array:
    return _conv.conv2d(x, weight, bias, **_conv_arguments(call))


@_operation("ConvGradInput")
@_in_rows
def _run_conv_grad_input(call: Call, n: int, dy: Array, weight: Array) -> Array:
    return _conv.conv2d_grad_input(dy, weight, _input_shape(call, dy), **_conv_arguments(call))


@_operation("ConvGradWeight")
@_in_rows
def _run_conv_grad_weight(call: Call, n: int, dy: Array, x: Array) -> Array:
    shape = call.attribute("weight_shape")
    return _conv.conv2d_grad_weight(dy, x, (*shape[:2], *one_row(shape[2:])), **_conv_arguments(call))


@_operation("ConvTranspose")
@_in_rows
def _run_conv_transpose(call: Call, n: int, x: Array, weight: Array, bias: Array | None = None) -> Array:
    extra = call.attribute("output_padding")
    output_padding = (0, 0) if extra is None else one_row(extra, 0)
    return _conv.conv_transpose2d(x, weight, bias, output_padding=output_padding, **_conv_arguments(call))


@_operation("MaxPool")
@_in_rows
def _run_max_pool(call: Call, n: int, x: Array) -> Any:
    return _pool.max_pool2d(x, **_pool_arguments(call))


@_operation("MaxPoolOffset")
@_in_rows
def _run_max_pool_offset(call: Call, n: int, x: Array) -> Array:
    return _pool.max_pool2d_offset(x, **_pool_arguments(call))


@_operation("MaxPoolGrad")
@_in_rows
def _run_max_pool_grad(call: Call, n: int, dy: Array, offset: Array) -> Array:
    return _pool.max_pool2d_grad(dy, offset, _input_shape(call, dy), **_pool_arguments(call))


@_operation("AveragePool")
@_in_rows
def _run_average_pool(call: Call, n: int, x: Array) -> Array:
    return _pool.avg_pool2d(x, **_pool_arguments(call))


@_operation("AveragePoolGrad")
@_in_rows
def _run_average_pool_grad(call: Call, n: int, dy: Array) -> Array:
    return _pool.avg_pool2d_grad(dy, _input_shape(call, dy), **_pool_arguments(call))


@_operation("GlobalAveragePool")
@_in_rows
def _run_global_average_pool(call: Call, n: int, x: Array) -> Array:
    return narrow(wide(x).mean(axis=(2, 3), keepdims=True), x.dtype)


@_operation("GlobalMaxPool")
@_in_rows
def _run_global_max_pool(call: Call, n: int, x: Array) -> Array:
    return np.asarray(x.max(axis=(2, 3), keepdims=True))


@_operation("Gemm")
def _run_gemm(call: Call, n: int, a: Array, b: Array, c: Array | None = None) -> Array:
    product = _dense.matmul(a.T if call.attribute("transA") else a, b.T if call.attribute("transB") else b)
    product = product * call.attribute("alpha")
    if c is not None:
        product = product + wide(c) * call.attribute("beta")
    return narrow(product, a.dtype)


@_operation("BatchNormalization")
def _run_batch_norm(call: Call, n: int, x: Array, scale: Array, bias: Array, mean: Array, var: Array) -> Array:
    return _dense.batch_norm(x, mean, var, scale, bias, eps=call.attribute("epsilon"))


@_operation("Softmax")
def _run_softmax(call: Call, n: int, x: Array) -> Array:
    return _dense.softmax(x, int(call.attribute("axis")))


@_operation("LogSoftmax")
def _run_log_softmax(call: Call, n: int, x: Array) -> Array:
    return _dense.log_softmax(x, int(call.attribute("axis")))


@_operation("SoftmaxCrossEntropyLoss")
def _run_cross_entropy(call: Call, n: int, logits: Array, labels: Array) -> tuple[Array, Array]:
    loss = _dense.cross_entropy(logits, labels, reduction=call.attribute("reduction"))
    return loss, _dense.log_softmax(logits, 1)


@_operation("SoftmaxCrossEntropyLossGrad")
def _run_cross_entropy_grad(call: Call, n: int, log_prob: Array, labels: Array, dloss: Array) -> Array:
    return _dense.cross_entropy_grad(log_prob, labels, dloss, reduction=call.attribute("reduction"))


def _shape_of(call: Call, n: int) -> tuple[int, ...]:
    kind = infer(call.node, call.types, call.constants)[0]
    return tuple(n if dim == BATCH else int(dim) for dim in kind.shape)


@_operation("Flatten", "Reshape", "Squeeze", "Unsqueeze")
def _run_reshape(call: Call, n: int, x: Array, shape: Array | None = None) -> Array:
    return x.reshape(_shape_of(call, n))


@_operation("Concat")
def _run_concat(call: Call, n: int, *parts: Array) -> Array:
    return _shape.concat(parts, int(call.attribute("axis")))


@_operation("Split")
def _run_split(call: Call, n: int, x: Array, sizes: Array | None = None) -> tuple[Array, ...]:
    return tuple(_shape.split(x, split_sizes(call), int(call.attribute("axis"))))


@_operation("Slice")
def _run_slice(call: Call, n: int, x: Array, *unused: Array | None) -> Array:
    for axis, (cut, size) in enumerate(zip(cuts_of(call), call.types[call.tensor("x")].shape, strict=True)):
        if not cut.keeps(size):
            x = np.take(x, cut.start + cut.step * np.arange(cut.count), axis=axis)
    return x


@_operation("SliceGrad")
def _run_slice_grad(call: Call, n: int, dy: Array) -> Array:
    dx = np.zeros(_shape_of(call, n), dy.dtype)
    sizes = dx.shape
    places = [
        np.arange(size) if cut.keeps(BATCH if cut.count == 0 else size) else cut.start + cut.step * np.arange(cut.count)
        for cut, size in zip(cuts_of(call), sizes, strict=True)
    ]
    dx[np.ix_(*places)] = dy
    return dx


@_operation("Gather")
def _run_gather(call: Call, n: int, data: Array, indices: Array) -> Array:
    axis = int(call.attribute("axis")) % data.ndim
    found = _shape.embedding(indices, np.moveaxis(data, axis, 0))
    return np.ascontiguousarray(np.moveaxis(found, range(indices.ndim), range(axis, axis + indices.ndim)))


@_operation("Transpose")
def _run_transpose(call: Call, n: int, x: Array) -> Array:
    return np.ascontiguousarray(x.transpose(permutation_of(call)))


@_operation("Expand")
def _run_expand(call: Call, n: int, x: Array, shape: Array) -> Array:
    return _shape.expand(x, _shape_of(call, n))


@_operation("Pad")
def _run_pad(call: Call, n: int, x: Array, pads: Array, value: Array | None = None, axes: Array | None = None) -> Array:
    return plain.pad(x, pad_widths(call), 0.0 if value is None else value.item())


@_operation("Resize")
@_in_rows
def _run_resize(call: Call, n: int, x: Array, *unused: Array | None) -> Array:
    made = resizing_of(call)
    return _resize.resize(x, made.new, **_resize_arguments(made))


@_operation("ResizeGrad")
@_in_rows
def _run_resize_grad(call: Call, n: int, dy: Array) -> Array:
    return _resize.resize_grad(dy, _input_shape(call, dy), **_resize_arguments(resizing_of(call)))


def _resize_arguments(made: Resizing) -> dict[str, Any]:
    return {
        "mode": {"linear": "bilinear"}.get(made.mode, made.mode),
        "scale": made.scales,
        "nearest": made.nearest,
        "coordinates": made.coordinates,
        "window": made.window,
        "cubic": made.cubic,
        "antialias": made.antialias,
        "inside": made.inside,
    }


@_operation("ReduceSum")
def _run_reduce_sum(call: Call, n: int, x: Array, axes: Array | None = None) -> Array:
    total = _summable(x).sum(axis=reduce_axes(call), keepdims=bool(call.attribute("keepdims")))
    return narrow(total, x.dtype)


@_operation("ReduceMean")
def _run_reduce_mean(call: Call, n: int, x: Array, axes: Array | None = None) -> Array:
    mean = _summable(x).mean(axis=reduce_axes(call), keepdims=bool(call.attribute("keepdims")))
    return narrow(mean, x.dtype)


@_operation("ReduceMax")
def _run_reduce_max(call: Call, n: int, x: Array, axes: Array | None = None) -> Array:
    return _shape.amax(x, reduce_axes(call), bool(call.attribute("keepdims")))


@_operation("ReduceMin")
def _run_reduce_min(call: Call, n: int, x: Array, axes: Array | None = None) -> Array:
    return _shape.amin(x, reduce_axes(call), bool(call.attribute("keepdims")))


@_operation("ReduceL2")
def _run_reduce_l2(call: Call, n: int, x: Array, axes: Array | None = None) -> Array:
    squares = np.square(_summable(x)).sum(axis=reduce_axes(call), keepdims=bool(call.attribute("keepdims")))
    return narrow(np.sqrt(squares), x.dtype)


@_operation("MatMul")
def _run_matmul(call: Call, n: int, a: Array, b: Array) -> Array:
    return narrow((wide(a)[..., np.newaxis] * wide(b)[..., np.newaxis, :, :]).sum(axis=-2), a.dtype)


@_operation("ArgMax")
def _run_arg_max(call: Call, n: int, x: Array) -> Array:
    return _place_of(call, x, np.argmax)


@_operation("ArgMin")
def _run_arg_min(call: Call, n: int, x: Array) -> Array:
    return _place_of(call, x, np.argmin)


def _place_of(call: Call, x: Array, best: Callable[..., Array]) -> Array:
    axis = int(call.attribute("axis"))
    if call.attribute("select_last_index"):
        return np.asarray(
            x.shape[axis] - 1 - best(np.flip(x, axis), axis=axis, keepdims=bool(call.attribute("keepdims")))
        )
    return np.asarray(best(x, axis=axis, keepdims=bool(call.attribute("keepdims"))))


@_operation("Clip")
def _run_clip(call: Call, n: int, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    return plain.clip(x, None if low is None else low.item(), None if high is None else high.item())


@_operation("LeakyRelu")
def _run_leaky_relu(call: Call, n: int, x: Array) -> Array:
    return act.leaky_relu(x, call.attribute("alpha"))


@_operation("PRelu")
def _run_prelu(call: Call, n: int, x: Array, slope: Array) -> Array:
    return act.prelu(x, slope)


@_operation("Elu")
def _run_elu(call: Call, n: int, x: Array) -> Array:
    return act.elu(x, call.attribute("alpha"))


@_operation("Selu")
def _run_selu(call: Call, n: int, x: Array) -> Array:
    return act.selu(x, call.attribute("alpha"), call.attribute("gamma"))


@_operation("HardSigmoid")
def _run_hard_sigmoid(call: Call, n: int, x: Array) -> Array:
    return act.hardsigmoid(x, call.attribute("alpha"), call.attribute("beta"))


@_operation("Gelu")
def _run_gelu(call: Call, n: int, x: Array) -> Array:
    return act.gelu(x, call.attribute("approximate"))


@_operation("LayerNormalization")
def _run_layer_norm(call: Call, n: int, x: Array, scale: Array | None = None, bias: Array | None = None) -> Array:
    axis = int(call.attribute("axis")) % x.ndim
    return _norm.layer_norm(x, x.shape[axis:], scale, bias, eps=call.attribute("epsilon"))


@_operation("InstanceNormalization")
def _run_instance_norm(call: Call, n: int, x: Array, scale: Array | None = None, bias: Array | None = None) -> Array:
    return _norm.instance_norm(x, scale, bias, eps=call.attribute("epsilon"))


@_operation("GroupNormalization")
def _run_group_norm(call: Call, n: int, x: Array, scale: Array | None = None, bias: Array | None = None) -> Array:
    return _norm.group_norm(x, call.attribute("num_groups"), scale, bias, eps=call.attribute("epsilon"))


@_operation("Dropout")
def _run_dropout(call: Call, n: int, x: Array, *unused: Array | None) -> Array:
    return x


@_operation("DropoutMask")
def _run_dropout_mask(call: Call, n: int, x: Array, key: Array) -> Array:
    return _norm.dropout_mask(x.shape, call.attribute("ratio"), int(key[0]), int(key[1]), call.attribute("node"))


@_operation("Quantize")
def _run_quantize(call: Call, n: int, x: Array, scale: Array, zero: Array) -> Array:
    return _quantise.quantize(x, scale, zero, call.attribute("low"), call.attribute("high"))


@_operation("Dequantize")
def _run_dequantize(call: Call, n: int, q: Array, scale: Array, zero: Array) -> Array:
    return _quantise.dequantize(q, scale, zero)


def _summable(x: Array) -> Array:
    return wide(x) if x.dtype.kind == "f" else x


def _element_wise(function: Callable[..., Any]) -> _Operation:
    def operation(call: Call, n: int, *operands: Array) -> Array:
        with np.errstate(all="ignore"):  # IEEE's answers (inf, NaN) are the answers
            return np.asarray(function(*operands))

    return operation


_ELEMENT_WISE: dict[str, Callable[..., Any]] = {
    "Relu": plain.relu,
    "Sigmoid": plain.sigmoid,
    "Tanh": plain.tanh,
    "Exp": arith.exp,
    "Log": arith.log,
    "Sqrt": arith.sqrt,
    "Abs": arith.abs,
    "Neg": arith.neg,
    "Sign": arith.sign,
    "Round": _quantise.round,
    "Identity": np.asarray,
    "StopGradient": np.asarray,
    "Erf": act.erf,
    "Expm1": arith.expm1,
    "Log1p": arith.log1p,
    "Softplus": act.softplus,
    "Mish": act.mish,
    "HardSwish": act.hardswish,
    "Reciprocal": arith.reciprocal,
    "Pow": arith.pow,
    "Add": arith.add,
    "Sub": arith.sub,
    "Mul": arith.mul,
    "Div": arith.div,
    "Max": arith.maximum,
    "Min": arith.minimum,
    "Greater": arith.greater,
    "GreaterOrEqual": arith.greater_equal,
    "Less": arith.less,
    "LessOrEqual": arith.less_equal,
    "Equal": arith.equal,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Not": np.logical_not,
    "Where": arith.where,
}
_TABLE.update({name: _element_wise(function) for name, function in _ELEMENT_WISE.items()})
