"""Dropout in training, built from its mask and element-wise operators."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..graph import GraphBuilder


def expand_dropout(
    builder: GraphBuilder,
    x: str,
    key: str,
    ratio: float,
    *,
    node: int = 0,
    name: str = "dropout",
    outputs: Sequence[str] | None = None,
) -> str:
    """Append dropout that is active.

    Parameters
    ----------
    builder : GraphBuilder
    x : str
        A tensor (N, ...).
    key : str
        An int64 input (2,): seed and step.
    ratio : float
        The share that is dropped; the rest is divided by what stays.
    node : int
        Tells the masks of one step apart.
    name : str
        The node's name and the stem of the others.
    outputs : sequence of str, optional
        The name of the result.

    Returns
    -------
    str
    """
    dtype = builder.types[x].dtype
    mask = builder.add("DropoutMask", [x, key], {"ratio": ratio, "node": node}, name=builder.fresh(f"{name}/mask"))
    scale = builder.constant(np.array(1 / (1 - ratio) if ratio < 1 else 0, dtype), builder.fresh(f"{name}/scale"))
    scaled = builder.add("Mul", [x, scale], name=builder.fresh(f"{name}/scaled"))
    zero = builder.constant(np.array(0, dtype), builder.fresh(f"{name}/zero"))
    return builder.add("Where", [mask, scaled, zero], name=name, outputs=outputs)
