"""Batch normalisation and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

import numpy as np
import numpy.typing as npt

from ..graph import Graph
from ..transform import backward, expand_batch_norm_training
from ._call import Array, Build, floats, run, same_dtype

_VECTORS = ("running_mean", "running_var", "weight", "bias")


@overload
def batch_norm(
    x: npt.ArrayLike,
    running_mean: npt.ArrayLike,
    running_var: npt.ArrayLike,
    weight: npt.ArrayLike | None = ...,
    bias: npt.ArrayLike | None = ...,
    *,
    training: Literal[False] = ...,
    momentum: float = ...,
    eps: float = ...,
) -> Array: ...
@overload
def batch_norm(
    x: npt.ArrayLike,
    running_mean: npt.ArrayLike,
    running_var: npt.ArrayLike,
    weight: npt.ArrayLike | None = ...,
    bias: npt.ArrayLike | None = ...,
    *,
    training: Literal[True],
    momentum: float = ...,
    eps: float = ...,
) -> tuple[Array, Array, Array]: ...
def batch_norm(
    x: npt.ArrayLike,
    running_mean: npt.ArrayLike,
    running_var: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    *,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Array | tuple[Array, Array, Array]:
    """Normalise each channel.

    Parameters
    ----------
    x : ndarray of shape (N, C), (N, C, L) or (N, C, H, W), float32 or float64
    running_mean, running_var : ndarray of shape (C,)
    weight, bias : ndarray of shape (C,), optional
        One and zero when None.
    training : bool
        Normalise by the statistics of the batch. Unlike PyTorch's, the call changes no array: it returns the new
        running statistics.
    momentum : float
        Their share of the batch's statistics.
    eps : float
        Added to the variance.

    Returns
    -------
    ndarray of x's shape; in training a tuple of it, the new running mean and the new running variance

    References
    ----------
    Ioffe and Szegedy 2015, arXiv:1502.03167.
    """
    arrays = _arrays(x, running_mean, running_var, weight, bias)
    if training and arrays["x"].size == arrays["x"].shape[1]:
        raise ValueError(
            f"`x` has shape {arrays['x'].shape}: one value a channel has no variance; train on more images"
        )

    def build(b: Build) -> Sequence[str]:
        if not training:
            return [b.add("BatchNormalization", "x", "weight", "bias", "running_mean", "running_var", epsilon=eps)]
        return expand_batch_norm_training(
            b.builder, "x", "weight", "bias", "running_mean", "running_var", momentum=momentum, epsilon=eps
        )

    results = run(("batch_norm", training, momentum, eps), arrays, build, _VECTORS)
    return (results[0], results[1], results[2]) if training else results[0]


def batch_norm_grad(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    running_mean: npt.ArrayLike,
    running_var: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    *,
    training: bool = False,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """Compute the gradients of :func:`batch_norm` with respect to `x`, `weight` and `bias`.

    Parameters
    ----------
    grad_output : ndarray of x's shape
    x, running_mean, running_var, weight, training, eps
        As in :func:`batch_norm`; in training the running statistics do not matter.

    Returns
    -------
    grad_input, grad_weight, grad_bias : ndarray of shapes x's, (C,) and (C,)
    """
    arrays = _arrays(x, running_mean, running_var, weight, None)
    dy = floats(grad_output, "grad_output")
    if dy.shape != arrays["x"].shape:
        raise ValueError(f"`grad_output` has shape {dy.shape} and `x` {arrays['x'].shape}; they must be equal")
    same_dtype(x=arrays["x"], grad_output=dy)

    def build(b: Build) -> tuple[Graph, Sequence[str]]:
        if training:
            y = expand_batch_norm_training(
                b.builder, "x", "weight", "bias", "running_mean", "running_var", epsilon=eps
            )[0]
        else:
            y = b.add("BatchNormalization", "x", "weight", "bias", "running_mean", "running_var", epsilon=eps)
        graph, grads = backward(b.builder.build([y]), y, ["x", "weight", "bias"], seed="grad_output")
        return graph, [grads["x"], grads["weight"], grads["bias"]]

    # The seed is an input that backward() declares.
    results = run(("batch_norm_grad", training, eps), arrays, build, _VECTORS, {"grad_output": dy})
    return results[0], results[1], results[2]


def _arrays(
    x: npt.ArrayLike,
    running_mean: npt.ArrayLike,
    running_var: npt.ArrayLike,
    weight: npt.ArrayLike | None,
    bias: npt.ArrayLike | None,
) -> dict[str, Array]:
    images = floats(x, "x")
    if images.ndim not in (2, 3, 4) or 0 in images.shape[1:]:
        raise ValueError(f"`x` has shape {images.shape}; it must be (N, C), (N, C, L) or (N, C, H, W)")
    channels = images.shape[1]
    arrays = {"x": images}
    values = (running_mean, running_var, weight, bias)
    for name, value, default in zip(_VECTORS, values, (0, 1, 1, 0), strict=True):
        vector = np.full(channels, default, images.dtype) if value is None else floats(value, name, 1, "(C,)")
        if len(vector) != channels:
            raise ValueError(f"`{name}` has {len(vector)} numbers; `x` has {channels} channels")
        arrays[name] = vector
    same_dtype(**arrays)
    return arrays
