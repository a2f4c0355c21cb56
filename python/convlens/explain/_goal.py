"""What is explained of each image: a logit, a weighting of the outputs, or the loss; as a score and its gradient."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ._output import Output
from ._rows import rows

Array = npt.NDArray[Any]
Of = Literal["output", "loss"]


@dataclass(frozen=True)
class Goal:
    """One number per image, made of the explained output.

    Attributes
    ----------
    of : {"output", "loss"}
    shape : tuple of int
        Shape of the output without the batch.
    index : ndarray of shape (N,), int64, or None
        Place of the target in the flattened output; with ``weights`` None too, the top class, yet to be resolved.
    weights : ndarray of shape (N, prod(shape)), float64, or None
        A weighting of the outputs instead.
    as_tuples : bool
        Whether the target was given, and is reported, as a place with several coordinates.
    """

    of: Of
    shape: tuple[int, ...]
    index: Array | None = None
    weights: Array | None = None
    as_tuples: bool = False

    @property
    def resolved(self) -> bool:
        """Whether it is known which output is meant."""
        return self.index is not None or self.weights is not None

    @property
    def foreseen(self) -> bool:
        """Whether the score's gradient is known before the logits are."""
        return self.resolved and self.of == "output"

    def resolve(self, logits: Array, done: int | None = None) -> Goal:
        """Take the top class of the clean images where none was given; -1 from the image `done` on."""
        if self.resolved:
            return self
        index = rows(logits).argmax(axis=1).astype(np.int64)
        index[len(index) if done is None else done :] = -1
        return replace(self, index=index)

    def take(self, images: Any) -> Goal:
        """The goal of some of the images: a slice or an integer array."""
        given = self.index if self.weights is None else self.weights
        if isinstance(images, slice) and images.start == 0 and given is not None and images.stop == len(given):
            return self
        if self.weights is not None:
            return replace(self, weights=self.weights[images])
        return self if self.index is None else replace(self, index=self.index[images])

    def score(self, logits: Array) -> Array:
        """What is explained: shape (N,), float64."""
        if self.weights is not None:
            return np.asarray((self.weights * rows(logits).astype(np.float64)).sum(axis=1))
        assert self.index is not None
        size = math.prod(self.shape)
        chosen = np.array([logits.item(i * size + place) for i, place in enumerate(self.index.tolist())], np.float64)
        return _log_sum_exp(rows(logits).astype(np.float64)) - chosen if self.of == "loss" else chosen

    def seed(self, logits: Array) -> Array:
        """The gradient of the score with respect to the logits, in their shape and dtype."""
        if self.foreseen:
            return self.seed_before(len(logits), logits.dtype)
        assert self.index is not None
        wide = rows(logits).astype(np.float64)
        seed = np.exp(wide - _log_sum_exp(wide)[:, np.newaxis])
        for place in enumerate(self.index.tolist()):
            seed[place] -= 1.0
        return np.ascontiguousarray(seed.reshape(logits.shape), dtype=logits.dtype)

    def seed_before(self, n: int, dtype: np.dtype[Any]) -> Array:
        """The same where it is foreseen, for the logits of `n` images."""
        if self.weights is not None:
            return self.weights.reshape(n, *self.shape).astype(dtype)
        assert self.index is not None
        seed = np.zeros((n, math.prod(self.shape)), dtype)
        for place in enumerate(self.index.tolist()):
            seed[place] = 1
        return seed.reshape(n, *self.shape)

    def target(self) -> Array:
        """What the target was resolved to: classes (N,), places (N, axes), or the weighting (N, ...)."""
        if self.weights is not None:
            return self.weights.reshape(len(self.weights), *self.shape)
        assert self.index is not None
        if not self.as_tuples:
            return self.index
        return np.stack(np.unravel_index(self.index, self.shape), axis=1)


def make_goal(output: Output, n: int, target: Any, of: str) -> Goal:
    """Check `target` and `of` against the explained output.

    Parameters
    ----------
    output : Output
    n : int
        Number of images.
    target : None, int, int array (n,), tuple of int, list of tuples, or float array
        See :func:`convlens.explain.saliency`.
    of : {"output", "loss"}

    Returns
    -------
    Goal

    Raises
    ------
    TypeError, ValueError
        With what may be given instead.
    """
    if of not in ("output", "loss"):
        raise ValueError(f'`of` (={of!r}) must be "output" (a logit or a weighting of them) or "loss" (with labels)')
    if of == "loss":
        return _loss_goal(output, n, target)
    if target is None:
        _check_has_top_class(output)
        return Goal("output", output.shape)
    if _is_tuple_target(target):
        return _tuple_goal(output, n, target)
    values = np.asarray(target)
    if values.dtype.kind == "f":
        return Goal("output", output.shape, weights=_weights(output, n, values))
    return Goal("output", output.shape, index=_classes("target", output, n, target, values))


def _loss_goal(output: Output, n: int, labels: Any) -> Goal:
    if labels is None:
        raise ValueError('`target` (=None) must hold the labels when `of="loss"`: an int, or one int per image')
    if output.operator == "Sigmoid" or (output.classes or 0) < 2:
        raise ValueError(
            f'`of` (="loss") is the cross-entropy of one class among several; {output.name!r} has the shape '
            f"{_shape(output)}{' and is read through Sigmoid' if output.operator == 'Sigmoid' else ''}: "
            "give a `target` instead"
        )
    return Goal("loss", output.shape, index=_classes("target", output, n, labels, np.asarray(labels)))


def _check_has_top_class(output: Output) -> None:
    if output.classes is None:
        raise ValueError(
            f"`target` (=None) has no top class: {output.name!r} has the shape {_shape(output)}; give a tuple index "
            f"such as {tuple(size // 2 for size in output.shape)}, or a float array of that shape"
        )
    if output.multi_label:
        raise ValueError(
            f"`target` (=None) has no top class: each of the {output.classes} outputs of {output.name!r} answers for "
            f"itself; give one of 0 to {output.classes - 1}, or a float array weighting them"
        )


def _is_tuple_target(target: Any) -> bool:
    if isinstance(target, tuple):
        return True
    return isinstance(target, list) and bool(target) and all(isinstance(each, tuple) for each in target)


def _tuple_goal(output: Output, n: int, target: Any) -> Goal:
    places = target if isinstance(target, list) else [target]
    if isinstance(target, list) and len(places) != n:
        raise ValueError(f"`target` has {len(places)} places for {n} images; give one, or one per image")
    index = np.zeros(len(places), np.int64)
    for image, place in enumerate(places):
        try:
            coordinates = tuple(operator.index(each) for each in place)
        except TypeError:
            raise TypeError(f"`target` (={place!r}) must be a tuple of int, one per axis of {_shape(output)}") from None
        inside = len(coordinates) == len(output.shape) and all(
            0 <= each < size for each, size in zip(coordinates, output.shape, strict=True)
        )
        if not inside:
            raise ValueError(f"`target` (={place!r}) is no place in {output.name!r}, whose shape is {_shape(output)}")
        index[image] = np.ravel_multi_index(coordinates, output.shape) if output.shape else 0
    return Goal("output", output.shape, index=index if isinstance(target, list) else index.repeat(n), as_tuples=True)


def _weights(output: Output, n: int, values: Array) -> Array:
    if values.shape not in (output.shape, (1, *output.shape), (n, *output.shape)) or values.ndim == 0:
        raise ValueError(
            f"`target` has the shape {values.shape}; a float array weights the outputs and must have the shape "
            f"{(n, *output.shape)} or {output.shape}. For a class number give an int"
        )
    if not np.isfinite(values).all():
        raise ValueError("`target` has NaN or infinite weights")
    return np.broadcast_to(values, (n, *output.shape)).reshape(n, math.prod(output.shape)).astype(np.float64)


def _classes(name: str, output: Output, n: int, target: Any, values: Array) -> Array:
    if values.dtype.kind not in "iu" and not (values.size == 0 and n == 0):
        raise TypeError(
            f"`{name}` (={target!r}) must be None, an int, an int array ({n},), a tuple index, or a float array of the "
            f"output's shape {_shape(output)}"
        )
    classes = output.classes
    if classes is None:
        raise ValueError(
            f"`{name}` (={target!r}) cannot be a class: {output.name!r} has the shape {_shape(output)}; give a tuple "
            f"index such as {tuple(size // 2 for size in output.shape)}, or a float array of that shape"
        )
    if values.ndim > 1 or (values.ndim == 1 and len(values) != n):
        raise ValueError(f"`{name}` has the shape {values.shape} for {n} images; give an int, or an int array ({n},)")
    for label in values.ravel().tolist():
        if not 0 <= label < classes:
            raise ValueError(
                f"`{name}` (={label}) is out of range: {output.name!r} has {classes} classes, 0 to {classes - 1}"
            )
    return values.astype(np.int64) if values.ndim else np.full(n, values, np.int64)


def _shape(output: Output) -> str:
    return "(" + ", ".join(["N", *map(str, output.shape)]) + ")"


def _log_sum_exp(flat: Array) -> Array:
    top = flat.max(axis=1, initial=-np.inf)
    return np.asarray(top + np.log(np.exp(flat - top[:, np.newaxis]).sum(axis=1)))
