"""Operators that move elements, as three ops of lowering: Copy, Join and Crop.

Join lays channels, rows or columns end to end or takes a run of them, and Crop cuts or surrounds images; both take any
layout. Copy does the rest on plain tensors: up to six axes with strides of any sign.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..graph import Cut, TensorType, cuts_of, pad_widths, permutation_of, split_sizes, window_of
from ._expand import add_op, alias
from ._expression import Expression
from ._flow import Chw, Flow, Op, chw, operand_shape
from ._target import spreads_its_products

AXES, MAX_JOINED = 6, 16


@dataclass(frozen=True)
class Axis:
    """One axis of what a Copy writes: `count` indices from `begin` on, `step` apart, read `stride` elements apart."""

    size: int
    begin: int
    step: int
    count: int
    stride: int

    @property
    def whole(self) -> bool:
        """Whether the window is the whole axis."""
        return (self.begin, self.step, self.count) == (0, 1, self.size)


def whole(size: int, stride: int) -> Axis:
    """An axis that is copied from end to end."""
    return Axis(size, 0, 1, size, stride)


def strides(dims: Sequence[int]) -> list[int]:
    """Elements from an index to the next, in plain order."""
    return [math.prod(dims[i + 1 :]) for i in range(len(dims))]


def copy(
    flow: Flow, like: Op, source: str, out: str, kind: TensorType, axes: list[Axis], offset: int = 0, value: float = 0.0
) -> str:
    """Append a Copy that makes `out`; neighbouring axes are joined where their elements lie on end."""
    for name in (source, out):
        if not flow.types.get(name, kind).dtype.startswith("float"):
            like.unsupported(f"{name!r} is {flow.types.get(name, kind)}; supported: float32 and float64")
    joined: list[Axis] = []
    for axis in axes:
        last = joined[-1] if joined else None
        if axis.size == 1 and axis.whole:
            continue
        if last is not None and last.whole and axis.whole and last.stride == axis.stride * axis.size:
            joined[-1] = whole(last.size * axis.size, axis.stride)
        else:
            joined.append(axis)
    if len(joined) > AXES:
        like.unsupported(f"{kind} moves {len(joined)} axes at once; supported: {AXES}")
    joined = [whole(1, 0)] * (AXES - len(joined)) + joined
    fields = ("size", "begin", "step", "count", "stride")
    walk = [getattr(axis, field) for field in fields for axis in joined]
    flow.types[out] = kind
    flow.ops.append(Op("Copy", [source], [out], {"walk": [*walk, offset, float(value)]}, like.name))
    return out


def join(
    flow: Flow, like: Op, sources: list[str], out: str, kind: TensorType, axis: int, start: int = 0, groups: int = 1
) -> str:
    """Append a Join along channels (0), rows (1) or columns (2); in `groups` the channels joined are shuffled."""
    if not kind.dtype.startswith("float"):
        like.unsupported(f"{out!r} is {kind}; supported: float32 and float64")
    flow.types[out] = kind
    flow.ops.append(Op("Join", sources, [out], {"axis": axis, "start": start, "groups": groups}, like.name))
    return out


def transpose(flow: Flow, op: Op) -> None:
    """Transpose; an alias when only axes of size 1 move, a Join where it shuffles channels."""
    kind = flow.types[op.inputs[0]]
    lead, dims = int(kind.batched), kind.per_image
    perm = [axis - lead for axis in permutation_of(flow.call(op))[lead:]]
    if all(a < b for a, b in pairwise(axis for axis in perm if dims[axis] != 1)):
        alias(flow, op.inputs[0], op.outputs[0])
        return
    if kind.batched and perm[:2] == [1, 0] and perm[2:] == list(range(2, len(dims))) and len(dims) > 2:
        shape = TensorType(kind.dtype, ("N", dims[0] * dims[1], *dims[2:]))
        if kind.dtype.startswith("float") and chw(shape) == flow.base_of(op.inputs[0]):
            channels, shuffled = f"{op.outputs[0]}/channels", f"{op.outputs[0]}/shuffled"
            flow.types[channels] = shape
            alias(flow, op.inputs[0], channels)
            alias(flow, join(flow, op, [channels], shuffled, shape, 0, groups=dims[0]), op.outputs[0])
            return
    step = strides(dims)
    axes = [whole(dims[axis], step[axis]) for axis in perm]
    copy(flow, op, op.inputs[0], op.outputs[0], flow.types[op.outputs[0]], axes)


def slice_(flow: Flow, op: Op) -> None:
    """A run of channels, a rectangle of the images, or any other slice."""
    _take(flow, op, op.inputs[0], op.outputs[0], cuts_of(flow.call(op)))


def split(flow: Flow, op: Op) -> None:
    """A slice for each part."""
    call = flow.call(op)
    kind = flow.types[op.inputs[0]]
    axis, start = int(call.attribute("axis")) % len(kind.shape), 0
    for out, size in zip(op.outputs, split_sizes(call), strict=False):
        cuts = [Cut(0, 1, 0 if d == "N" else int(d)) for d in kind.shape]
        cuts[axis] = Cut(start, 1, size)
        start += size
        if out:
            _take(flow, op, op.inputs[0], out, cuts)


def _take(flow: Flow, op: Op, x: str, out: str, cuts: list[Cut]) -> None:
    kind = flow.types[x]
    dims, cuts = kind.per_image, cuts[int(kind.batched) :]
    moved = [i for i, cut in enumerate(cuts) if not cut.keeps(dims[i])]
    made = flow.types[out]
    if not moved:
        alias(flow, x, out)
    elif kind.batched and moved == [0] and cuts[0].step == 1:
        join(flow, op, [x], out, made, 0, cuts[0].start)
    elif _rectangle(kind, moved, cuts):
        crop(flow, op, x, out, made, [-cuts[i].start if i in moved else 0 for i in range(1, len(dims))])
    else:
        step = strides(dims)
        axes = [whole(cut.count, s * cut.step) for cut, s in zip(cuts, step, strict=True)]
        copy(flow, op, x, out, made, axes, sum(cut.start * s for cut, s in zip(cuts, step, strict=True)))


def slice_grad(flow: Flow, op: Op) -> None:
    """The gradient of a slice: zeros around, and between, what it took."""
    dy, out = op.inputs[0], op.outputs[0]
    kind, made = flow.types[dy], flow.types[out]
    dims, cuts = made.per_image, cuts_of(flow.call(op))[int(kind.batched) :]
    moved = [i for i, cut in enumerate(cuts) if not cut.keeps(dims[i])]
    if not moved:
        alias(flow, dy, out)
    elif kind.batched and moved == [0] and cuts[0].step == 1:
        join(flow, op, [dy], out, made, 0, -cuts[0].start)
    elif _rectangle(made, moved, cuts):
        crop(flow, op, dy, out, made, [cuts[i].start if i in moved else 0 for i in range(1, len(dims))])
    else:
        offset, axes = 0, []
        for size, cut, stride in zip(dims, cuts, strides(kind.per_image), strict=True):
            begin, step = cut.start, cut.step
            if step < 0:  # from the other end
                begin, step = begin + (cut.count - 1) * step, -step
                offset, stride = offset + (cut.count - 1) * stride, -stride
            axes.append(Axis(size, begin, step, cut.count, stride))
        copy(flow, op, dy, out, made, axes, offset)


def pointwise_grad_input(flow: Flow, op: Op) -> None:
    """The gradient of a 1 x 1 convolution by constants nobody else reads: one by their transpose, spread by the stride.

    As a gradient its weight would be transposed at every call, since forward and backward share one packing. A small
    one is: the gradient of plain tensors goes to its places by itself.
    """
    dy, w, out = op.inputs[0], op.inputs[1], op.outputs[0]
    window, (c, *size) = window_of(flow.node(op), flow.types), flow.types[out].per_image
    plain = len(size) == 2 and window.kernel == (1, 1) and not any(window.pads) and op.attributes.get("group", 1) == 1
    alone = w in flow.graph.constants and sum(node.inputs.count(w) for node in flow.graph.nodes) == 1
    strided, k = window.stride != (1, 1), int(flow.types[w].shape[0])
    asked = dy in flow.graph.inputs and out in flow.requested and len(op.inputs) == 2
    if not (plain and alone and asked) or (strided and spreads_its_products(c, k)):
        flow.ops.append(op)
        return
    turned, kind = f"{w}/transposed", flow.types[w]
    flow.types[turned] = TensorType(kind.dtype, (c, k, 1, 1))
    flow.constants[turned] = Expression((c, k, 1, 1), "Transpose", (flow.constants[w],), (("perm", (1, 0, 2, 3)),))
    small = f"{out}/unspread" if strided else out
    _, p, q = flow.types[dy].per_image
    flow.types[small] = TensorType(kind.dtype, (*flow.types[out].shape[:1], c, p, q))
    flow.ops.append(Op("Conv", [dy, turned], [small], {"kernel_shape": (1, 1)}, op.name))
    if strided:
        rows, columns = Axis(size[0], 0, window.stride[0], p, q), Axis(size[1], 0, window.stride[1], q, 1)
        copy(flow, op, small, out, flow.types[out], [whole(c, p * q), rows, columns])


def _rectangle(kind: TensorType, moved: list[int], cuts: list[Cut]) -> bool:
    """Whether rows and columns of images are cut alone, one after the other."""
    steps = all(cuts[i].step == 1 for i in moved)
    return kind.batched and len(cuts) in (2, 3) and 0 not in moved and steps


def crop(flow: Flow, op: Op, x: str, out: str, kind: TensorType, pads: list[int]) -> None:
    """Append a Crop: rows and columns (or columns alone) move by `pads`."""
    if not kind.dtype.startswith("float"):
        op.unsupported(f"{out!r} is {kind}; supported: float32 and float64")
    top, left = pads if len(pads) == 2 else (0, pads[0])
    flow.types[out] = kind
    flow.ops.append(Op("Crop", [x], [out], {"top": top, "left": left}, op.name))


def pad(flow: Flow, op: Op) -> None:
    """Pads of height and width stay a Pad; others are windows."""
    kind, widths = flow.types[op.inputs[0]], pad_widths(flow.call(op))
    images = kind.batched and len(widths) in (3, 4) and not any(any(pair) for pair in widths[:2])
    value = op.inputs[2] if len(op.inputs) > 2 else ""
    if value and value not in flow.immediates:
        op.unsupported("its constant_value must be a number known beforehand")
    if images:
        flow.ops.append(op)
        return
    dims, axes, offset = kind.per_image, [], 0
    for size, stride, (before, after) in zip(dims, strides(dims), widths[int(kind.batched) :], strict=True):
        grown, begin, first = size + before + after, max(before, 0), max(-before, 0)
        axes.append(Axis(grown, begin, 1, max(0, min(size - first, grown - begin)), stride))
        offset += first * stride
    made = flow.types[op.outputs[0]]
    copy(flow, op, op.inputs[0], op.outputs[0], made, axes, offset, flow.immediates.get(value, 0.0))


def concat(flow: Flow, op: Op) -> None:
    """Join along an axis of (C, H, W); along others in another view of the same bytes."""
    out = op.outputs[0]
    kind = flow.types[out]
    lead, dims = int(kind.batched), kind.per_image
    axis = int(flow.call(op).attribute("axis")) % len(kind.shape) - lead
    sources, place = list(op.inputs), axis
    if len(sources) == 1:
        alias(flow, sources[0], out)
        return
    if not kind.batched:
        place = 0 if math.prod(dims[:axis]) == 1 else 1
    elif axis > 0 and len(dims) != 3:
        place = 2 if axis == len(dims) - 1 else 1
    if place == 1 and not (kind.batched and len(dims) == 3):
        outer, inner = math.prod(dims[:axis]), math.prod(dims[axis + 1 :])
        views = []
        for i, source in enumerate(sources):
            shape = (outer, flow.types[source].per_image[axis], inner)
            view = f"{out}/{i}"
            if kind.batched:
                flow.types[view] = TensorType(kind.dtype, ("N", *shape))
                alias(flow, source, view)
            else:
                copy(flow, op, source, view, TensorType(kind.dtype, shape), [whole(math.prod(shape), 1)])
                flow.base[view] = shape
            views.append(view)
        sources = views
        flow.base[out] = (outer, dims[axis], inner)
    for part in range(len(sources)):
        if len(sources) <= MAX_JOINED:
            break
        sources = [_joined(flow, op, sources[:MAX_JOINED], f"{out}/joined{part}", place), *sources[MAX_JOINED:]]
    join(flow, op, sources, out, kind, place)


def _joined(flow: Flow, op: Op, sources: list[str], out: str, place: int) -> str:
    """The first inputs of a Join of more than an instruction has, in the shape the instruction sees."""
    kinds = [flow.types[name] for name in sources]
    shapes = [chw(kind) if kind.batched else flow.base_of(name) for name, kind in zip(sources, kinds, strict=True)]
    shape = list(shapes[0])
    shape[place] = sum(s[place] for s in shapes)
    lead = ("N",) if kinds[0].batched else ()
    join(flow, op, sources, out, TensorType(kinds[0].dtype, (*lead, *shape)), place)
    flow.base[out] = (shape[0], shape[1], shape[2])
    return out


def expand(flow: Flow, op: Op) -> None:
    """Expand; an alias when nothing is repeated."""
    if flow.types[op.inputs[0]] == flow.types[op.outputs[0]]:
        alias(flow, op.inputs[0], op.outputs[0])
    else:
        _repeat(flow, op, op.inputs[0], op.outputs[0], flow.types[op.outputs[0]])


def _repeat(flow: Flow, op: Op, x: str, out: str, kind: TensorType) -> str:
    dims, source = kind.per_image, flow.types[x].per_image
    if len(source) > len(dims):  # not batched, with a 1 for the batch
        source = source[1:]
    source = (1,) * (len(dims) - len(source)) + source
    step = strides(source)
    axes = [whole(d, s if old == d else 0) for d, old, s in zip(dims, source, step, strict=True)]
    return copy(flow, op, x, out, kind, axes)


def spread_operands(flow: Flow, op: Op) -> None:
    """Give an element-wise op the operands its instruction takes: what broadcasts otherwise is repeated first.

    The instruction takes full operands, batched or not; (C, 1, 1), (1, H, W), (1, 1, 1) batched; one number a channel,
    and a scalar.
    """
    kind = flow.types[op.outputs[0]]
    for i, name in enumerate(op.inputs):
        if not name or name in flow.immediates:
            continue
        operand, full = flow.types[name], chw(kind)
        shape = operand_shape(kind, operand)
        if operand.dtype == "bool" and flow.dynamic(name) and (shape != full or operand.batched != kind.batched):
            name = _as_number(flow, op, name, f"{op.outputs[0]}/mask{i}")
        allowed = {full, (1, 1, 1)}
        if kind.batched:
            allowed |= {(full[0], 1, 1)} | ({(1, full[1], full[2])} if operand.batched else set())
        if shape not in allowed:
            name = _spread(flow, op, name, f"{op.outputs[0]}/operand{i}", kind)
        op.inputs[i] = name


def _as_number(flow: Flow, op: Op, mask: str, out: str) -> str:
    for value in (0.0, 1.0):
        flow.immediates[f"{out}/{value:g}"], flow.types[f"{out}/{value:g}"] = value, TensorType("float32", ())
    made = TensorType("float32", flow.types[mask].shape)
    return add_op(flow, op, "Where", [mask, f"{out}/1", f"{out}/0"], out, made)


def _spread(flow: Flow, op: Op, name: str, out: str, kind: TensorType) -> str:
    operand = flow.types[name]
    lead = ("N",) if operand.batched else (1,) if kind.batched else ()
    made = TensorType(operand.dtype, (*lead, *kind.per_image))
    if name not in flow.constants:
        return _repeat(flow, op, name, out, made)
    shape = (*lead, *kind.per_image)
    dims = tuple(int(d) for d in operand.shape)
    flow.types[out] = made
    flow.constants[out] = Expression(tuple(int(d) for d in shape), "Expand", (flow.constants[name].reshape(dims),))
    return out


def shape_of(flow: Flow, name: str) -> Chw:
    """The shape in which a Join or a reduction sees a tensor."""
    kind = flow.types[name]
    return chw(kind) if kind.batched else flow.base_of(name)
