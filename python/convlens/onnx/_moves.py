"""Operators that move elements: shapes, slices, joins, padding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._errors import UnsupportedError
from ..graph import BATCH
from ._batch import Batch, ImageNumber
from ._registry import handles
from ._site import Site

_MOST_PIECES = 256  # that a Gather or a padding is cut into


@handles("Reshape")
def _reshape(site: Site) -> str | None:
    """The batch stays first: 0, the number of images, -1, or the file's own batch size where the rest is an image."""
    x, shape = site.tensor(0), site.shape(0)
    wanted: list[Any] = site.known(1, "shape").reshape(-1).tolist() if site.has(1) else site.ints("shape") or []
    if not site.attribute("allowzero", 0):
        wanted = [_copied(shape, i) if size == 0 else size for i, size in enumerate(wanted)]
    batched = site.type(0).batched
    front, rest = (wanted[:1], wanted[1:]) if batched else ([], wanted)
    if any(isinstance(size, Batch) or size == BATCH for size in rest):
        raise UnsupportedError(f"`shape` (={wanted}) moves the batch; it must stay the first axis")
    sizes = [int(size) for size in rest]
    elements = math.prod(site.type(0).per_image)
    if batched and wanted == [-1] and elements > 1:
        site.keep_flat(x)
        return None
    if batched:
        first = front[0] if front else None
        stays = first in (BATCH, -1, site.batch_size) or first == Batch()
        if not stays and first == 1 and (-1 in sizes or math.prod(sizes) == elements):
            site.note(f"node {site.name!r} makes one image of its input; images are run one by one")
            stays = True
        if not stays or (first == -1 and math.prod(sizes) != elements):
            raise UnsupportedError(
                f"`shape` (={wanted}) of {site.type(0)} mixes images; the batch must stay the first axis and an image "
                f"keep its {elements} elements"
            )
    known = math.prod(size for size in sizes if size != -1)
    if sizes.count(-1) == 1 and known > 0 and elements % known == 0:
        sizes[sizes.index(-1)] = elements // known
    if min(sizes, default=0) < 0 or math.prod(sizes) != elements:
        raise ValueError(f"`shape` (={wanted}) does not keep the {elements} elements of {site.type(0)}")
    front = [0] if batched else []
    return site.finish("Reshape", [x, site.numbers([*front, *sizes], "shape")])


def _copied(shape: tuple[Any, ...], index: int) -> Any:
    if index >= len(shape):
        raise ValueError("`shape` copies an axis that the input does not have")
    return shape[index]


@handles("Flatten")
def _flatten(site: Site) -> str:
    x, rank, axis = site.tensor(0), site.rank(0), int(site.attribute("axis", 1))
    axis = axis + rank if axis < 0 else axis
    if site.type(0).batched and axis > 1 and math.prod(site.sizes(0)[: axis - 1]) == 1:
        axis = 1  # the axes before it have one element each
    return site.finish("Flatten", [x], axis=axis)


@handles("Transpose")
def _transpose(site: Site) -> str:
    perm = site.ints("perm") or list(reversed(range(site.rank(0))))
    return site.finish("Transpose", [site.tensor(0)], perm=tuple(perm))


@handles("Squeeze")
def _squeeze(site: Site) -> str:
    x, rank, axes = site.tensor(0), site.rank(0), site.ints("axes", 1)
    if axes is None:
        axes = [i for i, size in enumerate(site.shape(0)) if size == 1]
    over = [site.axis(axis, rank, "axes") for axis in axes]
    site.keep_images_apart(x, over, "axes")
    return site.finish("Squeeze", [x, site.numbers(over, "axes")])


@handles("Unsqueeze")
def _unsqueeze(site: Site) -> str:
    x, axes = site.tensor(0), site.ints("axes", 1) or []
    return site.finish("Unsqueeze", [x, site.numbers(axes, "axes")])


@handles("Concat")
def _concat(site: Site) -> str:
    axis = site.axis(int(site.attribute("axis", 1)), site.rank(0))
    inputs = [site.tensor(i) for i in range(len(site.inputs))]
    return site.finish("Concat", inputs, axis=axis)


@handles("Split")
def _split(site: Site) -> None:
    axis, sizes = site.axis(int(site.attribute("axis", 0)), site.rank(0)), site.ints("split", 1)
    parts = len(site.outputs)
    if (sizes is not None and len(sizes) != parts) or int(site.attribute("num_outputs", parts)) != parts:
        raise ValueError(f"`split` (={sizes or site.attribute('num_outputs')}) must say {parts} parts, one an output")
    inputs = [site.tensor(0)]
    if sizes is not None:
        inputs.append(site.numbers(sizes, "split"))
    site.finish_all("Split", inputs, axis=axis, num_outputs=None if sizes else parts)


@handles("SplitToSequence")
def _split_to_sequence(site: Site) -> None:
    """What PyTorch's exporter makes of chunk and split, untidied: parts of known sizes, by default 1."""
    axis = site.axis(int(site.attribute("axis", 0)), site.rank(0))
    site.keep_images_apart(site.tensor(0), [axis], "axis")
    size = int(site.shape(0)[axis])
    given = site.known(1, "split") if site.has(1) else np.array(1)
    parts = [int(part) for part in given.reshape(-1)]
    if given.ndim == 0:
        if parts[0] < 1 or size > _MOST_PIECES * parts[0]:
            raise UnsupportedError(
                f"`split` (={parts[0]}) cuts the {size} of axis {axis} into more than {_MOST_PIECES}"
            )
        parts = [min(parts[0], size - at) for at in range(0, size, parts[0])]
    tensors = site.emit_several("Split", [site.tensor(0), site.numbers(parts, "split")], len(parts), axis=axis)
    if not site.has(1) and not site.attribute("keepdims", 1):
        along = site.numbers([axis], "axes")
        tensors = [site.emit("Squeeze", [tensor, along]) for tensor in tensors]
    site.keep_sequence(tensors)


@handles("SequenceAt")
def _sequence_at(site: Site) -> str:
    tensors, place = site.sequence(0), int(site.known(1, "position"))
    return tensors[site.axis(place, len(tensors), "position")]


@handles("Slice")
def _slice(site: Site) -> str:
    """Starts, ends, axes and steps as inputs; before opset 10 as attributes, without steps."""
    x, rank = site.tensor(0), site.rank(0)
    starts, ends = site.ints("starts", 1), site.ints("ends", 2)
    if starts is None or ends is None:
        raise ValueError("`starts` or `ends` is missing")
    axes = [site.axis(axis, rank, "axes") for axis in site.ints("axes", 3) or range(len(starts))]
    steps = site.ints("steps", 4) or [1] * len(starts)
    inputs = [x]
    for name, values in (("starts", starts), ("ends", ends), ("axes", axes), ("steps", steps)):
        inputs.append(site.numbers(values, name))
    return site.finish("Slice", inputs)


def _part(site: Site, x: str, axis: int, start: int, end: int, step: int = 1) -> str:
    """x[start:end:step] along an axis; `end` -1 with a negative step is the one before the first."""
    stop = end if end >= 0 else -(1 << 40)
    values = [site.numbers([value], "slice") for value in (start, stop, axis, step)]
    return site.emit("Slice", [x, *values])


@handles("Gather")
def _gather(site: Site) -> str:
    """By indices that are known: slices, joined. By those of each image: rows of a table, an embedding."""
    if site.flat(0) is not None:
        return _gather_strided(site, str(site.flat(0)))
    if not site.knows(1):
        return _embedding(site)
    x, rank = site.tensor(0), site.rank(0)
    axis = site.axis(int(site.attribute("axis", 0)), rank)
    site.keep_images_apart(x, [axis], "axis")
    indices = site.known(1, "indices")
    size = int(site.shape(0)[axis])
    flat = [int(index) + size if index < 0 else int(index) for index in indices.reshape(-1)]
    if not flat or min(flat) < 0 or max(flat) >= size:
        raise ValueError(f"`indices` must lie in [{-size}, {size - 1}], the axis has {size}")
    taken = _taken(site, x, axis, flat)
    if indices.ndim == 1:
        return taken
    if indices.ndim == 0:
        return site.finish("Squeeze", [taken, site.numbers([axis], "axes")])
    dims = [*site.shape(0)[:axis], *indices.shape, *site.shape(0)[axis + 1 :]]
    sizes = [0 if dim == BATCH else int(dim) for dim in dims]
    return site.finish("Reshape", [taken, site.numbers(sizes, "shape")])


def _embedding(site: Site) -> str:
    axis, table = site.axis(int(site.attribute("axis", 0)), site.rank(0)), site.type(0)
    indices = site.type(1)
    if table.batched or axis != 0 or not indices.batched or indices.dtype != "int64":
        raise UnsupportedError(
            f"`indices` ({site.inputs[1]!r}) are {indices} into axis {axis} of {table}; supported: what follows from "
            "constants and shapes, and integers of each image into axis 0 of weights"
        )
    return site.finish("Gather", [site.tensor(0), site.tensor(1)], axis=0)


def _gather_strided(site: Site, x: str) -> str:
    """A tensor laid out anew by strides over the elements of all images: each image must take its own alone."""
    elements = math.prod(site.type_of(x).per_image)
    indices = site.known(1, "indices")
    if indices.dtype == object:  # one row stands for every image
        apart = all(isinstance(i, ImageNumber) and i.times == elements for i in indices.flat)
        own = np.array([i.plus for i in indices.flat], np.int64).reshape(indices.shape) if apart else indices
        apart = apart and len(own) == 1
    else:
        own = indices - elements * np.arange(len(indices)).reshape(-1, *(1,) * (indices.ndim - 1))
        apart = len(own) == site.batch_size and bool((own == own[:1]).all())
    flat = own[0].reshape(-1).tolist() if apart else []
    if not flat or min(flat) < 0 or max(flat) >= elements:
        raise UnsupportedError("`indices` mix images; supported: those that take from each image its own elements")
    if flat != list(range(elements)):
        x = _taken(site, site.reshape(x, [elements]), 1, flat)
    return site.reshape(x, own.shape[1:], last=True)


def _taken(site: Site, x: str, axis: int, indices: list[int]) -> str:
    """What lies at `indices` along an axis: as few slices as runs of equal steps."""
    pieces, i = [], 0
    while i < len(indices):
        step, j = 1, i + 1
        if j < len(indices) and indices[j] != indices[i]:
            step = indices[j] - indices[i]
            while j < len(indices) and indices[j] - indices[j - 1] == step:
                j += 1
        last = indices[j - 1]
        end = last + (1 if step > 0 else -1)
        pieces.append(_part(site, x, axis, indices[i], end, step))
        if len(pieces) > _MOST_PIECES:
            raise UnsupportedError(f"`indices` are in more than {_MOST_PIECES} runs")
        i = j
    return pieces[0] if len(pieces) == 1 else site.emit("Concat", pieces, axis=axis)


@handles("Expand")
def _expand(site: Site) -> str:
    wanted = [
        1 if isinstance(size, Batch) and size == Batch() else int(size) for size in site.known(1, "shape").reshape(-1)
    ]
    rank = site.rank(0)
    if site.type(0).batched and len(wanted) >= rank and wanted[len(wanted) - rank] == site.batch_size:
        wanted[0] = 1
    return site.finish("Expand", [site.tensor(0), site.numbers(wanted, "shape")])


@handles("Tile")
def _tile(site: Site) -> str:
    """Along each axis: an axis of size 1 before it, expanded, and taken into it."""
    x, counts = site.tensor(0), site.known(1, "repeats").reshape(-1)
    shape = list(site.shape(0))
    if len(counts) != len(shape):
        raise ValueError(f"`repeats` (={counts.tolist()}) must have a number for each of the {len(shape)} axes")
    site.keep_images_apart(x, [i for i, count in enumerate(counts) if count != 1], "repeats")
    for axis, count in enumerate(int(count) for count in counts):
        if count == 1:
            continue
        if count < 1:
            raise ValueError(f"`repeats` (={counts.tolist()}) must be at least 1")
        apart = site.emit("Unsqueeze", [x, site.numbers([axis], "axes")])
        sizes = [1] * len(shape)
        sizes.insert(axis, count)
        many = site.emit("Expand", [apart, site.numbers(sizes, "shape")])
        shape[axis] = int(shape[axis]) * count
        whole = [0 if size == BATCH else int(size) for size in shape]
        x = site.emit("Reshape", [many, site.numbers(whole, "shape")])
    return x


@handles("Pad")
def _pad(site: Site) -> str:
    x, rank = site.tensor(0), site.rank(0)
    pads = site.ints("pads", 1) or site.ints("paddings")
    if pads is None:
        raise ValueError("`pads` is missing")
    axes = [site.axis(a, rank, "axes") for a in (site.ints("axes", 3) or range(rank))]
    if len(pads) != 2 * len(axes):
        raise ValueError(f"`pads` (={pads}) must have {2 * len(axes)} numbers: all befores, then all afters")
    if max(map(abs, pads), default=0) >= 1 << 31:
        raise UnsupportedError(f"`pads` (={pads}) must be less than 2**31")
    mode = site.attribute("mode", "constant")
    if mode != "constant":
        return _mirrored(site, x, mode, axes, pads)
    value = site.known(2, "constant_value").reshape(-1) if site.has(2) else None
    if value is not None and value.size > 1:
        raise ValueError("`constant_value` must be one number")
    filler = value[0] if value is not None and value.size else site.attribute("value", 0.0)
    dtype = site.type_of(x).dtype
    constant = site.constant(np.array(filler).astype(dtype), f"{site.name}.value")
    widths = [0] * (2 * rank)
    for place, axis in enumerate(axes):
        widths[axis], widths[axis + rank] = pads[place], pads[place + len(axes)]
    return site.finish("Pad", [x, site.numbers(widths, "pads"), constant])


def _mirrored(site: Site, x: str, mode: str, axes: list[int], pads: list[int]) -> str:
    """Reflection, repetition of the edge and wrapping around: slices of the image, joined."""
    if mode not in ("reflect", "edge", "wrap"):
        raise UnsupportedError(f"`mode` (={mode!r}) must be constant, reflect, edge or wrap")
    for place, axis in enumerate(axes):
        before, after = pads[place], pads[place + len(axes)]
        if not (before or after):
            continue
        site.keep_images_apart(x, [axis], "axes")
        size = int(site.type_of(x).shape[axis])
        most = {"reflect": size - 1, "edge": 1 << 20, "wrap": size}[mode]
        if min(before, after) < 0 or max(before, after) > most:
            raise UnsupportedError(f"`pads` ({before}, {after}) of axis {axis} must lie in [0, {most}] for {mode!r}")
        ends = (
            [[], []]
            if not (before or after)
            else [_edge(site, x, mode, axis, n, i) for i, n in enumerate((before, after))]
        )
        x = site.emit("Concat", [*ends[0], x, *ends[1]], axis=axis)
    return x


def _edge(site: Site, x: str, mode: str, axis: int, count: int, side: int) -> list[str]:
    """What is laid before (side 0) or behind (1) the tensor."""
    if not count:
        return []
    size = int(site.type_of(x).shape[axis])
    if mode == "wrap":
        start = 0 if side else size - count
        return [_part(site, x, axis, start, start + count)]
    if mode == "reflect":
        start = size - 2 if side else count
        return [_part(site, x, axis, start, start - count, -1)]
    one = _part(site, x, axis, size - 1 if side else 0, size if side else 1)
    sizes = [1] * len(site.type_of(x).shape)
    sizes[axis] = count
    return [site.emit("Expand", [one, site.numbers(sizes, "shape")])]
