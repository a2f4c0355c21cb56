"""Resampling as ONNX's general operators have it: a product with a matrix, or a gather, along each axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph import Resizing
from ..program._resize import resize_attributes
from ._writer import Writer

Array = npt.NDArray[Any]


def matrices(made: Resizing) -> tuple[Array, Array]:
    """The matrices (new, old) that rows and columns are multiplied with, in float64."""
    numbers = iter(resize_attributes(made, gradient=False)[1:])
    found = []
    for axis in range(2):
        matrix = np.zeros((made.new[axis], made.old[axis]))
        for row in matrix:
            first, count = int(next(numbers)), int(next(numbers))
            row[first : first + count] = [next(numbers) for _ in range(count)]
        found.append(matrix)
    return found[0], found[1]


def multiplied(writer: Writer, x: str, made: Resizing, axes: Sequence[int], *, gradient: bool = False) -> None:
    """Write the resampling, or its gradient, as products with constant matrices."""
    steps: list[tuple[str, list[str], dict[str, Any]]] = []
    dtype = writer.dtype(x)
    for matrix, left in zip(matrices(made), (True, False), strict=True):
        if (left and len(axes) == 1) or np.array_equal(matrix, np.eye(*matrix.shape)):
            continue
        matrix = matrix.T if gradient else matrix
        name = writer.constant((matrix if left else matrix.T).astype(dtype), "rows" if left else "columns")
        steps.append(("MatMul", [name, ""] if left else ["", name], {}))
    writer.chain(x, steps)


def gathered(writer: Writer, x: str, made: Resizing, axes: Sequence[int]) -> None:
    """Write a resampling that copies pixels: the one that each takes, along each axis."""
    steps: list[tuple[str, list[str], dict[str, Any]]] = []
    for axis, matrix in zip(axes, matrices(made)[2 - len(axes) :], strict=True):
        places = matrix.argmax(axis=1)
        if not np.array_equal(places, np.arange(matrix.shape[1])):
            steps.append(("Gather", ["", writer.ints(places, "places")], {"axis": axis}))
    writer.chain(x, steps)
