"""Shape inference: one row per operator, in the modules imported here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from .._errors import UnsupportedError
from . import (  # noqa: F401  (they register the rows)
    _resize,
    _shapes_dense,
    _shapes_elementwise,
    _shapes_move,
    _shapes_norm,
    _shapes_window,
)
from ._ir import Node, TensorType
from ._registry import OPERATORS, Operator, call_of


def infer(
    node: Node, types: Mapping[str, TensorType], constants: Mapping[str, npt.NDArray[Any]]
) -> tuple[TensorType, ...]:
    """The types of a node's outputs.

    Parameters
    ----------
    node : Node
    types : mapping of tensor name to TensorType
        The types of at least the node's inputs.
    constants : mapping of tensor name to ndarray
        Values known before any data is: shapes, axes, pads.

    Returns
    -------
    tuple of TensorType
        One per output that the operator can have, in order.

    Raises
    ------
    ValueError
        If an operand or attribute breaks the operator's rule; the text names node, operator, rule and shapes.
    UnsupportedError
        If the operator is not in the operator set, or is asked for something convlens does not do.
    """
    where = f"node {node.name!r} ({node.op})"
    operator = OPERATORS.get(node.op)
    if operator is None:
        raise UnsupportedError(f"{where}: no such operator; the operator set is {', '.join(sorted(OPERATORS))}")
    try:
        _check_arity(node, operator)
        result = operator.rule(call_of(node, types, constants))
    except UnsupportedError as error:
        raise UnsupportedError(f"{where}: {error}{_operands(node, operator, types)}") from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}{_operands(node, operator, types)}") from None
    return result if isinstance(result, tuple) else (result,)


def _check_arity(node: Node, operator: Operator) -> None:
    names = operator.operands
    if len(node.inputs) > len(names) and not operator.variadic:
        raise ValueError(f"{len(node.inputs)} inputs are given, it takes at most {len(names)}: {', '.join(names)}")
    for index, name in enumerate(names[: operator.required]):
        if index >= len(node.inputs) or not node.inputs[index]:
            raise ValueError(f"`{name}` (input {index}) is missing")
    unknown = sorted(set(node.attributes) - set(operator.attributes))
    if unknown:
        known = ", ".join(sorted(operator.attributes)) or "none"
        raise ValueError(f"`{unknown[0]}` is not one of its attributes ({known})")


def _operands(node: Node, operator: Operator, types: Mapping[str, TensorType]) -> str:
    names = operator.operands
    if operator.variadic:
        names = tuple(f"{names[0]}[{i}]" for i in range(len(node.inputs)))
    named = zip(names, node.inputs, strict=False)
    parts = [f"`{name}` {tensor!r} is {types[tensor]}" for name, tensor in named if tensor in types]
    return f" [{'; '.join(parts)}]" if parts else ""
