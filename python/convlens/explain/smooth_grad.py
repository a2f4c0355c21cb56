"""SmoothGrad: the gradient averaged over noisy copies of the image."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph import channels_first
from ..nn import Network
from ..perturb import check_seed, normal
from ._average import weighted_sum
from ._explanation import Explanation
from ._progress import Progress
from ._registry import method
from ._rows import rows
from ._task import Task, at_least

Array = npt.NDArray[Any]


@method(
    title="SmoothGrad",
    values="input",
    paper="Smilkov et al., SmoothGrad: removing noise by adding noise, arXiv:1706.03825",
    seeded=True,
    options={"n_samples": 4},
)
def smooth_grad(
    net: Network,
    images: npt.ArrayLike,
    target: Any = None,
    *,
    n_samples: int = 25,
    noise_level: float = 0.15,
    seed: int = 0,
    of: str = "output",
    output: str | None = None,
    input: str | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> Explanation:
    """Average the gradient over noisy copies of each image.

    Parameters
    ----------
    net, images, target, of, output, input, batch_size
        As of :func:`convlens.explain.saliency`. The target is resolved once, on the clean image.
    n_samples : int
        Noisy copies of each image.
    noise_level : float
        Standard deviation of the noise, as a share of each image's range (its maximum minus its minimum).
    seed : int
        Of the noise, which is a function of (seed, the image's index in the call, the sample's number) alone.
    progress : bool
        Draw a bar (extra ``[progress]``).

    Returns
    -------
    Explanation
        With values of shape (N, C, H, W), signed. After an interrupt (Ctrl-C) they are means over the samples done.

    Notes
    -----
    ``M = (1 / n) sum_s dS/dx (x + e_s)``, ``e_s ~ N(0, (noise_level * (max x - min x))^2)``: the mean of signed
    gradients, not of their squares.

    References
    ----------
    Smilkov, Thorat, Kim, Viégas and Wattenberg, "SmoothGrad: removing noise by adding noise", arXiv:1706.03825.

    Examples
    --------
    >>> import numpy as np
    >>> from convlens import explain, nn
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(out_features=3), input_shape=(1, 4, 4), seed=0)
    >>> images = np.eye(4, dtype=np.float32)[np.newaxis, np.newaxis]
    >>> why = explain.smooth_grad(net, images, target=1, n_samples=3)
    >>> bool(np.allclose(why.values, explain.saliency(net, images, target=1).values))
    True
    """
    at_least("n_samples", n_samples, 1)
    check_seed(seed)
    if not isinstance(noise_level, numbers.Real) or not 0 <= noise_level < math.inf:
        raise ValueError(f"`noise_level` (={noise_level!r}) must be 0 or more, as a share of each image's range")
    task = Task(
        net,
        "saliency",
        images,
        target=target,
        of=of,
        output=output,
        input=input,
        batch_size=batch_size,
        method="smooth_grad",
        arguments={"n_samples": n_samples, "noise_level": noise_level, "seed": seed},
    )
    clean = task.clean()
    n = len(task.images)
    flat = rows(task.images).astype(np.float64)
    sigma = noise_level * (flat.max(axis=1, initial=-np.inf) - flat.min(axis=1, initial=np.inf)) if n else np.empty(0)

    def variants(image: int, samples: range) -> Array:
        batch = _noise(task, seed, image, samples)
        batch *= task.images.dtype.type(sigma[image])
        batch += task.images[image]
        return batch

    with Progress("SmoothGrad", n * n_samples, show=progress) as bar:
        sums = weighted_sum(task, task.goal, np.arange(n), variants, np.ones(n_samples), bar)
    values = np.full(task.images.shape, np.nan)
    some = sums.done > 0
    values[some] = sums.total[some] / sums.done[some].reshape(-1, *[1] * (values.ndim - 1))
    notes: tuple[str, ...] = ()
    if sums.interrupted:
        fewest, missing = int(sums.done[some].min()), int((~some).sum())
        notes = (f"interrupted: maps average at least {fewest} of {n_samples} samples, {missing} are missing (NaN)",)
    return task.explanation(values.astype(task.images.dtype), clean, converged=not sums.interrupted, notes=notes)


def _noise(task: Task, seed: int, image: int, samples: range) -> Array:
    """Noise of one image: that of its channels-first twin, where channels are last."""
    shape, dtype = task.images.shape[1:], task.images.dtype
    if channels_first(task.subject.layout):
        return normal(shape, seed=seed, image=image, samples=samples, dtype=dtype)
    drawn = normal((shape[-1], *shape[:-1]), seed=seed, image=image, samples=samples, dtype=dtype)
    return np.ascontiguousarray(np.moveaxis(drawn, 1, -1))
