"""Adaptive pooling, built from pools where its windows are regular and from a resampling where they are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph import GraphBuilder, adaptive_extent

_MOST_PLACES = 256  # of a window whose winner's place is a byte


def expand_adaptive_pool(
    builder: GraphBuilder,
    x: str,
    output_size: Sequence[int],
    *,
    maximum: bool,
    name: str = "adaptive_pool",
    tensor: str | None = None,
) -> str:
    """Append the mean or maximum over adaptive windows.

    Parameters
    ----------
    builder : GraphBuilder
    x : str
        A tensor (N, C, H, W) or (N, C, L).
    output_size : sequence of int
        Windows along each axis; more than inputs are allowed, as in PyTorch.
    maximum : bool
    name, tensor : str
        Of the last node and its output; `tensor` is the name when None.

    Returns
    -------
    str

    Notes
    -----
    Window i of o over H inputs is ``floor(i H / o)`` to ``ceil((i + 1) H / o)``, the end not included. Where o divides
    H, windows are those of a plain pool. Elsewhere the mean is a Resize with mode "area"; for the maximum a Resize with
    mode "windows" lays the windows side by side, the shorter ones repeating their last input, which changes no maximum
    and no first winner.
    """
    sizes = [int(size) for size in builder.types[x].shape[2:]]
    output = [tensor or name]
    if all(count == 1 for count in output_size):
        return builder.add("GlobalMaxPool" if maximum else "GlobalAveragePool", [x], name=name, outputs=output)
    if not any(size % count for size, count in zip(sizes, output_size, strict=True)):
        kernel = [size // count for size, count in zip(sizes, output_size, strict=True)]
        return _pool(builder, x, kernel, maximum, name, output)
    windows = [adaptive_extent(size, count) for size, count in zip(sizes, output_size, strict=True)]
    wanted = [w * count for w, count in zip(windows, output_size, strict=True)] if maximum else list(output_size)
    attributes: dict[str, Any] = {"mode": "area", "axes": tuple(range(2, 2 + len(sizes)))}
    if maximum:
        attributes |= {"mode": "windows", "window_shape": tuple(windows)}
    inputs = [x, "", "", builder.constant(np.array(wanted, np.int64), builder.fresh(f"{name}.sizes"))]
    if not maximum:
        return builder.add("Resize", inputs, attributes, name=name, outputs=output)
    apart = builder.add("Resize", inputs, attributes, name=builder.fresh(f"{name}.windows"))
    return _pool(builder, apart, windows, True, name, output)


def _pool(builder: GraphBuilder, x: str, kernel: Sequence[int], maximum: bool, name: str, output: Sequence[str]) -> str:
    """A pool of windows side by side; a maximum over many places first along rows, so that its gradient exists."""
    if maximum and len(kernel) == 2 and kernel[0] * kernel[1] > _MOST_PLACES:
        rows = {"kernel_shape": (1, kernel[1]), "strides": (1, kernel[1])}
        x, kernel = builder.add("MaxPool", [x], rows, name=builder.fresh(f"{name}.rows")), (kernel[0], 1)
    attributes = {"kernel_shape": tuple(kernel), "strides": tuple(kernel)}
    return builder.add("MaxPool" if maximum else "AveragePool", [x], attributes, name=name, outputs=output)
