"""RISE: which pixels the masked images that score higher have kept."""

from __future__ import annotations

import hashlib
import math
import numbers
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph import spatial_axes
from ..image import Recipe
from ..nn import Network
from ..perturb import check_seed, grid_masks
from ._baseline import make_baselines
from ._explanation import Explanation
from ._progress import Progress
from ._registry import method
from ._task import Task, at_least

Array = npt.NDArray[Any]

#: Cells along an axis, unless told.
USUAL_CELLS = 7
#: The standard error is that of the mean of this many parts of the samples ...
PARTS = 20
#: ... of at least so many each.
FEWEST = 8


@method(
    title="RISE",
    values="map",
    paper="Petsiuk, Das and Saenko, RISE: Randomized Input Sampling for Explanation, arXiv:1806.07421",
    seeded=True,
    options={"n_samples": 16},
)
def rise(
    net: Network,
    images: npt.ArrayLike,
    target: Any = None,
    *,
    n_samples: int = 4000,
    grid_size: int | tuple[int, ...] | None = None,
    p_keep: float = 0.5,
    center: bool = True,
    seed: int = 0,
    baselines: Any = None,
    of: str = "output",
    output: str | None = None,
    input: str | None = None,
    batch_size: int | None = None,
    recipe: Recipe | None = None,
    progress: bool = False,
) -> Explanation:
    """Hide random parts of each image and see which pixels were kept where the score is high.

    Parameters
    ----------
    net, images, target, of, output, input, batch_size
        As of :func:`convlens.explain.saliency`. The target is resolved once, on the whole image. An image that is in
        the call several times, each with a target of its own, is masked and run once for all of them.
    n_samples : int
        Masks for each image: forward passes. The paper takes 4000, for ResNet-50 8000.
    grid_size : int or tuple of int, optional
        Cells down and across (of signals along) the image, each kept or hidden as a whole before smoothing. The paper's
        7 by default, of images of fewer pixels their number.
    p_keep : float
        Probability that a cell is kept.
    center : bool
        Subtract the mean score of the masked images, so that zero says: keeping it makes no difference. False is the
        paper's map, around that mean, which for a logit may be any number.
    seed : int
        Of the masks, which are a function of (seed, the image's first index in the call, the sample's number) alone.
    baselines : float, array_like or {"black", "white", "mean", "blur"}, optional
        What is seen where a mask hides; 0 by default. The names need `recipe`.
    recipe : Recipe, optional
        How the images were made.
    progress : bool
        Draw a bar (extra ``[progress]``).

    Returns
    -------
    Explanation
        With values of shape (N, 1, H, W), or (N, 1, L): positive where keeping a pixel raises the score, and
        ``standard_error`` of their shape. After an interrupt (Ctrl-C) they are means over the samples done.

    Notes
    -----
    ``phi_p = 1 / (n p_keep) sum_s (f_s - mean f) M_s(p)`` with ``f_s`` the score of ``x M_s + b (1 - M_s)``: the masks'
    covariance with the score, over `p_keep`. It does not change when a number is added to all scores, as logits allow;
    the paper's sum, without ``- mean f``, does, by noise that grows with that number. [EfficientNet-Lite0 on a cat: two
    maps of 1000 masks correlate 0.95 and 0.96 with one of 6000, those of the paper's sum 0.33 and -0.24 with its own.]
    The paper explains probabilities: name their tensor as `output` for that. Masks are those of
    :func:`convlens.perturb.grid_masks`. ``standard_error`` is what another seed changes, as parts of the samples
    differ; None of fewer than 16.

    References
    ----------
    Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", arXiv:1806.07421.

    Examples
    --------
    >>> import numpy as np
    >>> from convlens import explain, nn
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(out_features=3), input_shape=(1, 8, 8), seed=0)
    >>> why = explain.rise(net, np.ones((1, 1, 8, 8), np.float32), target=2, n_samples=32, grid_size=4)
    >>> why.values.shape, why.standard_error.shape
    ((1, 1, 8, 8), (1, 1, 8, 8))
    """
    at_least("n_samples", n_samples, 1)
    check_seed(seed)
    if not isinstance(p_keep, numbers.Real) or not 0 < p_keep < 1:
        raise ValueError(f"`p_keep` (={p_keep!r}) must be a probability between 0 and 1, and neither")
    task = Task(
        net,
        "",
        images,
        target=target,
        of=of,
        output=output,
        input=input,
        batch_size=batch_size,
        method="rise",
        arguments={"n_samples": n_samples, "p_keep": p_keep, "center": center, "seed": seed, "baselines": baselines},
    )
    axes = spatial_axes(task.subject.layout)
    cells = _cells(task, axes, grid_size)
    task.arguments |= {"grid_size": cells, "recipe": recipe}
    cover = make_baselines(task.images, baselines, recipe, task.subject.layout)
    clean = task.clean()
    shape = tuple(size if axis in axes else 1 for axis, size in enumerate(task.images.shape) if axis)
    values = np.full((len(task.images), *shape), np.nan)
    errors = values.copy()
    sums: _Sums | None = None
    interrupted = False
    alike = _alike(task, cover)
    with Progress("RISE", len(alike) * n_samples, show=progress) as bar:
        try:
            for rows in alike:
                sums = _Sums(shape, len(rows), max(FEWEST, n_samples // PARTS), float(p_keep), center)
                _sample(task, rows, cover[rows[0]], axes, cells, n_samples, sums, bar)
                values[rows], errors[rows] = sums.values(), sums.standard_error()
        except KeyboardInterrupt:
            if not bar.done:
                raise
            assert sums is not None
            interrupted = True
            values[rows], errors[rows] = sums.values(), sums.standard_error()
    notes = (
        f"interrupted after {bar.done} of {len(alike) * n_samples} samples; NaN where none was done",
    ) * interrupted
    dtype = task.images.dtype
    return task.explanation(
        values.astype(dtype),
        clean,
        standard_error=errors.astype(dtype) if n_samples >= 2 * FEWEST else None,
        converged=not interrupted,
        notes=notes,
    )


class _Sums:
    """Running sums over the masks of one image, for several goals: no mask is kept.

    Parameters
    ----------
    shape : tuple of int
        Of a map.
    goals : int
    part : int
        Samples of a part, whose maps' spread gives the standard error.
    p_keep : float
    center : bool
    """

    def __init__(self, shape: tuple[int, ...], goals: int, part: int, p_keep: float, center: bool) -> None:
        self.part = part
        self.p_keep = p_keep
        self.center = center
        self.done = self.parts = self._inside = 0
        # Of a part, then of all: sums of scores times masks, of masks, of scores.
        self._of_part = (np.zeros((goals, *shape)), np.zeros(shape), np.zeros(goals))
        self._of_all = (np.zeros((goals, *shape)), np.zeros(shape), np.zeros(goals))
        self._wide, self._scaled = np.empty(shape), np.empty(shape)
        self._maps = np.zeros((goals, *shape))
        self._squares = np.zeros((goals, *shape))

    def add(self, mask: Array, scores: Array) -> None:
        """Take in one mask with its score under each goal."""
        products, masks, total = self._of_part
        self._wide[...] = mask
        masks += self._wide
        for product, score in zip(products, scores, strict=True):
            np.multiply(self._wide, score, out=self._scaled)
            product += self._scaled
        total += scores
        self._inside += 1
        if self._inside == self.part:
            self._close()

    def _close(self) -> None:
        values = self._map(self._of_part, self._inside)
        self._maps += values
        self._squares += values * values
        self.parts += 1
        self._merge()

    def _merge(self) -> None:
        for whole, part in zip(self._of_all, self._of_part, strict=True):
            whole += part
            part[...] = 0
        self.done += self._inside
        self._inside = 0

    def _map(self, sums: tuple[Array, Array, Array], n: int) -> Array:
        products, masks, total = sums
        if self.center:
            products = products - (total / n).reshape(-1, *[1] * masks.ndim) * masks
        return products / (n * self.p_keep)

    def values(self) -> Array:
        """The map of each goal, NaN of none."""
        self._merge()
        return self._map(self._of_all, self.done) if self.done else np.full(self._maps.shape, np.nan)

    def standard_error(self) -> Array:
        """What the map of each goal may be off by: the spread of those of its parts; NaN of fewer than two."""
        if self.parts < 2:
            return np.full(self._maps.shape, np.nan)
        variance = (self._squares - self._maps * self._maps / self.parts) / (self.parts - 1)
        return np.asarray(np.sqrt(np.maximum(variance, 0) / self.parts))


def _sample(
    task: Task,
    rows: list[int],
    cover: Array,
    axes: tuple[int, ...],
    cells: tuple[int, ...],
    n_samples: int,
    sums: _Sums,
    bar: Progress,
) -> None:
    """Run all masks of one image; sums follow their order, whatever runs at once."""
    image = rows[0]
    sizes = tuple(task.images.shape[axis] for axis in axes)
    shown, hidden = task.images[image] - cover, cover.any()
    shape = tuple(size if axis in axes else 1 for axis, size in enumerate(task.images.shape) if axis)
    masked = np.empty((min(task.batch_size, n_samples), *shown.shape), shown.dtype)
    for first in range(0, n_samples, task.batch_size):
        samples = range(first, min(first + task.batch_size, n_samples))
        masks = grid_masks(
            sizes,
            cells,
            p_keep=task.arguments["p_keep"],
            seed=task.arguments["seed"],
            image=image,
            samples=samples,
            dtype=shown.dtype,
        ).reshape(len(samples), *shape)
        batch = np.multiply(shown, masks, out=masked[: len(samples)])
        if hidden:
            batch += cover
        logits = task.run(batch, np.full(len(samples), image))[task.output.name]
        scores = [task.goal.take(np.full(len(samples), row)).score(logits) for row in rows]
        for mask, each in zip(masks, np.stack(scores, axis=1), strict=True):
            sums.add(mask, each)
        bar.step(len(samples))


def _alike(task: Task, cover: Array) -> list[list[int]]:
    """Images by what is run for them: the same pixels, cover and other inputs are one."""
    found: dict[bytes, list[int]] = {}
    for i in range(len(task.images)):
        digest = hashlib.blake2b()
        for array in (task.images, cover, *task.held.values()):
            digest.update(array[i].tobytes())
        found.setdefault(digest.digest(), []).append(i)
    return list(found.values())


def _cells(task: Task, axes: tuple[int, ...], grid_size: Any) -> tuple[int, ...]:
    if not axes:
        raise ValueError(
            "rise masks images (N, C, H, W) or signals (N, C, L) by a grid; "
            f"{task.subject.name!r} is {task.subject.kind}"
        )
    sizes = tuple(task.images.shape[axis] for axis in axes)
    if grid_size is None:
        grid_size = tuple(min(USUAL_CELLS, size) for size in sizes)
    given = grid_size if isinstance(grid_size, (tuple, list)) else (grid_size,) * len(axes)
    cells = tuple(at_least("grid_size", cell, 1) for cell in given)
    if len(cells) != len(axes):
        what = "(cells down, cells across)" if len(axes) == 2 else "(cells,)"
        raise ValueError(f"`grid_size` (={grid_size!r}) must be an int or {what}; all channels share a mask")
    if any(cell > size for cell, size in zip(cells, sizes, strict=True)) or math.prod(cells) < 2:
        raise ValueError(
            f"`grid_size` (={grid_size!r}) must be at most the image, {' x '.join(map(str, sizes))}, and of 2 cells or "
            "more in all"
        )
    return cells
