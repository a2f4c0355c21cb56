"""Occlusion: how much of the score is lost when a window is covered."""

from __future__ import annotations

import itertools
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph import spatial_axes
from ..image import Recipe
from ..nn import Network
from ._baseline import make_baselines
from ._explanation import Explanation
from ._local import Local, find_local
from ._progress import Progress
from ._registry import method
from ._side_by_side import side_by_side
from ._task import Task, at_least

Array = npt.NDArray[Any]
Window = tuple[slice, ...]


@method(
    values="map",
    paper="Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, arXiv:1311.2901",
    options={"window": 7, "stride": 4},
)
def occlusion(
    net: Network,
    images: npt.ArrayLike,
    target: Any = None,
    *,
    window: int | tuple[int, ...] | None = None,
    stride: int | tuple[int, ...] | None = None,
    baselines: Any = None,
    of: str = "output",
    output: str | None = None,
    input: str | None = None,
    batch_size: int | None = None,
    recipe: Recipe | None = None,
    progress: bool = False,
) -> Explanation:
    """Cover one window after another and see what it costs the score.

    Parameters
    ----------
    net, images, target, of, output, input, batch_size
        As of :func:`convlens.explain.saliency`. The target is resolved once, on the uncovered image.
    window : int or tuple of int, optional
        Height and width (of signals the length) of what is covered, in pixels, over all channels; None is a seventh of
        the shorter side.
    stride : int or tuple of int, optional
        Pixels between windows, at most the window; None is half the window. The last window of a row or column may hang
        over the edge and is cut there.
    baselines : float, array_like or {"black", "white", "mean", "blur"}, optional
        What covers; 0 by default. The names need `recipe`.
    recipe : Recipe, optional
        How the images were made.
    progress : bool
        Draw a bar (extra ``[progress]``).

    Returns
    -------
    Explanation
        With values of shape (N, 1, H, W), or (N, 1, L), signed: positive where covering lowers the score. After an
        interrupt (Ctrl-C) they are means over the windows done, NaN where there was none.

    Notes
    -----
    ``phi_p = mean over the windows W that cover p of S(x) - S(x with W covered)``: a mean, so that the scale does not
    depend on the stride.

    References
    ----------
    Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", arXiv:1311.2901.

    Examples
    --------
    >>> import numpy as np
    >>> from convlens import explain, nn
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(out_features=3), input_shape=(1, 4, 4), seed=0)
    >>> why = explain.occlusion(net, np.ones((1, 1, 4, 4), np.float32), target=2, window=1)
    >>> bool(np.allclose(why.values.ravel(), net.parameters["linear1.weight"][2], atol=1e-6))
    True
    """
    task = Task(
        net,
        "",
        images,
        target=target,
        of=of,
        output=output,
        input=input,
        batch_size=batch_size,
        method="occlusion",
        arguments={"baselines": baselines, "recipe": recipe},
    )
    axes = spatial_axes(task.subject.layout)
    sizes = tuple(task.images.shape[axis] for axis in axes)
    window, stride = _extents(task, sizes, window, stride)
    task.arguments |= {"window": window, "stride": stride}
    covered = windows(sizes, window, stride)
    local = find_local(task, covered)
    places = [_placed(place, axes, task.images.ndim) for place in covered]
    cover = make_baselines(task.images, baselines, recipe, task.subject.layout)
    clean = task.clean()
    n = len(task.images)
    lost = np.zeros((n, *(size if axis in axes else 1 for axis, size in enumerate(task.images.shape) if axis)))
    count = np.zeros(lost.shape, np.int64)
    interrupted = False
    with Progress("occlusion", n * len(places), show=progress) as bar:
        try:
            for part in task.parts() if local is None else (slice(i, i + 1) for i in range(n)):
                if local is None:
                    _cover(task, part, places, cover, clean.score, lost, count, bar)
                else:
                    _cover_locally(local, part, covered, cover, lost, count, bar)
        except KeyboardInterrupt:
            if not count.any():
                raise
            interrupted = True
    with np.errstate(invalid="ignore"):
        values = np.where(count > 0, lost / count, np.nan).astype(task.images.dtype)
    notes = (f"interrupted after {bar.done} of {n * len(places)} windows; NaN where none was done",) * interrupted
    return task.explanation(values, clean, converged=not interrupted, notes=notes)


def _cover(
    task: Task, part: slice, places: list[Window], cover: Array, score: Array, lost: Array, count: Array, bar: Progress
) -> None:
    """Run every window of some images; sums follow the order of the windows, whatever runs at once."""
    images, hidden = task.images[part], cover[part]
    goal = task.goal.take(part)
    n = len(images)
    at_once = max(1, task.batch_size // n)
    for first in range(0, len(places), at_once):
        some = places[first : first + at_once]
        batch = np.concatenate([images] * len(some))
        for i, place in enumerate(some):
            batch[i * n : (i + 1) * n][place] = hidden[place]
        which = np.tile(np.arange(len(task.images))[part], len(some))
        logits = task.run(batch, which)[task.output.name]
        for i, place in enumerate(some):
            drop = score[part] - goal.score(logits[i * n : (i + 1) * n])
            where = (part, *place[1:])
            lost[where] += drop.reshape(n, *[1] * (lost.ndim - 1))
            count[where] += 1
        bar.step(len(batch))


def _cover_locally(
    local: Local, part: slice, places: list[Window], cover: Array, lost: Array, count: Array, bar: Progress
) -> None:
    """As :func:`_cover`, of one image, computing what a window changes alone."""
    task = local.task
    image = local.image(task.images[part][0], cover[part][0])
    score = task.goal.take(part).score(image.whole())[0]
    rows, columns = (sorted({place[axis].start for place in places}) for axis in (0, 1))
    workers, size = local.shares(len(places))
    batches = [places[first : first + size] for first in range(0, len(places), size)]

    def logits(some: list[Window]) -> Array:
        patches = [(rows.index(down.start), columns.index(across.start)) for down, across in some]
        return image.logits(patches, [(down, across) for down, across in some], 0 if workers == 1 else 1)

    with closing(side_by_side(logits, batches, workers)) as found:
        for some, answers in zip(batches, found, strict=True):
            scores = task.goal.take(np.full(len(some), part.start)).score(answers)
            for place, one in zip(some, scores, strict=True):
                where = (part, slice(None), *place)
                lost[where] += score - one
                count[where] += 1
            bar.step(len(some))


def _placed(window: Window, axes: tuple[int, ...], rank: int) -> Window:
    """The slices of a batch that a window covers, over all channels."""
    place = [slice(None)] * rank
    for axis, taken in zip(axes, window, strict=True):
        place[axis] = taken
    return tuple(place)


def _extents(task: Task, sizes: tuple[int, ...], window: Any, stride: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if not sizes:
        raise ValueError(
            "occlusion covers windows of images (N, C, H, W) or signals (N, C, L); "
            f"{task.subject.name!r} is {task.subject.kind}"
        )
    axes = len(sizes)
    extent = _each("window", max(1, round(min(sizes) / 7)) if window is None else window, axes)
    return extent, tuple((size + 1) // 2 for size in extent) if stride is None else _each("stride", stride, axes)


def windows(size: tuple[int, ...], window: tuple[int, ...], stride: tuple[int, ...]) -> list[Window]:
    """The windows over an image of `size`, a slice for each axis, row by row.

    >>> [(rows.start, columns.start, columns.stop) for rows, columns in windows((3, 5), (2, 2), (2, 2))]
    [(0, 0, 2), (0, 2, 4), (0, 4, 5), (2, 0, 2), (2, 2, 4), (2, 4, 5)]
    """
    places = []
    for axis, extent in enumerate(window):
        if extent > size[axis]:
            raise ValueError(
                f"`window` (={window!r}) is larger than the image, {' x '.join(map(str, size))}: give at most that, or "
                "None for a seventh of the shorter side"
            )
        if stride[axis] > extent:
            raise ValueError(
                f"`stride` (={stride!r}) must be at most `window` (={window!r}), or pixels would be skipped"
            )
        count = -(-(size[axis] - extent) // stride[axis]) + 1
        starts = [i * stride[axis] for i in range(count)]
        places.append([slice(start, min(start + extent, size[axis])) for start in starts])
    return list(itertools.product(*places))


def _each(name: str, value: Any, axes: int) -> tuple[int, ...]:
    if isinstance(value, (tuple, list)):
        if len(value) != axes:
            what = "(height, width)" if axes == 2 else "(length,)"
            raise ValueError(f"`{name}` (={value!r}) must be an int or {what}; all channels are covered")
        return tuple(at_least(name, side, 1) for side in value)
    return (at_least(name, value, 1),) * axes
