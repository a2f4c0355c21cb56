"""Arithmetic on what is known at import: shapes, axes, constants. Arrays of objects hold the number of images too."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import UnsupportedError
from ._batch import Batch, ImageNumber
from ._registry import folds
from ._site import Site
from ._tensors import dtype_name

Array = npt.NDArray[Any]

_OBJECT_BYTES = 64  # an element that holds the number of images


def plain(array: Array) -> Array:
    """An array of objects as numbers again, when none of them is the number of images."""
    if array.dtype != object or any(isinstance(value, (Batch, ImageNumber)) for value in array.reshape(-1)):
        return array
    values = array.reshape(-1).tolist()
    kind: Any = np.int64
    if any(isinstance(value, (bool, np.bool_)) for value in values):
        kind = np.bool_
    elif any(isinstance(value, (float, np.floating)) for value in values):
        kind = np.float32
    return np.array(values, kind).reshape(array.shape)


def keep_images_first(site: Site, arrays: Sequence[Array | None]) -> None:
    """Refuse what moves or mixes the axis of images' numbers, which has one element here for all of them."""
    known = [np.asarray(array) for array in arrays if array is not None]
    ranks = {a.ndim for a in known if a.dtype == object and any(isinstance(v, ImageNumber) for v in a.flat)}
    if not ranks:
        return
    rank = max(ranks)
    fits = site.op in ("Identity", "Cast")
    if site.op in ("Add", "Mul"):  # the others have fewer axes, or one element along the first
        fits = len(ranks) == 1 and all(a.ndim < rank or (a.ndim == rank and len(a) == 1) for a in known)
    if site.op == "Unsqueeze":
        axes = site.ints("axes", 1) or []
        fits = all(axis % (rank + len(axes)) > 0 for axis in axes)
    if not fits:
        raise UnsupportedError("it moves or mixes images' numbers in the batch; supported: Add, Mul and axes behind it")


def _sized(site: Site, shape: Sequence[Any], dtype: Any) -> tuple[int, ...]:
    """The shape, after making sure that it may be allocated."""
    sizes = tuple(int(size) for size in shape)
    if min(sizes, default=0) < 0:
        raise ValueError(f"its shape {sizes} holds a negative size")
    site.spend(math.prod(sizes) * (_OBJECT_BYTES if np.dtype(dtype).hasobject else np.dtype(dtype).itemsize))
    return sizes


@folds("Shape")
def _shape(site: Site, shape: Array) -> Array:
    return plain(shape[site.attribute("start", 0) : site.attribute("end", len(shape))])


@folds("Size")
def _size(site: Site, shape: Array) -> Array:
    count: Any = 1
    for size in shape:
        count = size * count
    return plain(np.array(count, object)).reshape(())


@folds("Identity")
def _identity(site: Site, x: Array, *unused: Array | None) -> Array:
    return x


@folds("Constant")
def _constant(site: Site) -> Array:
    for name, dtype in (("value_int", np.int64), ("value_ints", np.int64)):
        if name in site.attributes:
            return np.array(site.attributes[name], dtype)
    for name in ("value_float", "value_floats"):
        if name in site.attributes:
            return np.array(site.attributes[name], np.float32)
    value = site.attribute("value")
    if not isinstance(value, np.ndarray):
        raise UnsupportedError(f"it has {', '.join(site.attributes) or 'no value'}; supported: tensors and numbers")
    return value


@folds("ConstantOfShape")
def _constant_of_shape(site: Site, shape: Array) -> Array:
    value = np.reshape(site.attribute("value", np.zeros(1, np.float32)), -1)
    if shape.dtype == object and not value[0] and shape.ndim == 1 and len(shape) == 1:
        raise UnsupportedError("a constant of as many elements as images is not known at import")
    if value.size != 1:
        raise ValueError(f"`value` has {value.size} elements; it must have one")
    return np.broadcast_to(value[0], _sized(site, shape.reshape(-1).tolist(), value.dtype))


@folds("Cast")
def _cast(site: Site, x: Array) -> Array:
    name = dtype_name(int(site.attribute("to", 1)), "`to`")
    if x.dtype == object:  # sizes: whole numbers, whatever their type
        return (
            x
            if "int" in name
            else np.array([v if isinstance(v, Batch) else float(v) for v in x.flat], object).reshape(x.shape)
        )
    if name == "bfloat16":
        raise UnsupportedError("`to` is bfloat16; supported at import: the types of NumPy")
    return x.astype(name)


@folds("CastLike")
def _cast_like(site: Site, x: Array, target: Array) -> Array:
    return x if object in (x.dtype, target.dtype) else x.astype(target.dtype)


@folds("Range")
def _range(site: Site, start: Array, limit: Array, delta: Array) -> Array:
    first, end, step = start.item(), limit.item(), delta.item()
    if (first, end, step) == (0, Batch(), 1):
        return np.array([ImageNumber()], object)
    count = max(0, math.ceil((end - first) / step))
    _sized(site, (count,), start.dtype)
    values = first + np.arange(count) * step
    return np.asarray(values.astype(np.int64 if start.dtype == object else start.dtype))


@folds("Gather")
def _gather(site: Site, x: Array, indices: Array) -> Array:
    axis = site.axis(int(site.attribute("axis", 0)), x.ndim)
    _sized(site, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype)
    return plain(np.asarray(np.take(x, indices.astype(np.int64), axis=axis)))


@folds("Concat")
def _concat(site: Site, *parts: Array) -> Array:
    site.spend(sum(part.nbytes for part in parts))
    return plain(np.concatenate(parts, axis=int(site.attribute("axis", 1))))


@folds("Slice")
def _slice(site: Site, x: Array, *rest: Array | None) -> Array:
    starts, ends = site.ints("starts", 1), site.ints("ends", 2)
    if starts is None or ends is None:
        raise ValueError("`starts` or `ends` is missing")
    axes = site.ints("axes", 3) or list(range(len(starts)))
    steps = site.ints("steps", 4) or [1] * len(starts)
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        index[site.axis(axis, x.ndim, "axes")] = slice(start, end if step > 0 or end >= -x.shape[axis] else None, step)
    return plain(x[tuple(index)])


@folds("Split")
def _split(site: Site, x: Array, split: Array | None = None) -> list[Array]:
    axis = site.axis(int(site.attribute("axis", 0)), x.ndim)
    sizes = site.ints("split", 1)
    if sizes is None:
        each = -(-x.shape[axis] // len(site.outputs))
        return [plain(part) for part in np.split(x, range(each, x.shape[axis], each), axis)]
    return [plain(part) for part in np.split(x, np.cumsum(sizes)[:-1], axis)]


@folds("Squeeze")
def _squeeze(site: Site, x: Array, axes: Array | None = None) -> Array:
    given = site.ints("axes", 1)
    return np.squeeze(x, None if given is None else tuple(given))


@folds("Unsqueeze")
def _unsqueeze(site: Site, x: Array, axes: Array | None = None) -> Array:
    return np.expand_dims(x, tuple(site.ints("axes", 1) or ()))


@folds("Flatten")
def _flatten(site: Site, x: Array) -> Array:
    axis = int(site.attribute("axis", 1))
    return x.reshape(math.prod(x.shape[: axis % x.ndim if axis < 0 else axis]), -1)


@folds("Transpose")
def _transpose(site: Site, x: Array) -> Array:
    return np.transpose(x, site.attribute("perm"))


@folds("Reshape")
def _reshape(site: Site, x: Array, shape: Array | None = None) -> Array:
    wanted = site.ints("shape", 1) or []
    if not site.attribute("allowzero", 0):
        wanted = [x.shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    return x.reshape(wanted)


@folds("Expand")
def _expand(site: Site, x: Array, shape: Array) -> Array:
    wanted = np.broadcast_shapes(x.shape, tuple(int(size) for size in shape.reshape(-1)))
    return np.broadcast_to(x, _sized(site, wanted, x.dtype))


@folds("Tile")
def _tile(site: Site, x: Array, repeats: Array) -> Array:
    counts = [int(count) for count in repeats.reshape(-1)]
    _sized(site, [size * count for size, count in zip(x.shape, counts, strict=True)], x.dtype)
    return np.tile(x, counts)


@folds("Where")
def _where(site: Site, condition: Array, a: Array, b: Array) -> Array:
    shape = np.broadcast_shapes(condition.shape, a.shape, b.shape)
    _sized(site, shape, a.dtype)
    return plain(np.where(condition, a, b))


def _divide(a: Array, b: Array) -> Array:
    if a.dtype == object or b.dtype == object:
        whole = all(isinstance(v, (int, np.integer, Batch)) for x in (a, b) for v in np.asarray(x).flat)
        return np.asarray(a // b if whole else a / b)
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    if not np.all(b):
        raise ValueError("it divides by 0")
    quotient = np.abs(a) // np.abs(b)  # towards zero
    return np.asarray(np.where((a < 0) != (b < 0), -quotient, quotient).astype(a.dtype))


_BINARY: dict[str, Callable[[Array, Array], Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": _divide,
    "Pow": np.power,
    "Equal": operator.eq,
    "Less": operator.lt,
    "LessOrEqual": operator.le,
    "Greater": operator.gt,
    "GreaterOrEqual": operator.ge,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Max": np.maximum,
    "Min": np.minimum,
}
_UNARY: dict[str, Callable[[Array], Any]] = {
    "Neg": operator.neg,
    "Abs": np.abs,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Round": np.rint,
    "Sqrt": np.sqrt,
    "Not": np.logical_not,
    "Exp": np.exp,
    "Log": np.log,
    "Sign": np.sign,
    "Reciprocal": lambda x: (1 / x).astype(x.dtype),
}


def _register_arithmetic() -> None:
    for name, binary in _BINARY.items():

        def fold_binary(site: Site, *arrays: Array, f: Callable[[Array, Array], Any] = binary) -> Array:
            result = arrays[0]
            for other in arrays[1:]:
                dtype = result.dtype
                _sized(
                    site, np.broadcast_shapes(np.shape(result), other.shape), object if other.dtype == object else dtype
                )
                result = np.asarray(f(result, other))
                if site.op == "Pow" and dtype.kind != "O":
                    result = result.astype(dtype)
            return plain(result)

        folds(name)(fold_binary)
    for name, unary in _UNARY.items():

        def fold_unary(site: Site, x: Array, f: Callable[[Array], Any] = unary) -> Array:
            site.spend(x.nbytes)
            if x.dtype == object and site.op in ("Floor", "Ceil", "Round"):  # the number of images is whole
                rounded = [value if isinstance(value, Batch) else f(value) for value in x.flat]
                return plain(np.array(rounded, object).reshape(x.shape))
            return plain(np.asarray(f(x)))

        folds(name)(fold_unary)


_register_arithmetic()

_REDUCTIONS: dict[str, Any] = {
    "ReduceProd": np.multiply,
    "ReduceSum": np.add,
    "ReduceMax": np.maximum,
    "ReduceMin": np.minimum,
}


@folds(*_REDUCTIONS)
def _reduce(site: Site, x: Array, axes: Array | None = None) -> Array:
    given = site.ints("axes", 1)
    if not given and site.attribute("noop_with_empty_axes", 0):
        return x
    along = tuple(given) if given else tuple(range(x.ndim))
    result = np.asarray(_REDUCTIONS[site.op].reduce(x, axis=along, keepdims=bool(site.attribute("keepdims", 1))))
    return plain(result if x.dtype == object else result.astype(x.dtype))


@folds("CumSum")
def _cumulative(site: Site, x: Array, axis: Array) -> Array:
    """Sums from the front, or from the back; "exclusive" leaves each element out of its own."""
    along = int(axis)
    turned = np.flip(x, along) if site.attribute("reverse", 0) else x
    total = np.cumsum(turned, along)
    if site.attribute("exclusive", 0):
        total = total - turned
    return np.asarray(np.flip(total, along) if site.attribute("reverse", 0) else total).astype(x.dtype)


@folds("Mod")
def _modulo(site: Site, a: Array, b: Array) -> Array:
    if a.dtype.kind in "iu" and not np.all(b):
        raise ValueError("it divides by 0")
    _sized(site, np.broadcast_shapes(a.shape, b.shape), a.dtype)
    return np.asarray(np.fmod(a, b) if site.attribute("fmod", 0) else np.remainder(a, b))
