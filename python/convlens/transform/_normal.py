"""What layer, instance and group normalisation share: which numbers have common statistics, and the arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..graph import BATCH, Call, Shape, axis_of
from ._emit import Emitter

NORMALISATIONS = ("LayerNormalization", "InstanceNormalization", "GroupNormalization")


@dataclass(frozen=True)
class Norm:
    """A normalisation by views, each a shape to reshape to.

    Attributes
    ----------
    view : where the statistics are those of `axes`
    affine : where scale and bias broadcast, in the shape `vector`
    sums : the axes of `affine` that a gradient of scale or bias is summed over, in turns
    """

    view: Shape
    axes: tuple[int, ...]
    affine: Shape
    vector: tuple[int, ...]
    sums: tuple[tuple[int, ...], ...]


def norm_of(call: Call) -> Norm:
    """The views of a node of :data:`NORMALISATIONS`."""
    shape = call.kind("x").shape
    places = tuple(range(2, len(shape)))
    if call.node.op == "LayerNormalization":
        return _layer(shape, axis_of(int(call.attribute("axis")), len(shape)))
    groups = int(call.attribute("num_groups")) if call.node.op == "GroupNormalization" else int(shape[1])
    vector, sums = (int(shape[1]),) + (1,) * len(places), ((0, *places),)
    if groups == shape[1] and places:
        return Norm(shape, places, shape, vector, sums)
    view = (shape[0], groups, math.prod(int(dim) for dim in shape[1:]) // groups)
    return Norm(view, (2,), shape, vector, sums)


def _layer(shape: Shape, axis: int) -> Norm:
    inner = math.prod(int(dim) for dim in shape[axis:])
    outer = math.prod(int(dim) for dim in shape[1:axis])
    if axis == 0:
        return Norm((inner,), (0,), (inner,), (inner,), ())
    if outer == 1:  # a row an image, so that scale and bias are one number a channel
        return Norm((shape[0], inner), (1,), (shape[0], inner), (inner,), ((0,),))
    if axis == 2:
        vector = tuple(int(dim) for dim in shape[2:])
        return Norm(shape, tuple(range(2, len(shape))), shape, vector, ((1,), (0,)))
    view = (shape[0], outer, inner)
    return Norm(view, (2,), view, (inner,), ((1,), (0,)))


def reshaped(e: Emitter, tensor: str, shape: Sequence[int | str]) -> str:
    """`tensor` in another shape; itself when it has it."""
    if e.type(tensor).shape == tuple(shape):
        return tensor
    return e.emit("Reshape", [tensor, e.ints([0 if dim == BATCH else int(dim) for dim in shape])])


def standardised(e: Emitter, x: str, axes: Sequence[int], epsilon: float) -> tuple[str, str]:
    """``(x - mean) / deviation`` with the exact variance, in two passes, and the deviation."""
    mean = e.emit("ReduceMean", [x, e.ints(axes)])
    centred = e.sub(x, mean)
    variance = e.emit("ReduceMean", [e.mul(centred, centred), e.ints(axes)])
    deviation = e.emit("Sqrt", [e.add(variance, e.scalar(epsilon))])
    return e.div(centred, deviation), deviation


def expand_norm(e: Emitter, call: Call) -> str:
    """Write a normalisation as reductions and arithmetic; returns its result."""
    norm, x = norm_of(call), call.tensor("x")
    normal, _ = standardised(e, reshaped(e, x, norm.view), norm.axes, float(call.attribute("epsilon")))
    y = reshaped(e, normal, norm.affine)
    if call.has("scale"):
        y = e.mul(y, reshaped(e, call.tensor("scale"), norm.vector))
    if call.has("bias"):
        y = e.add(y, reshaped(e, call.tensor("bias"), norm.vector))
    return reshaped(e, y, e.type(x).shape)
