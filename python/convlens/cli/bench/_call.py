"""What every library makes of a case: a call without arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import UnsupportedError
from ...graph import ConvProblem, Node
from ._case import Case

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Call:
    """``run()`` is timed; ``array`` of what it returns is compared; ``keep`` holds memory that the library borrows."""

    run: Callable[[], Any]
    array: Callable[[Any], Array] = np.asarray
    keep: Any = None


Make = Callable[[Case, int], Call]


def eager(library: Any, case: Case) -> Callable[[], Array]:
    """The call of a problem to functions with the names and parameters of :mod:`convlens.ops`."""
    p, a, keywords = case.problem, case.arrays, case.keywords
    assert p is not None
    x, dy = a["x"], a["grad_output"]
    if isinstance(p, ConvProblem):
        w = a["weight"]
        if p.direction == "fwd":
            return lambda: library.conv2d(x, w, **keywords)
        if p.direction == "grad_input":
            return lambda: library.conv2d_grad_input(dy, w, x.shape, **keywords)
        return lambda: library.conv2d_grad_weight(dy, x, w.shape, **keywords)
    kernel = (p.r, p.s)
    if p.direction == "fwd":
        pool = getattr(library, f"{p.kind}_pool2d")
        return lambda: pool(x, kernel, **keywords)
    if p.kind == "max":
        indices = a["indices"]
        return lambda: library.max_pool2d_grad(dy, indices, x.shape, kernel, **keywords)
    return lambda: library.avg_pool2d_grad(dy, x.shape, kernel, **keywords)


def forward_only(library: str, case: Case) -> None:
    """Refuse a derivative for a library that has none."""
    if case.problem is not None and case.problem.direction != "fwd":
        raise UnsupportedError(f"{library} computes forward passes alone")


def has_both_bounds(node: Node) -> bool:
    """Whether a Clip has both of its optional bounds."""
    return len(node.inputs) == 3 and all(node.inputs)


def unsupported(library: str, op: str) -> UnsupportedError:
    """What to raise for an operator that a library's table lacks."""
    return UnsupportedError(f"this benchmark has no translation of {op} to {library}")
