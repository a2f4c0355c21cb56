"""Linear layers, softmax and losses, with their gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._arguments import checked
from ._call import MAX_NDIM, Array, Build, array_of, floats, replayed, run, same_dtype, same_images


@replayed
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
    arrays = {"x": _matrix(x, "x", "(N, F)"), "weight": _matrix(weight, "weight", "(K, F)")}
    if bias is not None:
        arrays["bias"] = floats(bias, "bias", 1, "(K,)")
        if len(arrays["bias"]) != len(arrays["weight"]):
            raise ValueError(f"`bias` has {len(arrays['bias'])} numbers; `weight` {arrays['weight'].shape} needs K")
    same_dtype(**arrays)
    _inner("x", arrays["x"].shape[1], arrays["weight"].shape, 1)
    return run(("linear",), arrays, lambda b: [b.add("Gemm", *arrays, transB=1)], ("weight", "bias"))[0]


@replayed
def linear_grad_input(grad_output: npt.ArrayLike, weight: npt.ArrayLike) -> Array:
    """Carry a gradient (N, K) to the input (N, F): ``grad_output @ weight``."""
    dy, w = _matrix(grad_output, "grad_output", "(N, K)"), _matrix(weight, "weight", "(K, F)")
    same_dtype(grad_output=dy, weight=w)
    _inner("grad_output", dy.shape[1], w.shape, 0)

    def build(b: Build) -> Sequence[str]:
        # The first product tells how the weight is packed; nothing reads it, so it is not computed.
        features = b.builder.input("features", b.dtype, ("N", w.shape[1]))
        b.add("Gemm", features, "weight", transB=1)
        return [b.add("Gemm", "grad_output", "weight")]

    return run(("linear_grad_input",), {"grad_output": dy, "weight": w}, build, ("weight",))[0]


@replayed
def linear_grad_weight(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Sum the weight's gradient (K, F) over the images: ``grad_output.T @ x``."""
    arrays = {"grad_output": _matrix(grad_output, "grad_output", "(N, K)"), "x": _matrix(x, "x", "(N, F)")}
    same_dtype(**arrays)
    same_images(**arrays)
    return run(("linear_grad_weight",), arrays, lambda b: [b.add("Gemm", *arrays, transA=1)])[0]


@replayed
def linear_grad_bias(grad_output: npt.ArrayLike) -> Array:
    """Sum a gradient (N, K) over the images: that of the bias, (K,)."""
    arrays = {"grad_output": _matrix(grad_output, "grad_output", "(N, K)")}
    return run(
        ("linear_grad_bias",), arrays, lambda b: [b.add("ReduceSum", "grad_output", b.integers([0]), keepdims=0)]
    )[0]


@replayed
@checked
def softmax(x: npt.ArrayLike, axis: int = 1) -> Array:
    """Turn logits (N, K, ...) into probabilities over the classes, `axis` 1, or another axis but the batch."""
    return _normalised("Softmax", x, axis)


@replayed
@checked
def log_softmax(x: npt.ArrayLike, axis: int = 1) -> Array:
    """Compute the logarithm of :func:`softmax`, without overflow."""
    return _normalised("LogSoftmax", x, axis)


@replayed
@checked
def softmax_grad(grad_output: npt.ArrayLike, output: npt.ArrayLike, axis: int = 1) -> Array:
    """Carry a gradient through a softmax, given its output: ``y (g - sum(g y))``."""

    def build(b: Build, place: int) -> Sequence[str]:
        total = b.add("ReduceSum", b.add("Mul", "grad_output", "output"), b.integers([place]), keepdims=1)
        return [b.add("Mul", "output", b.add("Sub", "grad_output", total))]

    return _normalised_grad("softmax_grad", grad_output, output, axis, build)


@replayed
@checked
def log_softmax_grad(grad_output: npt.ArrayLike, output: npt.ArrayLike, axis: int = 1) -> Array:
    """Carry a gradient through a log-softmax, given its output: ``g - exp(y) sum(g)``."""

    def build(b: Build, place: int) -> Sequence[str]:
        total = b.add("ReduceSum", "grad_output", b.integers([place]), keepdims=1)
        return [b.add("Sub", "grad_output", b.add("Mul", b.add("Exp", "output"), total))]

    return _normalised_grad("log_softmax_grad", grad_output, output, axis, build)


@checked
def cross_entropy(logits: npt.ArrayLike, labels: npt.ArrayLike, *, reduction: str = "mean") -> Array | np.floating[Any]:
    """Compute the loss ``-log softmax(logits)[label]``.

    Parameters
    ----------
    logits : ndarray of shape (N, K), float32 or float64
    labels : ndarray of shape (N,), integers in [0, K)
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    scalar, or ndarray of shape (N,) for "none"
    """
    arrays = _logits(logits, labels, reduction)
    return run(
        ("cross_entropy", reduction),
        arrays,
        lambda b: [b.add("SoftmaxCrossEntropyLoss", "logits", "labels", reduction=reduction)],
    )[0][()]


@checked
def cross_entropy_grad(
    logits: npt.ArrayLike, labels: npt.ArrayLike, grad_output: npt.ArrayLike = 1.0, *, reduction: str = "mean"
) -> Array:
    """Compute the gradient of :func:`cross_entropy` with respect to the logits.

    Parameters
    ----------
    logits, labels, reduction
        As in :func:`cross_entropy`.
    grad_output : scalar, or ndarray of shape (N,) for "none"
        The gradient of what follows with respect to the loss.

    Returns
    -------
    ndarray of shape (N, K)
    """
    arrays = _logits(logits, labels, reduction)
    n, dtype = len(arrays["logits"]), arrays["logits"].dtype
    given = floats(
        np.asarray(grad_output, dtype) if isinstance(grad_output, (int, float)) else grad_output, "grad_output"
    )
    if given.shape not in ((), (n,) if reduction == "none" else ()):
        raise ValueError(
            f"`grad_output` has shape {given.shape}; it must be a number, or ({n},) where `reduction` is 'none'"
        )
    same_dtype(logits=arrays["logits"], grad_output=given)
    arrays["grad_output"] = np.ascontiguousarray(np.broadcast_to(given, (n,))) if reduction == "none" else given

    def build(b: Build) -> Sequence[str]:
        log_prob = b.add("LogSoftmax", "logits", axis=1)
        return [b.add("SoftmaxCrossEntropyLossGrad", log_prob, "labels", "grad_output", reduction=reduction)]

    unbatched = () if reduction == "none" else ("grad_output",)
    return run(("cross_entropy_grad", reduction), arrays, build, unbatched)[0]


def _matrix(value: npt.ArrayLike, name: str, axes: str) -> Array:
    array = floats(value, name, 2, axes)
    if array.shape[1] == 0:
        raise ValueError(f"`{name}` has shape {array.shape}; it must have at least one column")
    return array


def _inner(name: str, size: int, weight: tuple[int, ...], axis: int) -> None:
    if size != weight[axis]:
        raise ValueError(f"`{name}` has {size} columns, `weight` {weight} takes {weight[axis]}; they must be equal")


def _channels(value: npt.ArrayLike, name: str, axis: int) -> Array:
    x = floats(value, name)
    if not 2 <= x.ndim <= MAX_NDIM or 0 in x.shape[1:] or axis not in (*range(1, x.ndim), *range(1 - x.ndim, 0)):
        raise ValueError(
            f"`{name}` has shape {x.shape}, `axis` is {axis}; it must be (N, K, ...) of up to {MAX_NDIM} axes, and "
            "`axis` another one than the batch"
        )
    return x


def _normalised(op: str, value: npt.ArrayLike, axis: int) -> Array:
    x = _channels(value, "x", axis)
    place = axis % x.ndim
    return run((op, place), {"x": x}, lambda b: [b.add(op, "x", axis=place)])[0]


def _normalised_grad(
    key: str, grad_output: npt.ArrayLike, output: npt.ArrayLike, axis: int, build: Callable[[Build, int], Sequence[str]]
) -> Array:
    dy, y = _channels(grad_output, "grad_output", axis), _channels(output, "output", axis)
    same_dtype(grad_output=dy, output=y)
    if dy.shape != y.shape:
        raise ValueError(f"`grad_output` has shape {dy.shape} and `output` {y.shape}; they must be equal")
    place = axis % y.ndim
    return run((key, place), {"grad_output": dy, "output": y}, lambda b: build(b, place))[0]


def _logits(logits: npt.ArrayLike, labels: npt.ArrayLike, reduction: str) -> dict[str, Array]:
    x, y = _matrix(logits, "logits", "(N, K)"), array_of(labels, "labels")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"`reduction` (={reduction!r}) must be 'mean', 'sum' or 'none'")
    if y.dtype.kind not in "iu":
        raise TypeError(f"`labels` is {y.dtype}; it must be integers, one class an image (argmax of one-hot rows)")
    if y.shape != x.shape[:1]:
        raise ValueError(f"`labels` has shape {y.shape}; it must be ({len(x)},), one class an image")
    if y.size and (y.min() < 0 or y.max() >= x.shape[1]):
        raise ValueError(f"`labels` reaches from {y.min()} to {y.max()}; classes are 0 to {x.shape[1] - 1}")
    return {"logits": x, "labels": np.ascontiguousarray(y, dtype=np.int64)}
