"""A network's answers as classes and confidences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..nn import Network

Array = npt.NDArray[Any]
_PASSES_ON = ("Identity", "Reshape", "Flatten", "Dropout")


def predict(net: Network, images: npt.ArrayLike) -> Array:
    """Compute the probability of every class.

    Parameters
    ----------
    net : Network
        With one output, (N, K) or with further axes of length 1.
    images : array_like of shape (N, C, H, W)

    Returns
    -------
    ndarray of shape (N, K), float64
        Of a network that ends in Softmax its output, in LogSoftmax the exponential of it, otherwise the softmax of the
        logits.

    Raises
    ------
    ValueError
        If the network does not choose one of several classes.
    """
    answers = net(images)
    if isinstance(answers, Mapping):
        answers = answers[net.output_name]
    shape = answers.shape[1:]
    n_classes = int(np.prod(shape, dtype=np.int64))
    ending = _ending(net)
    if n_classes < 2 or max(shape) != n_classes or ending == "Sigmoid":
        kind = "several sigmoids" if ending == "Sigmoid" else f"the shape (N, {', '.join(map(str, shape))})"
        raise ValueError(
            f"`net` must choose one of several classes, with an output (N, K); {net.output_name!r} has {kind}"
        )
    flat = answers.reshape(len(answers), n_classes).astype(np.float64)
    if ending == "Softmax":
        return np.asarray(flat)
    return np.exp(flat) if ending == "LogSoftmax" else softmax(flat)


def softmax(logits: Array) -> Array:
    """Probabilities of logits (N, K)."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def probabilities_of(outputs: npt.ArrayLike) -> Array:
    """Probabilities (N, K) of logits; what already is probabilities (none negative, rows that sum to 1) stays."""
    array = np.asarray(outputs, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] < 2:
        raise ValueError(f"`outputs` has the shape {array.shape}; it must be (N, K), logits or probabilities")
    _check_finite(array)
    if (array >= 0).all() and np.allclose(array.sum(axis=1), 1.0, rtol=0, atol=1e-3):
        return array
    return softmax(array)


def classes_of(outputs: npt.ArrayLike) -> tuple[Array, int | None]:
    """Predicted classes (N,), and K if it is known."""
    array = np.asarray(outputs)
    if array.ndim == 1 and (array.dtype.kind in "iu" or array.size == 0):
        return array.astype(np.int64), None
    if array.ndim != 2 or array.dtype.kind != "f" or array.shape[1] < 2:
        raise ValueError(
            f"`outputs` is {array.dtype}{array.shape}; it must be floats (N, K), logits or probabilities, "
            "or predicted classes (N,), integers"
        )
    _check_finite(array)
    return array.argmax(axis=1), array.shape[1]


def _check_finite(array: Array) -> None:
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise ValueError(f"`outputs` has NaN or infinite values (first in row {row}): it has no top class")


def _ending(net: Network) -> str:
    producers = net.graph.producers()
    node = producers.get(net.output_name)
    while node is not None and node.op in _PASSES_ON:
        node = producers.get(node.inputs[0])
    return "" if node is None else node.op
