"""Dense layers, normalisation, softmax and cross-entropy, from their formulas."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ._wide import Array, narrow, wide


def linear(x: npt.ArrayLike, weight: npt.ArrayLike, bias: npt.ArrayLike | None = None) -> Array:
    """Compute ``x @ weight.T + bias``.

    Parameters
    ----------
    x : ndarray of shape (N, F), float32 or float64
    weight : ndarray of shape (K, F)
    bias : ndarray of shape (K,), optional

    Returns
    -------
    ndarray of shape (N, K)
    """
    x, weight = _matrix(x, "x"), _matrix(weight, "weight")
    if x.shape[1] != weight.shape[1]:
        raise ValueError(f"`weight` expects {weight.shape[1]} features, `x` has {x.shape[1]}")
    y = matmul(x, weight.T)
    if bias is not None:
        y += wide(bias)
    return narrow(y, x.dtype)


def linear_grad_input(grad_output: npt.ArrayLike, weight: npt.ArrayLike) -> Array:
    """Carry a gradient (N, K) from linear's output to its input: ``grad_output @ weight``."""
    grad_output = _matrix(grad_output, "grad_output")
    return narrow(matmul(grad_output, _matrix(weight, "weight")), grad_output.dtype)


def linear_grad_weight(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient (N, K) from linear's output to its weight: ``grad_output.T @ x``, summed over images."""
    grad_output = _matrix(grad_output, "grad_output")
    return narrow(matmul(grad_output.T, _matrix(x, "x")), grad_output.dtype)


def linear_grad_bias(grad_output: npt.ArrayLike) -> Array:
    """Sum a gradient (N, K) over images."""
    grad_output = _matrix(grad_output, "grad_output")
    return narrow(wide(grad_output).sum(axis=0), grad_output.dtype)


def matmul(a: Array, b: Array) -> Array:
    """``a @ b`` with wide sums; the result is wide."""
    return np.asarray(np.einsum("ij,jk->ik", wide(a), wide(b)))


def batch_norm(
    x: npt.ArrayLike,
    running_mean: npt.ArrayLike,
    running_var: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    *,
    eps: float = 1e-5,
) -> Array:
    """Normalise channels by given statistics (inference).

    Parameters
    ----------
    x : ndarray of shape (N, C, ...), float32 or float64
    running_mean, running_var : ndarray of shape (C,)
    weight, bias : ndarray of shape (C,), optional

    Returns
    -------
    ndarray of the shape of `x`: ``(x - mean) / sqrt(var + eps) * weight + bias``
    """
    x = np.asarray(x)
    shape = (1, -1) + (1,) * (x.ndim - 2)
    y = (wide(x) - wide(running_mean).reshape(shape)) / np.sqrt(wide(running_var).reshape(shape) + eps)
    if weight is not None:
        y = y * wide(weight).reshape(shape)
    if bias is not None:
        y = y + wide(bias).reshape(shape)
    return narrow(y, x.dtype)


def softmax(x: npt.ArrayLike, dim: int = -1) -> Array:
    """Compute ``exp(x) / sum(exp(x))`` along `dim`."""
    return narrow(np.exp(_log_softmax(x, dim)), np.asarray(x).dtype)


def log_softmax(x: npt.ArrayLike, dim: int = -1) -> Array:
    """Compute ``x - log(sum(exp(x)))`` along `dim`."""
    return narrow(_log_softmax(x, dim), np.asarray(x).dtype)


def cross_entropy(x: npt.ArrayLike, labels: npt.ArrayLike, *, reduction: str = "mean") -> Array:
    """Compute the cross-entropy of logits against class labels: ``-log_softmax(x)[label]``.

    Parameters
    ----------
    x : ndarray of shape (N, K, ...), float32 or float64
        Logits.
    labels : ndarray of shape (N, ...), integers in [0, K)
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    ndarray of shape (), or that of `labels` for "none"
    """
    x = np.asarray(x)
    classes = _classes(labels, x.shape)
    loss = -np.take_along_axis(_log_softmax(x, 1), classes[:, np.newaxis], 1)[:, 0]
    return narrow(_reduced(loss, reduction), x.dtype)


def cross_entropy_grad(
    log_prob: npt.ArrayLike, labels: npt.ArrayLike, grad_output: npt.ArrayLike = 1.0, *, reduction: str = "mean"
) -> Array:
    """Carry a gradient from the loss to the logits: ``(softmax - one_hot(label)) * grad_output``, over N for the mean.

    Parameters
    ----------
    log_prob : ndarray of shape (N, K, ...)
        ``log_softmax(logits, 1)``.
    labels : ndarray of shape (N, ...), integers in [0, K)
    grad_output : ndarray of the loss's shape
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    ndarray of the shape of `log_prob`
    """
    log_prob = np.asarray(log_prob)
    classes = _classes(labels, log_prob.shape)
    dx = np.exp(wide(log_prob))
    hot = classes[:, np.newaxis] == np.arange(log_prob.shape[1]).reshape(1, -1, *(1,) * (log_prob.ndim - 2))
    dx -= hot
    scale = wide(np.asarray(grad_output, log_prob.dtype))
    if reduction == "none":
        scale = np.expand_dims(scale, 1)
    elif reduction == "mean":
        scale = scale / max(classes.size, 1)
    elif reduction != "sum":
        raise ValueError(f"`reduction` (={reduction!r}) must be 'mean', 'sum' or 'none'")
    return narrow(dx * scale, log_prob.dtype)


def _log_softmax(x: npt.ArrayLike, dim: int) -> Array:
    value = wide(x)
    if value.size == 0:
        return value
    shifted = value - value.max(axis=dim, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=dim, keepdims=True)))


def _classes(labels: npt.ArrayLike, logits: tuple[int, ...]) -> Array:
    classes = np.asarray(labels)
    wanted = (logits[0], *logits[2:])
    if classes.shape != wanted or classes.dtype.kind not in "iu":
        raise ValueError(f"`labels` is {classes.dtype}{classes.shape}; it must be integers of shape {wanted}")
    if classes.size and (classes.min() < 0 or classes.max() >= logits[1]):
        raise ValueError(f"`labels` run from {classes.min()} to {classes.max()}; they must lie in [0, {logits[1] - 1}]")
    return classes.astype(np.int64)


def _reduced(loss: Array, reduction: str) -> Array:
    if reduction == "none":
        return loss
    if reduction not in ("mean", "sum"):
        raise ValueError(f"`reduction` (={reduction!r}) must be 'mean', 'sum' or 'none'")
    return np.asarray(loss.mean() if reduction == "mean" else loss.sum())


def _matrix(x: npt.ArrayLike, name: str) -> Array:
    array = np.asarray(x)
    if array.ndim != 2:
        raise ValueError(f"`{name}` has shape {array.shape}; it must have two axes")
    return array
