"""Shape rules of operators that move elements: joining, slicing, transposing, repeating, axes of size 1."""

from __future__ import annotations

from dataclasses import dataclass

from .._errors import UnsupportedError
from ._ir import BATCH, Dim, Shape, TensorType
from ._registry import NUMBERS, Call, axis_of, broadcast, shape_rule, show

_ANY = (*NUMBERS, "bool")


@dataclass(frozen=True)
class Cut:
    """What a slice takes of one axis: ``start, start + step, ...``, `count` of them; the step may be negative."""

    start: int
    step: int
    count: int

    def keeps(self, size: Dim) -> bool:
        """Whether nothing is cut away or moved; the batch is never cut."""
        return size == BATCH or (self.start, self.step, self.count) == (0, 1, size)


_WHOLE = Cut(0, 1, 0)


@shape_rule("Concat", "x*", axis=None)
def _concat(call: Call) -> TensorType:
    kinds = [call.types[name] for name in call.node.inputs]
    first = kinds[0]
    if call.attribute("axis") is None:
        raise ValueError("`axis` is missing; give the axis to join, 1 for channels")
    rank = len(first.shape)
    axis = axis_of(int(call.attribute("axis")), rank)
    if first.batched and axis == 0:
        raise UnsupportedError("`axis` (=0) is the batch; images are joined by the caller")
    total = 0
    for kind in kinds:
        if kind.dtype not in _ANY or kind.dtype != first.dtype:
            raise ValueError(f"the inputs must have one dtype, not {first.dtype} and {kind.dtype}")
        alike = len(kind.shape) == rank and all(
            a == b for i, (a, b) in enumerate(zip(kind.shape, first.shape, strict=True)) if i != axis
        )
        if not alike:
            raise ValueError(
                f"the inputs must have equal sizes but along `axis` (={axis}), not {show(first.shape)} and "
                f"{show(kind.shape)}"
            )
        total += int(kind.shape[axis])
    return TensorType(first.dtype, (*first.shape[:axis], total, *first.shape[axis + 1 :]))


@shape_rule("Slice", "x starts ends axes? steps?")
def _slice(call: Call) -> TensorType:
    x = call.kind("x", _ANY)
    return TensorType(x.dtype, tuple(d if d == BATCH else c.count for d, c in zip(x.shape, cuts_of(call), strict=True)))


# The gradient of a Slice: `dy` at the places it was taken from, zeros elsewhere. `starts` and `steps` are those of the
# Slice along `axes`, counted from the front; `input_shape` is that of its input, without the batch.
@shape_rule("SliceGrad", "dy", axes=(), starts=(), steps=(), input_shape=None)
def _slice_grad(call: Call) -> TensorType:
    dy = call.kind("dy")
    shape = _gradient_shape(call, dy)
    for size, have, cut in zip(shape, dy.shape, cuts_of(call), strict=True):
        last = cut.start + (cut.count - 1) * cut.step
        if have != BATCH and not (cut.step and 0 <= cut.start < int(size) and 0 <= last < int(size)):
            raise ValueError(f"`dy` {show(dy.shape)} reaches beyond `input_shape` (={show(shape)})")
    return TensorType(dy.dtype, shape)


def _gradient_shape(call: Call, dy: TensorType) -> Shape:
    given = call.attribute("input_shape")
    if given is None or len(given) != len(dy.per_image):
        raise ValueError(f"`input_shape` (={given}) must be the sliced tensor's {len(dy.per_image)} sizes")
    return (*dy.shape[: int(dy.batched)], *(int(d) for d in given))


def cuts_of(call: Call) -> list[Cut]:
    """What a Slice takes of each axis, or a SliceGrad gives back; ends and starts beyond an axis are clipped to it.

    Raises
    ------
    ValueError
        If nothing is left of an axis, or an axis comes twice.
    UnsupportedError
        If the batch is cut.
    """
    if call.node.op == "SliceGrad":
        dy = call.kind("dy")
        cuts = [Cut(0, 1, 0 if d == BATCH else int(d)) for d in dy.shape]
        for axis, start, step in zip(*(call.attribute(name) for name in ("axes", "starts", "steps")), strict=True):
            cuts[axis] = Cut(int(start), int(step), cuts[axis].count)
        return cuts
    x = call.kind("x", _ANY)
    rank = len(x.shape)
    starts = [int(v) for v in call.constant("starts").reshape(-1)]
    ends = [int(v) for v in call.constant("ends").reshape(-1)]
    axes = [int(v) for v in call.constant("axes").reshape(-1)] if call.has("axes") else list(range(len(starts)))
    steps = [int(v) for v in call.constant("steps").reshape(-1)] if call.has("steps") else [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise ValueError(
            f"`starts` (={starts}), `ends` (={ends}), `axes` (={axes}) and `steps` (={steps}) must be of one length"
        )
    cuts = [_WHOLE if d == BATCH else Cut(0, 1, int(d)) for d in x.shape]
    seen = set()
    for start, end, given, step in zip(starts, ends, axes, steps, strict=True):
        axis = axis_of(given, rank, "axes")
        if axis in seen:
            raise ValueError(f"`axes` (={axes}) names axis {axis} twice")
        seen.add(axis)
        if step == 0:
            raise ValueError(f"`steps` (={steps}) must not be 0")
        size = x.shape[axis]
        if size == BATCH:
            if (start, step) != (0, 1) or end < 2**31 - 1:
                raise UnsupportedError(f"`starts` (={starts}) and `ends` (={ends}) cut the batch; slice the images")
            continue
        taken = range(*slice(start, end, step).indices(int(size)))
        if not taken:
            raise ValueError(f"[{start}:{end}:{step}] leaves nothing of axis {axis}, which has {size}")
        cuts[axis] = Cut(taken.start, step, len(taken))
    return cuts


@shape_rule("Split", "x split?", axis=0, num_outputs=None)
def _split(call: Call) -> tuple[TensorType, ...]:
    x = call.kind("x", _ANY)
    axis = axis_of(int(call.attribute("axis")), len(x.shape))
    sizes = split_sizes(call)
    return tuple(TensorType(x.dtype, (*x.shape[:axis], size, *x.shape[axis + 1 :])) for size in sizes)


def split_sizes(call: Call) -> list[int]:
    """The sizes a Split cuts its axis into."""
    x = call.kind("x", _ANY)
    axis = axis_of(int(call.attribute("axis")), len(x.shape))
    if x.shape[axis] == BATCH:
        raise UnsupportedError(f"`axis` (={axis}) is the batch; images are split by the caller")
    size = int(x.shape[axis])
    if call.has("split"):
        sizes = [int(v) for v in call.constant("split").reshape(-1)]
    else:
        parts = int(call.attribute("num_outputs") or len(call.node.outputs))
        each = -(-size // parts)
        sizes = [min(each, size - i * each) for i in range(parts)]
    if min(sizes, default=0) < 1 or sum(sizes) != size:
        raise ValueError(f"`split` (={sizes}) must be sizes of at least 1 that add up to the {size} of axis {axis}")
    return sizes


@shape_rule("Transpose", "x", perm=None)
def _transpose(call: Call) -> TensorType:
    x = call.kind("x", _ANY)
    return TensorType(x.dtype, tuple(x.shape[axis] for axis in permutation_of(call)))


def permutation_of(call: Call) -> tuple[int, ...]:
    """Which axis of the input each axis of a Transpose is."""
    x = call.kind("x", _ANY)
    rank = len(x.shape)
    given = call.attribute("perm")
    perm = tuple(reversed(range(rank))) if given is None else tuple(int(axis) for axis in given)
    if sorted(perm) != list(range(rank)):
        raise ValueError(f"`perm` (={perm}) must hold each of the {rank} axes once")
    if x.batched and perm[0] != 0:
        raise UnsupportedError(f"`perm` (={perm}) must begin with 0: the batch N stays the first axis")
    return perm


@shape_rule("Expand", "x shape")
def _expand(call: Call) -> TensorType:
    x = call.kind("x", _ANY)
    wanted = tuple(int(v) for v in call.constant("shape").reshape(-1))
    if min(wanted, default=1) < 1:
        raise ValueError(f"`shape` (={wanted}) must be sizes of at least 1; 1 keeps the input's size")
    return TensorType(x.dtype, broadcast(x.shape, wanted))


@shape_rule("Squeeze", "x axes?")
def _squeeze(call: Call) -> TensorType:
    x = call.kind("x", _ANY)
    rank = len(x.shape)
    if call.has("axes"):
        axes = {axis_of(int(v), rank, "axes") for v in call.constant("axes").reshape(-1)}
    else:
        axes = {i for i, dim in enumerate(x.shape) if dim == 1}
    for axis in sorted(axes):
        if x.shape[axis] != 1:
            raise ValueError(f"`axes` (={sorted(axes)}) must have size 1; axis {axis} has {x.shape[axis]}")
    return TensorType(x.dtype, tuple(dim for i, dim in enumerate(x.shape) if i not in axes))


@shape_rule("Unsqueeze", "x axes")
def _unsqueeze(call: Call) -> TensorType:
    x = call.kind("x", _ANY)
    given = [int(v) for v in call.constant("axes").reshape(-1)]
    rank = len(x.shape) + len(given)
    axes = {axis_of(axis, rank, "axes") for axis in given}
    if len(axes) != len(given):
        raise ValueError(f"`axes` (={given}) names an axis twice")
    if x.batched and 0 in axes:
        raise UnsupportedError(f"`axes` (={given}) must not hold 0: the batch N stays the first axis")
    dims = iter(x.shape)
    return TensorType(x.dtype, tuple(1 if i in axes else next(dims) for i in range(rank)))


# Rows of a table by whole numbers, which may count from the end. The table is the same for all images.
@shape_rule("Gather", "data indices", axis=0)
def _gather(call: Call) -> TensorType:
    data, indices = call.kind("data", _ANY), call.kind("indices", ("int64", "int32"))
    if data.batched:
        raise UnsupportedError(f"`data` is {data}; a table must be the same for all images, without the batch")
    if not data.shape:
        raise ValueError("`data` must have at least one axis")
    axis = axis_of(int(call.attribute("axis")), len(data.shape))
    if indices.batched and axis != 0:
        raise UnsupportedError(f"`axis` (={axis}) must be 0 where the indices are given for each image")
    return TensorType(data.dtype, (*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]))
