"""Driving a Program over a batch of any size in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ..program import Program, Weights

#: A batch is cut so that the arena stays within this; results have the same bits however it is cut.
ARENA_BYTES = 64 * 2**20


def run(
    program: Program, entry: str, inputs: Mapping[str, npt.NDArray[Any]], weights: Weights
) -> dict[str, npt.NDArray[Any]]:
    """Run one entry whose inputs and outputs are all batched, a chunk of images at a time."""
    n = len(next(iter(inputs.values())))
    step = chunk(program, n)
    parts = []
    for start in range(0, max(n, 1), step):
        piece = {name: array[start : start + step] for name, array in inputs.items()}
        workspace = program.workspace(min(step, n - start))
        try:
            parts.append(workspace.run(entry, piece, weights))
        finally:
            workspace.release()
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def chunk(program: Program, n: int, limit_bytes: int = ARENA_BYTES) -> int:
    """How many images fit in `limit_bytes` of arena; at least 1, and an even share of `n`."""
    fixed, one = program.arena_bytes(0, 1), program.arena_bytes(1, 1)
    fits = max(1, (limit_bytes - fixed) // max(1, one - fixed))
    pieces = max(1, -(-n // fits))
    return max(1, -(-n // pieces))
