"""Normalisations and their gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from .._arguments import checked
from ..graph import Graph
from ..transform import backward, expand_batch_norm_training
from ._call import Array, Build, array_of, floats, replayed, run, same_dtype

_VECTORS = ("running_mean", "running_var", "weight", "bias")


@overload
def batch_norm(
    x: npt.ArrayLike,
    running_mean: npt.ArrayLike | None,
    running_var: npt.ArrayLike | None,
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
    running_mean: npt.ArrayLike | None,
    running_var: npt.ArrayLike | None,
    weight: npt.ArrayLike | None = ...,
    bias: npt.ArrayLike | None = ...,
    *,
    training: Literal[True],
    momentum: float = ...,
    eps: float = ...,
) -> tuple[Array, Array, Array]: ...
@replayed
@checked
def batch_norm(
    x: npt.ArrayLike,
    running_mean: npt.ArrayLike | None,
    running_var: npt.ArrayLike | None,
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
        In training None is zero and one.
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
    arrays = _arrays(x, running_mean, running_var, weight, bias, training)
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


@replayed
@checked
def batch_norm_grad(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    running_mean: npt.ArrayLike | None,
    running_var: npt.ArrayLike | None,
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
    arrays = _arrays(x, running_mean, running_var, weight, None, training)
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
    running_mean: npt.ArrayLike | None,
    running_var: npt.ArrayLike | None,
    weight: npt.ArrayLike | None,
    bias: npt.ArrayLike | None,
    training: bool,
) -> dict[str, Array]:
    images = floats(x, "x")
    if images.ndim not in (2, 3, 4) or 0 in images.shape[1:]:
        raise ValueError(f"`x` has shape {images.shape}; it must be (N, C), (N, C, L) or (N, C, H, W)")
    channels = images.shape[1]
    arrays = {"x": images}
    values = (running_mean, running_var, weight, bias)
    for name, value, default in zip(_VECTORS, values, (0, 1, 1, 0), strict=True):
        if value is None and not training and name.startswith("running"):
            raise ValueError(f"`{name}` (=None) must be given, unless `training` normalises by the batch")
        vector = np.full(channels, default, images.dtype) if value is None else floats(value, name, 1, "(C,)")
        if len(vector) != channels:
            raise ValueError(f"`{name}` has {len(vector)} numbers; `x` has {channels} channels")
        arrays[name] = vector
    same_dtype(**arrays)
    return arrays


@replayed
@checked
def layer_norm(
    x: npt.ArrayLike,
    normalized_shape: int | Sequence[int],
    weight: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    *,
    eps: float = 1e-5,
) -> Array:
    """Normalise each image over its last axes, by their mean and biased variance.

    Parameters
    ----------
    x : ndarray of shape (N, ..., *normalized_shape), float32 or float64
    normalized_shape : int or sequence of int
    weight, bias : ndarray of shape `normalized_shape`, optional
    eps : float
        Added to the variance.

    Returns
    -------
    ndarray of x's shape

    References
    ----------
    Ba et al., arXiv:1607.06450.
    """
    return _own("LayerNormalization", x, weight, bias, *_layer(x, normalized_shape), eps)[0]


@replayed
@checked
def layer_norm_grad(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    normalized_shape: int | Sequence[int],
    weight: npt.ArrayLike | None = None,
    *,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """Compute the gradients of :func:`layer_norm` with respect to `x`, `weight` and `bias`."""
    dx, dw, db = _own(
        "LayerNormalization", x, weight, None, *_layer(x, normalized_shape), eps, floats(grad_output, "grad_output")
    )
    return dx, dw, db


@replayed
@checked
def instance_norm(
    x: npt.ArrayLike, weight: npt.ArrayLike | None = None, bias: npt.ArrayLike | None = None, *, eps: float = 1e-5
) -> Array:
    """Normalise each channel of each image over height and width.

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W), float32 or float64
    weight, bias : ndarray of shape (C,), optional
    eps : float
        Added to the variance.

    Returns
    -------
    ndarray of x's shape

    References
    ----------
    Ulyanov et al., arXiv:1607.08022.
    """
    return _own("InstanceNormalization", x, weight, bias, {}, None, eps)[0]


@replayed
@checked
def instance_norm_grad(
    grad_output: npt.ArrayLike, x: npt.ArrayLike, weight: npt.ArrayLike | None = None, *, eps: float = 1e-5
) -> tuple[Array, Array, Array]:
    """Compute the gradients of :func:`instance_norm` with respect to `x`, `weight` and `bias`."""
    dx, dw, db = _own("InstanceNormalization", x, weight, None, {}, None, eps, floats(grad_output, "grad_output"))
    return dx, dw, db


@replayed
@checked
def group_norm(
    x: npt.ArrayLike,
    num_groups: int,
    weight: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    *,
    eps: float = 1e-5,
) -> Array:
    """Normalise groups of channels of each image.

    Parameters
    ----------
    x : ndarray of shape (N, C, ...), float32 or float64
    num_groups : int
        Divides the channels.
    weight, bias : ndarray of shape (C,), optional
    eps : float
        Added to the variance.

    Returns
    -------
    ndarray of x's shape

    References
    ----------
    Wu and He, arXiv:1803.08494.
    """
    return _own("GroupNormalization", x, weight, bias, {"num_groups": num_groups}, None, eps)[0]


@replayed
@checked
def group_norm_grad(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    num_groups: int,
    weight: npt.ArrayLike | None = None,
    *,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """Compute the gradients of :func:`group_norm` with respect to `x`, `weight` and `bias`."""
    attributes = {"num_groups": num_groups}
    dx, dw, db = _own("GroupNormalization", x, weight, None, attributes, None, eps, floats(grad_output, "grad_output"))
    return dx, dw, db


def _layer(x: npt.ArrayLike, normalized_shape: int | Sequence[int]) -> tuple[dict[str, Any], tuple[int, ...]]:
    shape = array_of(x, "x").shape
    wanted = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not wanted or len(wanted) >= len(shape) or shape[-len(wanted) :] != wanted:
        raise ValueError(f"`normalized_shape` (={wanted}) must be the last sizes of `x` {shape}, after the batch")
    return {"axis": -len(wanted)}, wanted


def _own(
    op: str,
    x: npt.ArrayLike,
    weight: npt.ArrayLike | None,
    bias: npt.ArrayLike | None,
    attributes: Mapping[str, Any],
    vector: tuple[int, ...] | None,
    eps: float,
    dy: Array | None = None,
) -> list[Array]:
    """Normalise by an image's own statistics; or, with its gradient, those of x, weight and bias."""
    arrays = {"x": floats(x, "x")}
    shape = arrays["x"].shape
    if len(shape) < 2 or 0 in shape[1:]:
        raise ValueError(f"`x` has shape {shape}; it must be (N, C, ...)")
    vector = vector or shape[1:2]
    for name, value, default in (("weight", weight, 1), ("bias", bias, 0)):
        array = np.full(vector, default, arrays["x"].dtype) if value is None else floats(value, name)
        if array.shape != vector:
            raise ValueError(f"`{name}` has shape {array.shape}; it must be {vector}")
        arrays[name] = array
    same_dtype(**arrays)
    given = {**attributes, "epsilon": eps}
    key = (op, *sorted(given.items()))
    if dy is None:
        return run(key, arrays, lambda b: [b.add(op, *arrays, **given)], ("weight", "bias"))
    if dy.shape != shape:
        raise ValueError(f"`grad_output` has shape {dy.shape} and `x` {shape}; they must be equal")
    same_dtype(x=arrays["x"], grad_output=dy)

    def build(b: Build) -> tuple[Graph, Sequence[str]]:
        y = b.add(op, *arrays, **given)
        graph, grads = backward(b.builder.build([y]), y, list(arrays), seed="grad_output")
        return graph, [grads[name] for name in arrays]

    return run((*key, "grad"), arrays, build, ("weight", "bias"), {"grad_output": dy})
