"""Sums of gradients over many variants of each image: the loop under integrated gradients and SmoothGrad."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ._goal import Goal
from ._progress import Progress
from ._task import Task

Array = npt.NDArray[Any]


@dataclass
class Sums:
    """What a loop has added up.

    Attributes
    ----------
    total : ndarray of shape (n, C, H, W), float64
    done : ndarray of shape (n,), int64
        Variants added, for each image.
    interrupted : bool
    """

    total: Array
    done: Array
    interrupted: bool = False


def weighted_sum(
    task: Task,
    goal: Goal,
    chosen: Array,
    variant: Callable[[int, int], Array],
    weights: Array,
    progress: Progress,
) -> Sums:
    """Add up gradients of variants of the chosen images.

    Parameters
    ----------
    task : Task
        Over the program of saliency.
    goal : Goal
        Of all images, resolved on the clean ones.
    chosen : ndarray of int64
        Which images.
    variant : callable
        ``variant(image, s)`` is the input (C, H, W) of variant s of an image.
    weights : ndarray of shape (n_variants,), float64
    progress : Progress
        Steps once for each variant of each image.

    Returns
    -------
    Sums
        Over the chosen images. An interrupt ends the loop; what was added stays.

    Notes
    -----
    Variants are added one by one in their order, in double: the bits do not depend on the batches they ran in.
    """
    sums = Sums(np.zeros((len(chosen), *task.images.shape[1:])), np.zeros(len(chosen), np.int64))
    name = task.plan.results[task.entry][0]
    try:
        for start in range(0, len(chosen), task.batch_size):
            rows = np.arange(start, min(start + task.batch_size, len(chosen)))
            images = chosen[rows]
            at_once = max(1, task.batch_size // len(rows))
            for first in range(0, len(weights), at_once):
                steps = range(first, min(first + at_once, len(weights)))
                batch = np.stack([variant(image, s) for s in steps for image in images])
                repeated = goal.take(np.tile(images, len(steps)))
                gradients = task.run(batch, np.tile(images, len(steps)), repeated.seed)[name]
                for place, s in enumerate(steps):
                    part = gradients[place * len(rows) : (place + 1) * len(rows)]
                    sums.total[rows] += weights[s] * part.astype(np.float64)
                sums.done[rows] += len(steps)
                progress.step(len(batch))
    except KeyboardInterrupt:
        if not sums.done.any():
            raise
        sums.interrupted = True
    return sums
