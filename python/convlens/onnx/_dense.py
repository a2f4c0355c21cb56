"""Matrix products, softmax, reductions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._errors import UnsupportedError
from ._registry import handles
from ._site import Site


@handles("Gemm")
def _gemm(site: Site) -> str:
    """Put alpha and beta into the weights: a product has none of them at run time."""
    a, b = site.tensor(0), site.tensor(1)
    alpha, beta = float(site.attribute("alpha", 1.0)), float(site.attribute("beta", 1.0))
    transposed = {"transA": int(site.attribute("transA", 0)), "transB": int(site.attribute("transB", 0))}
    columns = site.shape(1)[0 if transposed["transB"] else 1]
    if alpha != 1 and site.knows(1):
        b = site.constant(site.known(1, "B") * np.float32(alpha), f"{site.inputs[1]}.scaled")
    elif alpha != 1:
        a = site.emit("Mul", [a, site.scalar(alpha, a)])
    if not site.has(2) or beta == 0:
        return site.finish("Gemm", [a, b], **transposed)
    if site.knows(2):
        c = site.known(2, "C")
        if c.ndim < 2 or c.shape[0] == 1:  # one value a column
            full = np.broadcast_to(c, (1, int(columns))).reshape(-1)
            same = beta == 1 and c.shape == full.shape
            bias = site.tensor(2) if same else site.constant(full * np.float32(beta), f"{site.inputs[2]}.row")
            return site.finish("Gemm", [a, b, bias], **transposed)
    product, rest = site.emit("Gemm", [a, b], **transposed), site.tensor(2)
    if beta != 1:
        rest = site.emit("Mul", [rest, site.scalar(beta, rest)])
    return site.finish("Add", [product, rest])


@handles("MatMul")
def _matmul(site: Site) -> str:
    """Rows times a matrix of weights: a Gemm, or a convolution of size 1 over what lies between."""
    rank_a, rank_b = site.rank(0), site.rank(1)
    if rank_b == 2 and not site.type(1).batched and rank_a >= 2:
        return _rows_times_weight(site, rank_a)
    if rank_b == 1:
        site.keep_images_apart(site.tensor(0), [rank_a - 1], "the summed axis")
        product = site.emit("Mul", [site.tensor(0), site.tensor(1)])
        return site.finish("ReduceSum", [product, site.numbers([rank_a - 1], "axes")], keepdims=0)
    if rank_a == 1:
        column = site.emit("Unsqueeze", [site.tensor(0), site.numbers([1], "axes")])
        product = site.emit("Mul", [column, site.tensor(1)])
        return site.finish("ReduceSum", [product, site.numbers([rank_b - 2], "axes")], keepdims=0)
    inner = site.shape(0)[-1], site.shape(1)[-2]
    if inner[0] != inner[1]:
        raise ValueError(f"{inner[0]} columns meet {inner[1]} rows; they must be equal")
    rank = max(rank_a, rank_b)
    if rank > 6 or "N" in (*inner, site.shape(1)[-1]):
        raise UnsupportedError(f"its operands are {site.type(0)} and {site.type(1)}; supported: up to 6 axes, N first")
    if rank_a == rank_b > 2 and site.type(0).batched and site.type(1).batched:
        return site.finish("MatMul", _matrices(site))
    a = site.emit("Unsqueeze", [site.tensor(0), site.numbers([rank_a], "axes")])
    b = site.tensor(1)
    if rank_b == 2 and site.type(1).batched:
        raise UnsupportedError(f"its second operand is {site.type(1)}; images are computed one by one")
    b = site.emit("Unsqueeze", [b, site.numbers([rank_b - 2], "axes")])
    product = site.emit("Mul", [a, b])
    return site.finish("ReduceSum", [product, site.numbers([rank - 1], "axes")], keepdims=0)


def _matrices(site: Site) -> list[str]:
    """Both operands with the same axes before the last two."""
    shapes = [site.sizes(index) for index in range(2)]
    lead = [max(pair) for pair in zip(shapes[0][:-2], shapes[1][:-2], strict=True)]
    made = []
    for index, sizes in enumerate(shapes):
        wanted = (*lead, *sizes[-2:])
        x = site.tensor(index)
        made.append(x if wanted == sizes else site.emit("Expand", [x, site.numbers([1, *wanted], "shape")]))
    return made


def _rows_times_weight(site: Site, rank: int) -> str:
    x, weight = site.tensor(0), site.tensor(1)
    if rank == 2:
        return site.finish("Gemm", [x, weight])
    if not site.knows(1):
        raise UnsupportedError(f"its operands are {site.type(0)} and {site.type(1)}; the second must be a constant")
    sizes = site.sizes(0)
    if rank > 4:
        x = site.reshape(x, (math.prod(sizes[:-1]), sizes[-1]))
    axes = min(rank, 5) - 2 if rank <= 4 else 1
    array = site.known(1, "B").T
    kernel = site.constant(array.reshape(*array.shape, *(1,) * axes), f"{site.inputs[1]}.kernel")
    first = site.emit("Transpose", [x], perm=(0, axes + 1, *range(1, axes + 1)))
    product = site.emit("Conv", [first, kernel], kernel_shape=(1,) * axes)
    perm = (0, *range(2, axes + 2), 1)
    if rank <= 4:
        return site.finish("Transpose", [product], perm=perm)
    return site.reshape(site.emit("Transpose", [product], perm=perm), (*sizes[:-1], array.shape[0]), last=True)


@handles("ArgMax", "ArgMin")
def _arg_extremum(site: Site) -> str:
    x = site.tensor(0)
    axis = site.axis(int(site.attribute("axis", 0)), site.rank(0))
    site.keep_images_apart(x, [axis], "axis")
    how = {name: int(site.attribute(name, default)) for name, default in (("keepdims", 1), ("select_last_index", 0))}
    return site.finish(site.op, [x], axis=axis, **how)


@handles("ReduceProd")
def _reduce_prod(site: Site) -> str:
    """Halve each axis by multiplying its halves."""
    x, rank = site.tensor(0), site.rank(0)
    given = site.ints("axes", 1)
    whole = not given and not site.attribute("noop_with_empty_axes", 0)
    axes = list(range(rank)) if whole else [site.axis(axis, rank, "axes") for axis in given or []]
    site.keep_images_apart(x, axes, "axes")
    for axis in axes:
        size = int(site.type_of(x).shape[axis])
        if size < 1:
            raise UnsupportedError(f"axis {axis} has no elements; supported: one or more")
        while size > 1:
            half = size // 2
            parts = [_span(site, x, axis, start, start + half) for start in (0, half)]
            product = site.emit("Mul", parts)
            x = site.emit("Concat", [product, _span(site, x, axis, 2 * half, size)], axis=axis) if size % 2 else product
            size -= half
    if site.attribute("keepdims", 1) or not axes:
        return site.finish("Identity", [x])
    return site.finish("Squeeze", [x, site.numbers(axes, "axes")])


def _span(site: Site, x: str, axis: int, start: int, end: int) -> str:
    values = (start, "start"), (end, "end"), (axis, "axis"), (1, "step")
    return site.emit("Slice", [x, *(site.numbers([value], name) for value, name in values)])


@handles("Softmax", "LogSoftmax")
def _softmax(site: Site) -> str:
    """Before opset 13 over all axes from `axis` on, as if they were one."""
    x, rank = site.tensor(0), site.rank(0)
    if site.opset >= 13:
        return site.finish(site.op, [x], axis=site.axis(int(site.attribute("axis", -1)), rank))
    axis = site.axis(int(site.attribute("axis", 1)), rank)
    site.keep_images_apart(x, [axis], "axis")
    if axis == rank - 1:
        return site.finish(site.op, [x], axis=axis)
    if axis == 0:
        raise UnsupportedError("`axis` (=0) is the batch")
    sizes = site.sizes(0)
    flat = site.reshape(x, (*sizes[: axis - 1], math.prod(sizes[axis - 1 :])))
    return site.reshape(site.emit(site.op, [flat], axis=axis), sizes, last=True)


_PLAIN = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2")
_MADE = ("ReduceL1", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")


@handles(*_PLAIN, *_MADE)
def _reduce(site: Site) -> str:
    x, rank = site.tensor(0), site.rank(0)
    axes = site.ints("axes", 1)
    if not axes:
        if site.attribute("noop_with_empty_axes", 0):
            axes, over = [], []
        else:
            axes = over = list(range(rank))
    else:
        over = [site.axis(axis, rank, "axes") for axis in axes]
    site.keep_images_apart(x, over, "axes")
    keep: dict[str, Any] = {"keepdims": int(site.attribute("keepdims", 1))}
    if not over:
        keep["noop_with_empty_axes"] = 1
    along = site.numbers(over, "axes")
    if site.op in _PLAIN:
        return site.finish(site.op, [x, along], **keep)
    if site.op == "ReduceL1":
        return site.finish("ReduceSum", [site.emit("Abs", [x]), along], **keep)
    if site.op == "ReduceSumSquare":
        return site.finish("ReduceSum", [site.emit("Mul", [x, x]), along], **keep)
    if site.op == "ReduceLogSum":
        return site.finish("Log", [site.emit("ReduceSum", [x, along], **keep)])
    top = site.emit("ReduceMax", [x, along], keepdims=1, **{k: v for k, v in keep.items() if k != "keepdims"})
    shifted = site.emit("Exp", [site.emit("Sub", [x, top])])
    logarithm = site.emit("Log", [site.emit("ReduceSum", [shifted, along], **keep)])
    if not keep["keepdims"] and over:
        top = site.emit("Squeeze", [top, along])
    return site.finish("Add", [logarithm, top])
