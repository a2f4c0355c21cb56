"""Classes and confidences of a network's answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    classes = int(np.prod(shape, dtype=np.int64))
    ending = _ending(net)
    if classes < 2 or max(shape) != classes or ending == "Sigmoid":
        kind = "several sigmoids" if ending == "Sigmoid" else f"the shape (N, {', '.join(map(str, shape))})"
        raise ValueError(
            f"`net` must choose one of several classes, with an output (N, K); {net.output_name!r} has {kind}"
        )
    flat = answers.reshape(len(answers), classes).astype(np.float64)
    return flat if ending == "Softmax" else _TO_PROBABILITY.get(ending, _softmax)(flat)


def _ending(net: Network) -> str:
    producers = net.graph.producers()
    node = producers.get(net.output_name)
    while node is not None and node.op in _PASSES_ON:
        node = producers.get(node.inputs[0])
    return "" if node is None else node.op


def _softmax(logits: Array) -> Array:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


_TO_PROBABILITY: dict[str, Callable[[Array], Array]] = {"LogSoftmax": np.exp}
