"""Batch normalisation in training mode, built from reductions and element-wise operators."""

from __future__ import annotations

import math

from ..graph import BATCH, GraphBuilder
from ._emit import Emitter


def expand_batch_norm_training(
    builder: GraphBuilder,
    x: str,
    scale: str,
    bias: str,
    running_mean: str,
    running_var: str,
    *,
    momentum: float = 0.1,
    epsilon: float = 1e-5,
    correction: str | None = None,
    name: str = "batchnormalization",
) -> tuple[str, str, str]:
    """Append batch normalisation by the statistics of the batch.

    Parameters
    ----------
    builder : GraphBuilder
    x : str
        A tensor (N, C, ...).
    scale, bias, running_mean, running_var : str
        Tensors (C,).
    momentum : float
        The share of the new statistics, as in PyTorch: ``running = (1 - momentum) running + momentum new``.
    epsilon : float
        Added to the variance.
    correction : str, optional
        The scalar ``count / (count - 1)`` for ``count`` values a channel, where the caller knows it; otherwise the
        images are counted, in one more pass over `x`.
    name : str
        The output's name and the stem of the others.

    Returns
    -------
    y, new_mean, new_var : str
        The normalised tensor, and the running statistics after this batch (for ``updates`` of a Program).

    Notes
    -----
    ``y = (x - mean) / sqrt(var + epsilon) * scale + bias`` with the biased variance over images and places;
    the running variance takes the unbiased one, ``var * count / (count - 1)``. Ioffe and Szegedy 2015,
    arXiv:1502.03167.
    """
    kind = builder.types[x]
    e = Emitter(builder, kind.dtype, name)
    axes = [0, *range(2, len(kind.shape))]
    channels = int(kind.shape[1])
    per_channel = e.ints([1, channels] + [1] * (len(kind.shape) - 2))
    mean = e.emit("ReduceMean", [x, e.ints(axes)])
    centred = e.sub(x, mean)
    var = e.emit("ReduceMean", [e.mul(centred, centred), e.ints(axes)])
    deviation = e.emit("Sqrt", [e.add(var, e.scalar(epsilon))])
    slope = e.div(e.emit("Reshape", [scale, per_channel]), deviation)
    shift = e.emit("Reshape", [bias, per_channel])
    y = builder.add("Add", [e.mul(centred, slope), shift], name=name)

    flat = e.ints([channels])
    if correction is None:
        sizes = [dim for i, dim in enumerate(kind.shape) if i in axes and dim != BATCH]
        count = e.scalar(float(math.prod(int(dim) for dim in sizes)))
        if kind.batched:
            count = e.mul(e.batch_size(x), count)
        correction = e.div(count, e.sub(count, e.scalar(1.0)))
    unbiased = e.mul(e.emit("Reshape", [var, flat]), correction)
    new_mean = e.add(e.times(running_mean, 1 - momentum), e.times(e.emit("Reshape", [mean, flat]), momentum))
    new_var = e.add(e.times(running_var, 1 - momentum), e.times(unbiased, momentum))
    return y, new_mean, new_var
