"""Driving a Program over a batch of any size in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import _core

if TYPE_CHECKING:
    from ..program import Program, Weights

#: A batch is cut so that the arena stays within this; results have the same bits however it is cut.
ARENA_BYTES = 64 * 2**20


def run(
    program: Program,
    entry: str,
    inputs: Mapping[str, npt.NDArray[Any]],
    weights: Weights,
    max_bytes: int | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """Run one entry whose inputs and outputs are all batched, a chunk of images at a time."""
    n = len(next(iter(inputs.values())))
    step = chunk(program, n, max_bytes)
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


def images_at_once(program: Program, max_bytes: int | None, usual_bytes: int) -> int:
    """How many images fit in `max_bytes`; without it, in some `usual_bytes`, and at least 1.

    Raises
    ------
    ValueError
        When not even one fits in `max_bytes`.
    """
    threads = 1 if max_bytes is None else None
    fixed, one = program.arena_bytes(0, threads), program.arena_bytes(1, threads)
    if max_bytes is not None and one > max_bytes:
        raise ValueError(
            f"`max_bytes` (={max_bytes}) must be at least {one}: one image takes so many on "
            f"{_core.get_num_threads()} thread(s); raise it, or take fewer threads with ops.set_num_threads"
        )
    return int(max(1, ((max_bytes or usual_bytes) - fixed) // max(1, one - fixed)))


def chunk(program: Program, n: int, max_bytes: int | None = None) -> int:
    """How many images run at once: those that fit, and an even share of `n`."""
    fits = images_at_once(program, max_bytes, ARENA_BYTES)
    pieces = max(1, -(-n // fits))
    return max(1, -(-n // pieces))
