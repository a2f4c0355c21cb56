"""Integrated gradients: the gradient averaged along the straight path from a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..image import Recipe
from ..nn import Network
from ._average import Line, Sums, weighted_sum
from ._baseline import make_baselines
from ._explanation import Explanation
from ._goal import Goal
from ._progress import Progress
from ._registry import method
from ._rows import rows
from ._task import Task, at_least

Array = npt.NDArray[Any]

#: "auto" begins with this many steps and ends with at most that many.
FIRST_STEPS, MOST_STEPS = 8, 512


@method(
    values="input",
    paper="Sundararajan, Taly and Yan, Axiomatic Attribution for Deep Networks, arXiv:1703.01365",
    options={"n_steps": 8},
)
def integrated_gradients(
    net: Network,
    images: npt.ArrayLike,
    target: Any = None,
    *,
    baselines: Any = None,
    n_steps: int | Literal["auto"] = 50,
    tolerance: float = 0.05,
    of: str = "output",
    output: str | None = None,
    input: str | None = None,
    batch_size: int | None = None,
    recipe: Recipe | None = None,
    progress: bool = False,
) -> Explanation:
    """Integrate the gradient along the straight path from a baseline to the image.

    Parameters
    ----------
    net, images, target, of, output, input, batch_size
        As of :func:`convlens.explain.saliency`.
    baselines : float, array_like or {"black", "white", "mean", "blur"}, optional
        Where the path begins, in input space; 0 by default, which is grey where images are normalised. The names need
        `recipe`.
    n_steps : int or "auto"
        Points of the Gauss-Legendre rule. "auto" doubles them, image by image, until both the delta and the change of
        the map have stayed under `tolerance` for two doublings, or 512 points are reached.
    tolerance : float
        Of "auto": the delta relative to the difference of the scores, and the map's change relative to the map (sums of
        absolute values).
    recipe : Recipe, optional
        How the images were made; see :func:`convlens.image.load`.
    progress : bool
        Draw a bar (extra ``[progress]``).

    Returns
    -------
    Explanation
        With values of shape (N, C, H, W), signed, and ``delta``: their sum minus the difference of the scores. After
        an interrupt (Ctrl-C) the values are those of the part of the path that was done.

    Notes
    -----
    ``phi_i = (x_i - b_i) * integral over a from 0 to 1 of dS/dx_i (b + a (x - b))``; the values sum to
    ``S(x) - S(b)`` but for the error of the quadrature, which ``delta`` is. They are never rescaled to hide it.

    References
    ----------
    Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", arXiv:1703.01365.

    Examples
    --------
    >>> import numpy as np
    >>> from convlens import explain, nn
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(out_features=3), input_shape=(1, 4, 4), seed=0)
    >>> why = explain.integrated_gradients(net, np.ones((1, 1, 4, 4), np.float32), target=2, n_steps=4)
    >>> bool(abs(why.delta[0]) < 1e-6)
    True
    """
    steps = _steps(n_steps)
    if not tolerance > 0:
        raise ValueError(f"`tolerance` (={tolerance!r}) must be positive")
    given = {"baselines": baselines, "n_steps": n_steps, "recipe": recipe}
    task = Task(
        net,
        "saliency",
        images,
        target=target,
        of=of,
        output=output,
        input=input,
        batch_size=batch_size,
        method="integrated_gradients",
        arguments=given | ({"tolerance": tolerance} if n_steps == "auto" else {}),
    )
    start = make_baselines(task.images, baselines, recipe, task.subject.layout)
    clean = task.clean()
    difference = clean.score - _scores(task, start)
    path = _Path(task, task.goal, start)
    chosen = np.arange(len(task.images))
    with Progress("integrated gradients", None if n_steps == "auto" else len(chosen) * steps, show=progress) as bar:
        if n_steps == "auto":
            result = _until_converged(path, difference, tolerance, bar)
        else:
            sums = path.integrate(chosen, steps, bar)
            result = _Result(path.values(chosen, sums), not sums.interrupted, _interrupted(sums, steps))
    delta = rows(result.values).sum(axis=1) - difference
    values = result.values.astype(task.images.dtype)
    return task.explanation(values, clean, delta=delta, converged=result.converged, notes=result.notes)


@dataclass
class _Result:
    values: Array
    converged: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Path:
    """The straight lines from the baselines to the images."""

    task: Task
    goal: Goal
    start: Array

    def integrate(self, chosen: Array, n_steps: int, progress: Progress) -> Sums:
        """Sum the weighted gradients of the chosen images."""
        points, weights = _gauss_legendre(n_steps)
        line = Line(self.start, self.task.images, points)
        return weighted_sum(self.task, self.goal, chosen, line, weights, progress)

    def values(self, chosen: Array, sums: Sums) -> Array:
        """The attributions, in double; NaN for images an interrupt left out."""
        way = self.task.images[chosen].astype(np.float64) - self.start[chosen]
        values = way * sums.total
        values[sums.done == 0] = np.nan
        return np.asarray(values)


@lru_cache(maxsize=16)
def _gauss_legendre(n_steps: int) -> tuple[Array, Array]:
    """Points and weights on [0, 1]."""
    points, weights = np.polynomial.legendre.leggauss(n_steps)
    return (1.0 + points) / 2.0, weights / 2.0


def _until_converged(path: _Path, difference: Array, tolerance: float, progress: Progress) -> _Result:
    """Double the steps until delta and change have been small twice in a row; each image stops for itself."""
    n = len(difference)
    values = np.full(path.task.images.shape, np.nan)
    calm, steps = np.zeros(n, np.int64), FIRST_STEPS
    open_images = np.arange(n)
    while len(open_images) and steps <= MOST_STEPS:
        try:
            sums = path.integrate(open_images, steps, progress)
        except KeyboardInterrupt:
            if steps == FIRST_STEPS:
                raise
            sums = None
        if sums is None or sums.interrupted:
            if sums is not None:
                # A whole coarser map is worth more than part of a finer one.
                better = (sums.done == steps) | rows(np.isnan(values[open_images])).all(axis=1)
                values[open_images[better]] = path.values(open_images, sums)[better]
            return _Result(
                values, False, (f"interrupted at {steps} steps: {len(open_images)} of {n} maps are coarser",)
            )
        found = path.values(open_images, sums)
        flat, before = rows(found), rows(values[open_images])
        change = np.abs(flat - before).sum(axis=1)
        delta = np.abs(flat.sum(axis=1) - difference[open_images])
        small = (delta <= tolerance * np.abs(difference[open_images])) & (
            change <= tolerance * np.abs(flat).sum(axis=1)
        )
        values[open_images] = found
        calm[open_images] = np.where(small, calm[open_images] + 1, 0)
        open_images = open_images[calm[open_images] < 2]
        steps *= 2
    if not len(open_images):
        return _Result(values, True, ())
    listed = ", ".join(map(str, open_images[:10])) + (", ..." if len(open_images) > 10 else "")
    return _Result(values, False, (f"not within tolerance (={tolerance}) after {MOST_STEPS} steps: images {listed}",))


def _scores(task: Task, images: Array) -> Array:
    score = np.empty(len(images))
    for part in task.parts():
        logits = task.run(images[part], part)[task.output.name]
        score[part] = task.goal.take(part).score(logits)
    return score


def _interrupted(sums: Sums, steps: int) -> tuple[str, ...]:
    if not sums.interrupted:
        return ()
    whole, none = int((sums.done == steps).sum()), int((sums.done == 0).sum())
    part = len(sums.done) - whole - none
    return (
        f"interrupted: {whole} maps are whole, {part} hold the beginning of the path only, {none} are missing (NaN)",
    )


def _steps(n_steps: Any) -> int:
    if n_steps == "auto":
        return FIRST_STEPS
    if isinstance(n_steps, str):
        raise ValueError(f'`n_steps` (={n_steps!r}) must be an int of at least 1, or "auto"')
    return at_least("n_steps", n_steps, 1)
