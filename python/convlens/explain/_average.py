"""Sums of gradients over many variants of each image: the loop under integrated gradients and SmoothGrad."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ._goal import Goal
from ._progress import Progress
from ._split import Split, find_split
from ._task import Task

Array = npt.NDArray[Any]


#: Of fewer variants, many images at once gain more than one carry less for each.
FEWEST_SPLIT = 16


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


@dataclass(frozen=True)
class Line:
    """Variants on the straight lines from the starts to the images, at `shares` (n_variants,) of the way."""

    starts: Array
    images: Array
    shares: Array

    def __call__(self, image: int, samples: range) -> Array:
        way = self.images[image] - self.starts[image]
        shares = self.shares[samples.start : samples.stop].astype(way.dtype).reshape(-1, *[1] * way.ndim)
        return np.asarray(self.starts[image] + shares * way)


def weighted_sum(
    task: Task,
    goal: Goal,
    chosen: Array,
    variants: Callable[[int, range], Array],
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
    variants : callable
        ``variants(image, samples)`` are the inputs (len(samples), C, H, W) of some variants of an image. Along a
        :class:`Line` the affine beginning runs at its ends alone.
    weights : ndarray of shape (n_variants,), float64
    progress : Progress
        Steps once for each variant of each image.

    Returns
    -------
    Sums
        Over the chosen images. An interrupt ends the loop; what was added stays.

    Notes
    -----
    Variants are added one by one in their order: the bits do not depend on the batches they ran in. Of many variants
    the gradients are added behind the network's affine beginning (its first convolution), each times its weight, and
    carried through that once; else at the input, in double.
    """
    sums = Sums(np.zeros((len(chosen), *task.images.shape[1:])), np.zeros(len(chosen), np.int64))
    split = None
    if len(weights) >= FEWEST_SPLIT:
        split = find_split(task.net, task.subject, task.output, line=isinstance(variants, Line))
    if split is not None:
        return _split_sum(task, split, goal, chosen, variants, weights, progress, sums)
    name = task.plan.results[task.entry][0]
    try:
        for start in range(0, len(chosen), task.batch_size):
            rows = np.arange(start, min(start + task.batch_size, len(chosen)))
            images = chosen[rows]
            at_once = max(1, task.batch_size // len(rows))
            for first in range(0, len(weights), at_once):
                steps = range(first, min(first + at_once, len(weights)))
                batch = np.stack([variants(image, steps) for image in images], axis=1)
                batch = batch.reshape(-1, *batch.shape[2:])
                repeated = goal.take(np.tile(images, len(steps)))
                gradients = task.run(batch, np.tile(images, len(steps)), repeated)[name]
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


def _split_sum(
    task: Task,
    split: Split,
    goal: Goal,
    chosen: Array,
    variants: Callable[[int, range], Array],
    weights: Array,
    progress: Progress,
    sums: Sums,
) -> Sums:
    """Image by image, as many variants at once as fit."""
    at_once = min(task.fitting(split.body), len(weights))
    for once in filter(None, (split.beginning, split.ahead)):
        task.fitting(once)  # one image does, or this says so
    for row, image in enumerate(chosen):
        state = split.begin()
        try:
            line = variants if isinstance(variants, Line) and split.ahead else None
            ends = {} if line is None else split.ends(line.starts[image], line.images[image])
            for first in range(0, len(weights), at_once):
                steps = range(first, min(first + at_once, len(weights)))
                if line is None:
                    batch = {task.subject.name: variants(image, steps)}
                else:
                    batch = ends | split.between(line.shares[first : steps.stop])
                which = np.full(len(steps), image)
                _add_gradients(task, split, state, batch, which, goal.take(which), weights[first : steps.stop])
                sums.done[row] += len(steps)
                progress.step(len(steps))
        except KeyboardInterrupt:
            if not sums.done.any():
                raise
            sums.interrupted = True
        if sums.done[row]:
            sums.total[row] = split.carry(state, task.images)
        if sums.interrupted:
            break
    return sums


def _add_gradients(
    task: Task, split: Split, state: Any, batch: dict[str, Array], which: Array, goal: Goal, weights: Array
) -> None:
    cut = split.cut
    with split.body.workspace(len(which)) as workspace:
        inputs = batch | {name: array[which] for name, array in task.held.items()}
        logits = workspace.run("forward", inputs, task.weights, state)[task.output.name]
        seed = goal.seed(logits) * weights.astype(logits.dtype).reshape(-1, *[1] * (logits.ndim - 1))
        workspace.run("gradient", {cut.seed: seed}, task.weights, state)
