"""Shape rules of matrix products, softmax and losses, reductions and changes of shape."""

from __future__ import annotations

import math

from .._errors import UnsupportedError
from ._ir import BATCH, Dim, Shape, TensorType
from ._registry import FLOATS, NUMBERS, Call, axis_of, broadcast, shape_rule, show


@shape_rule("Gemm", "a b c?", alpha=1.0, beta=1.0, transA=0, transB=0)
def _gemm(call: Call) -> TensorType:
    a = call.kind("a", FLOATS, rank=2)
    b = call.kind("b", (a.dtype,), rank=2)
    rows, inner = reversed(a.shape) if call.attribute("transA") else a.shape
    inner_b, columns = reversed(b.shape) if call.attribute("transB") else b.shape
    if inner != inner_b:
        raise ValueError(
            f"`a` has {inner} columns and `b` {inner_b} rows (after transA = {call.attribute('transA')}, "
            f"transB = {call.attribute('transB')}); they must be equal"
        )
    if columns == BATCH:
        raise ValueError("the batch N would become the second axis of the output; it must stay the first")
    shape: Shape = (rows, columns)
    if call.has("c") and broadcast(shape, call.kind("c", (a.dtype,)).shape) != shape:
        raise ValueError(f"`c` must broadcast to the output {show(shape)}")
    return TensorType(a.dtype, shape)


@shape_rule("MatMul", "a b")
def _matmul(call: Call) -> TensorType:
    a = call.kind("a", FLOATS)
    b = call.kind("b", (a.dtype,))
    if len(a.shape) < 3 or len(a.shape) != len(b.shape) or not a.batched or a.shape[:-2] != b.shape[:-2]:
        raise ValueError(
            f"`a` is {show(a.shape)} and `b` {show(b.shape)}; they must have three axes or more, of one batch, and the "
            "same sizes but for the last two"
        )
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(f"`a` has {a.shape[-1]} columns and `b` {b.shape[-2]} rows; they must be equal")
    return TensorType(a.dtype, (*a.shape[:-1], b.shape[-1]))


def _softmax(call: Call) -> TensorType:
    x = call.kind("x")
    axis = axis_of(int(call.attribute("axis")), len(x.shape))
    if x.shape[axis] == BATCH:
        raise ValueError(f"`axis` (={call.attribute('axis')}) is the batch; images do not share a softmax")
    return x


for _name in ("Softmax", "LogSoftmax"):
    shape_rule(_name, "x", axis=-1)(_softmax)


@shape_rule("SoftmaxCrossEntropyLoss", "logits labels weights?", reduction="mean")
def _cross_entropy(call: Call) -> tuple[TensorType, ...]:
    logits = call.kind("logits")
    if call.has("weights"):
        raise UnsupportedError("`weights` of classes are unsupported; leave them out")
    labels = _labels(call, logits)
    return TensorType(logits.dtype, _loss_shape(call, labels)), logits


@shape_rule("SoftmaxCrossEntropyLossGrad", "log_prob labels dloss", reduction="mean")
def _cross_entropy_grad(call: Call) -> TensorType:
    log_prob = call.kind("log_prob")
    shape = _loss_shape(call, _labels(call, log_prob))
    if call.kind("dloss", (log_prob.dtype,)).shape != shape:
        raise ValueError(f"`dloss` must have the loss's shape {show(shape)}")
    return log_prob


def _labels(call: Call, logits: TensorType) -> TensorType:
    if len(logits.shape) < 2:
        raise ValueError("the logits must have a class axis: (N, classes, ...)")
    labels = call.kind("labels", ("int64", "int32"))
    wanted = (logits.shape[0], *logits.shape[2:])
    if labels.shape != wanted:
        raise ValueError(f"`labels` must have shape {show(wanted)}: one class an image (and place)")
    return labels


def _loss_shape(call: Call, labels: TensorType) -> Shape:
    reduction = call.attribute("reduction")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"`reduction` (={reduction!r}) must be 'mean', 'sum' or 'none'")
    return labels.shape if reduction == "none" else ()


@shape_rule("Flatten", "x", axis=1)
def _flatten(call: Call) -> TensorType:
    x = call.kind("x", (*NUMBERS, "bool"))
    rank = len(x.shape)
    axis = int(call.attribute("axis"))
    if not -rank <= axis <= rank:
        raise ValueError(f"`axis` (={axis}) must lie in [{-rank}, {rank}] for {rank} axes")
    axis = axis + rank if axis < 0 else axis
    if x.batched and axis != 1:
        raise UnsupportedError(f"`axis` (={axis}) must be 1: the batch N cannot be mixed with other axes")
    front = x.shape[0] if x.batched else math.prod(int(d) for d in x.shape[:axis])
    return TensorType(x.dtype, (front, math.prod(int(d) for d in x.shape[axis:])))


@shape_rule("Reshape", "x shape", allowzero=0)
def _reshape(call: Call) -> TensorType:
    x = call.kind("x", (*NUMBERS, "bool"))
    if call.attribute("allowzero"):
        raise UnsupportedError("`allowzero` must be 0: a 0 in `shape` copies the input's size")
    wanted = [int(v) for v in call.constant("shape").reshape(-1)]
    if wanted.count(-1) > 1 or min(wanted, default=0) < -1:
        raise ValueError(f"`shape` (={wanted}) may hold one -1, zeros (copy the input's size) and sizes")
    if 0 in wanted[len(x.shape) :]:
        raise ValueError(f"`shape` (={wanted}) copies an axis that the input does not have")
    out: list[Dim] = [x.shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    old = math.prod(x.per_image)
    if x.batched and out[:1] == [-1] and math.prod(int(d) for d in out[1:]) == old:
        out[0] = BATCH
    if x.batched and out[:1] != [BATCH]:
        raise ValueError(
            f"`shape` (={wanted}) must keep the batch N as the first axis (0, or -1 with {old} elements after it)"
        )
    known = [int(d) for d in out if d != BATCH and d != -1]
    if -1 in out and old and math.prod(known) and old % math.prod(known) == 0:
        out[out.index(-1)] = old // math.prod(known)
    if -1 in out or math.prod(int(d) for d in out if d != BATCH) != old:
        raise ValueError(
            f"`shape` (={wanted}) must keep the number of elements, {old}{' an image' if x.batched else ''}"
        )
    return TensorType(x.dtype, tuple(out))


def _reduce(call: Call) -> TensorType:
    x = call.kind("x", NUMBERS)
    axes = reduce_axes(call)
    if call.attribute("keepdims"):
        return TensorType(x.dtype, tuple(1 if i in axes else dim for i, dim in enumerate(x.shape)))
    shape = tuple(dim for i, dim in enumerate(x.shape) if i not in axes)
    return TensorType(x.dtype, shape)


for _name in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2"):
    shape_rule(_name, "x axes?", keepdims=1, axes=None, noop_with_empty_axes=0)(_reduce)


def _arg_extremum(call: Call) -> TensorType:
    x = call.kind("x", FLOATS)
    axis = axis_of(int(call.attribute("axis")), len(x.shape))
    if x.shape[axis] == BATCH:
        raise ValueError(f"`axis` (={call.attribute('axis')}) is the batch; images are not compared")
    kept = (1,) if call.attribute("keepdims") else ()
    return TensorType("int64", (*x.shape[:axis], *kept, *x.shape[axis + 1 :]))


for _name in ("ArgMax", "ArgMin"):
    shape_rule(_name, "x", axis=0, keepdims=1, select_last_index=0)(_arg_extremum)


def reduce_axes(call: Call) -> tuple[int, ...]:
    """The axes that a reduction sums over, counted from the front and sorted; all of them when none is given."""
    rank = len(call.kind("x", NUMBERS).shape)
    given = call.attribute("axes")
    if call.has("axes"):
        given = [int(v) for v in call.constant("axes").reshape(-1)]
    if given is None or len(given) == 0:
        return () if call.attribute("noop_with_empty_axes") else tuple(range(rank))
    return tuple(sorted({axis_of(int(axis), rank, "axes") for axis in given}))
