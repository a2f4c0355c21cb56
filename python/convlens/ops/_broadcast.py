"""Programs of one node over operands that broadcast."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph import Graph
from ..transform import backward
from ._call import Array, Build, array_of, floats, run, same_dtype

# formula(b, attributes, operands ...) writes nodes and returns the result.
Formula = Callable[..., str]


def elementwise(
    op: str,
    /,
    attributes: Mapping[str, Any] | None = None,
    formula: Formula | None = None,
    **operands: npt.ArrayLike,
) -> Array:
    """Apply an operator of the graph, or a formula known by that name, to arrays by NumPy's broadcasting.

    A number takes the dtype of the arrays. What the first axis of the result is, is the batch.
    """
    arrays = _operands(operands)
    shape = _shape(arrays)
    given = dict(attributes or {})
    if 0 in shape:
        return np.zeros(shape, bool if op in _COMPARISONS else _dtype(arrays))
    views, unbatched, _ = _views(arrays, shape)
    key = (op, *sorted(given.items()), *unbatched)
    result: Array = run(key, views, lambda b: [(formula or _node(op))(b, given, *views)], unbatched)[0]
    return result.reshape(shape)


def elementwise_grad(
    op: str,
    grad_output: npt.ArrayLike,
    /,
    attributes: Mapping[str, Any] | None = None,
    formula: Formula | None = None,
    **operands: npt.ArrayLike,
) -> list[Array]:
    """Carry a gradient back to each floating-point operand, in the operand's shape."""
    arrays = _operands(operands)
    shape, given = _shape(arrays), dict(attributes or {})
    g = floats(grad_output, "grad_output")
    if g.shape != shape:
        raise ValueError(f"`grad_output` has shape {g.shape}; it must have the result's, {shape}")
    same_dtype(grad_output=g, **{name: a for name, a in arrays.items() if a.dtype.kind == "f"})
    wrt = [name for name, array in arrays.items() if array.dtype.kind == "f"]
    if 0 in shape:
        return [np.zeros_like(arrays[name]) for name in wrt]
    views, unbatched, rows = _views(arrays, shape)

    def build(b: Build) -> tuple[Graph, list[str]]:
        y = (formula or _node(op))(b, given, *views)
        graph, gradients = backward(b.builder.build([y]), y, wrt, seed="grad_output")
        return graph, [gradients[name] for name in wrt]

    seeds = {"grad_output": g.reshape(rows)}
    results = run((f"{op}_grad", *sorted(given.items()), *unbatched), views, build, unbatched, seeds)
    return [result.reshape(arrays[name].shape) for name, result in zip(wrt, results, strict=True)]


def _node(op: str) -> Formula:
    return lambda b, attributes, *operands: b.add(op, *operands, **attributes)


_COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal")


def _operands(operands: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
    dtypes = {
        a.dtype for name, value in operands.items() for a in [array_of(value, name)] if a.ndim and a.dtype.kind == "f"
    }
    arrays = {}
    for name, value in operands.items():
        if name == "condition":
            mask = array_of(value, name)
            if mask.dtype != bool:
                raise TypeError(f"`{name}` is {mask.dtype}; it must be bool, such as {name} != 0")
            arrays[name] = np.ascontiguousarray(mask).reshape(mask.shape)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            arrays[name] = np.asarray(value, dtypes.copy().pop() if len(dtypes) == 1 else np.float64)
        else:
            arrays[name] = floats(value, name)
    same_dtype(**{name: a for name, a in arrays.items() if a.dtype.kind == "f"})
    return arrays


def _dtype(arrays: Mapping[str, Array]) -> npt.DTypeLike:
    return next(array.dtype for array in arrays.values() if array.dtype.kind == "f")


def _shape(arrays: Mapping[str, Array]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*(array.shape for array in arrays.values()))
    except ValueError:
        named = " and ".join(f"`{name}` {array.shape}" for name, array in arrays.items())
        raise ValueError(f"{named} do not broadcast: sizes, counted from the last, must be equal or 1") from None


def _views(arrays: Mapping[str, Array], shape: tuple[int, ...]) -> tuple[dict[str, Array], list[str], tuple[int, ...]]:
    """The operands as a graph takes them, with the batch in front or without one; those without; the result's shape."""
    rows: tuple[int, ...] = shape if len(shape) > 1 else (1, *shape)
    if all(array.shape == shape for array in arrays.values()):
        flat = (rows[0], math.prod(rows[1:]))
        return {name: array.reshape(flat) for name, array in arrays.items()}, [], flat
    views, unbatched = {}, []
    for name, array in arrays.items():
        view: Array = array
        if array.ndim:
            view = array.reshape((1,) * (len(rows) - array.ndim) + array.shape)
            if len(view) != rows[0]:
                view = view[0]
        if view.ndim < len(rows):
            unbatched.append(name)
        views[name] = view
    return views, unbatched, rows
