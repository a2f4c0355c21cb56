"""Element-wise functions and changes of shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from .._arguments import checked
from ..graph import Padding, resolve_padding
from ._call import Array, Build, array_of, floats, hashable, images, replayed, run, same_dtype


@replayed
def relu(x: npt.ArrayLike) -> Array:
    """Compute ``max(x, 0)`` of an array of any shape; NaN stays NaN."""
    return _apply("Relu", lambda b: [b.add("Relu", "x")], x=x)


@replayed
def sigmoid(x: npt.ArrayLike) -> Array:
    """Compute ``1 / (1 + exp(-x))`` of an array of any shape."""
    return _apply("Sigmoid", lambda b: [b.add("Sigmoid", "x")], x=x)


@replayed
def tanh(x: npt.ArrayLike) -> Array:
    """Compute the hyperbolic tangent of an array of any shape."""
    return _apply("Tanh", lambda b: [b.add("Tanh", "x")], x=x)


@replayed
def relu_grad(grad_output: npt.ArrayLike, output: npt.ArrayLike) -> Array:
    """Carry a gradient through a ReLU, given its output: zero where that is not positive."""

    def build(b: Build) -> Sequence[str]:
        zero = b.scalar(0.0)
        return [b.add("Where", b.add("Greater", "output", zero), "grad_output", zero)]

    return _apply("relu_grad", build, grad_output=grad_output, output=output)


@replayed
def sigmoid_grad(grad_output: npt.ArrayLike, output: npt.ArrayLike) -> Array:
    """Carry a gradient through a sigmoid, given its output: ``g y (1 - y)``."""

    def build(b: Build) -> Sequence[str]:
        slope = b.add("Mul", "output", b.add("Sub", b.scalar(1.0), "output"))
        return [b.add("Mul", "grad_output", slope)]

    return _apply("sigmoid_grad", build, grad_output=grad_output, output=output)


@replayed
def tanh_grad(grad_output: npt.ArrayLike, output: npt.ArrayLike) -> Array:
    """Carry a gradient through a hyperbolic tangent, given its output: ``g (1 - y y)``."""

    def build(b: Build) -> Sequence[str]:
        slope = b.add("Sub", b.scalar(1.0), b.add("Mul", "output", "output"))
        return [b.add("Mul", "grad_output", slope)]

    return _apply("tanh_grad", build, grad_output=grad_output, output=output)


@checked
def flatten(x: npt.ArrayLike, start_dim: int = 1) -> Array:
    """Join the axes from `start_dim` on into one, without a copy: (N, C, H, W) becomes (N, C * H * W)."""
    array = array_of(x, "x")
    first = start_dim + array.ndim if start_dim < 0 else start_dim
    if not 0 <= first < max(array.ndim, 1):
        raise ValueError(f"`start_dim` (={start_dim}) must be an axis of `x`, whose shape is {array.shape}")
    size = int(np.prod(array.shape[first:], dtype=np.int64))
    return array.reshape(*array.shape[:first], size)


@checked
def reshape(x: npt.ArrayLike, shape: Sequence[int]) -> Array:
    """Give `x` another shape with as many elements; one size may be -1."""
    array = array_of(x, "x")
    try:
        return array.reshape(shape)
    except ValueError:
        raise ValueError(
            f"`shape` (={tuple(shape)}) must hold the {array.size} numbers of `x` {array.shape}; one size may be -1"
        ) from None


@replayed
@checked
def pad(x: npt.ArrayLike, padding: Padding, value: float = 0.0) -> Array:
    """Surround images with rows and columns of one value.

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W), float32 or float64
    padding : int, (height, width) or ((top, bottom), (left, right))
    value : float

    Returns
    -------
    ndarray of shape (N, C, top + H + bottom, left + W + right)
    """
    x = images(x)
    if isinstance(padding, str):
        raise ValueError(f"`padding` (={padding!r}) must be an int, (height, width) or ((top, bottom), (left, right))")
    top, left, bottom, right = resolve_padding(padding, (x.shape[2], x.shape[3]), (1, 1))

    def build(b: Build) -> Sequence[str]:
        return [b.add("Pad", "x", b.integers([0, 0, top, left, 0, 0, bottom, right]), b.scalar(value))]

    return run(("pad", hashable((top, left, bottom, right)), value), {"x": x}, build)[0]


def _apply(key: str, build: Callable[[Build], Sequence[str]], **values: npt.ArrayLike) -> Array:
    arrays = {name: floats(value, name) for name, value in values.items()}
    same_dtype(**arrays)
    first = next(iter(arrays))
    shape = arrays[first].shape
    for name, array in arrays.items():
        if array.shape != shape:
            raise ValueError(f"`{name}` has shape {array.shape} and `{first}` {shape}; they must be equal")
    if arrays[first].size == 0:
        return np.array(arrays[first])
    rows = (shape[0], -1) if len(shape) > 1 else (1, -1)
    result: Array = run((key,), {name: array.reshape(rows) for name, array in arrays.items()}, build)[0].reshape(shape)
    return result
