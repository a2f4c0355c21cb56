"""Scores of an image with patches covered, computed anew only where a patch is seen."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from .. import _core
from ..graph import Graph, channels_first
from ..nn import Network
from ._regions import Box, Read, Regions, find_regions, region_graph, rest_graph
from ._task import Task

if TYPE_CHECKING:
    from ..program import Entry, Program

Array = npt.NDArray[Any]

#: A thread has at most so many at once: more leave its caches. (Zen 4, two threads, 13 and 8 at once: MobileNetV2 567
#: and 478 ms, EfficientNet-Lite0 613 and 600, ResNet-18 alike.)
PATCHES_AT_ONCE = 8

_KNOWN: WeakKeyDictionary[Network, dict[Hashable, Regions | None]] = WeakKeyDictionary()


class Local:
    """The Programs of a network for patches of certain rows and columns.

    Attributes
    ----------
    batch_size : int
        Patches that fit at once.
    """

    def __init__(self, task: Task, regions: Regions, key: Hashable) -> None:
        self.task = task
        self.regions = regions
        self.boxes = [region.box for region in regions.regions]
        graph, output = task.subject.graph, task.output.name
        crossing = dict.fromkeys(read.tensor for region in regions.regions for read in region.reads)
        self._crossing = [name for name in {**crossing, **dict.fromkeys(regions.kept)} if name != task.subject.name]

        # Blocks of channels cross: rows of them are long to copy, and no instruction brings them into another layout.
        def program(
            of: Any, build: Any, inside: Sequence[str], made: Sequence[str], tiled: Collection[str] | None
        ) -> Program:
            blocked = {*inside, *made}
            return task.net.program(("patches", of, key), build, inside=inside, blocked=blocked, tiled=tiled)

        clean = partial(_entry, graph.subgraph(self._crossing), (task.subject.name,))
        self._clean = program("clean", clean, (), self._crossing, regions.tiled)
        self._parts = [
            program(
                i,
                partial(_region_entry, graph, region),
                _made(region.reads, task.subject.name),
                region.outputs,
                region.tiled,
            )
            if region.outputs
            else None
            for i, region in enumerate(regions.regions)
        ]
        kept = [name for name in regions.kept if name != task.subject.name]
        self._rest = program("rest", partial(_rest_entry, graph, regions, output), kept, (), None)
        made = [each for each in (*self._parts, self._rest) if each is not None]
        self.batch_size = min(task.fitting(each) for each in made)
        self._rooms: list[_Rooms] = []  # that no batch is using
        task.fitting(self._clean)  # one image does, or this says so

    def shares(self, patches: int) -> tuple[int, int]:
        """How many batches of patches run side by side, and how many patches one has.

        A thread with a batch of its own has nobody to wait for; small instructions are little to share. Where memory
        is bounded, batches of one Workspace follow each other.
        """
        workers = 1 if self.task.net.max_bytes is not None else min(_core.get_num_threads(), self.batch_size, patches)
        turns = -(-patches // (workers * min(PATCHES_AT_ONCE, self.batch_size // workers)))
        return workers, -(-patches // (turns * workers))

    @contextmanager
    def rooms(self) -> Iterator[_Rooms]:
        """Memory for a batch, of one before it where that is done."""
        try:
            rooms = self._rooms.pop()
        except IndexError:
            rooms = _Rooms()
        try:
            yield rooms
        finally:
            self._rooms.append(rooms)

    def image(self, image: Array, cover: Array) -> LocalImage:
        """What the patches of one image (C, H, W) have in common; `cover` is what lies under all of them."""
        return LocalImage(self, image, cover)


class LocalImage:
    """One image's tensors as they are without a patch: (blocks, H, W, lanes), but for the image itself."""

    def __init__(self, local: Local, image: Array, cover: Array) -> None:
        self.local = local
        self.cover = cover
        source = local.task.subject.name
        found = local._clean.run("forward", {source: image[np.newaxis]}, local.task.weights)
        self.clean: dict[str, Array] = {source: image, **{name: array[0] for name, array in found.items()}}
        self._padded: dict[str, Array] = {}

    def whole(self) -> Array:
        """The explained output (1, ...) without a patch, with the bits of those with one."""
        kept = {name: self.clean[name][np.newaxis] for name in self.local.regions.kept}
        return self.local._rest.run("forward", kept, self.local.task.weights)[self.local.task.output.name]

    def logits(
        self, patches: Sequence[tuple[int, int]], places: Sequence[tuple[slice, slice]], threads: int = 0
    ) -> Array:
        """The explained output for some patches: their row and column among all, and their pixels."""
        with self.local.rooms() as rooms:
            return self._logits(patches, places, threads, rooms)

    def _logits(
        self, patches: Sequence[tuple[int, int]], places: Sequence[tuple[slice, slice]], threads: int, rooms: _Rooms
    ) -> Array:
        local, regions = self.local, self.local.regions
        source = local.task.subject.name
        made = {source: self._covered(patches, places)}
        for region, box, program in zip(regions.regions, local.boxes, local._parts, strict=True):
            if program is not None:
                rooms.clear()
                inputs = {read.name: self._around(read, box, made, patches, rooms) for read in region.reads}
                made.update(program.run("forward", inputs, local.task.weights, threads=threads))
        rooms.clear()
        whole = {}
        for name in regions.kept:
            whole[name] = rooms.take(len(patches), self.clean[name], *self.clean[name].shape[1:3])
            whole[name][:] = self.clean[name]
            box = local.boxes[regions.home[name]]
            for array, part, (row, column) in zip(whole[name], made[name], patches, strict=True):
                top, left = box.tops[row], box.lefts[column]
                array[:, top : top + box.height, left : left + box.width] = part
        return local._rest.run("forward", whole, local.task.weights, threads=threads)[local.task.output.name]

    def _covered(self, patches: Sequence[tuple[int, int]], places: Sequence[tuple[slice, slice]]) -> Array:
        source = self.local.task.subject.name
        box, clean = self.local.boxes[0], self.clean[source]
        made = np.empty((len(patches), len(clean), box.height, box.width), clean.dtype)
        for array, (row, column), (rows, columns) in zip(made, patches, places, strict=True):
            top, left = box.tops[row], box.lefts[column]
            array[:] = clean[:, top : top + box.height, left : left + box.width]
            inside = (slice(None), _moved(rows, top), _moved(columns, left))
            array[inside] = self.cover[:, rows, columns]
        return made

    def _around(
        self, read: Read, box: Box, made: Mapping[str, Array], patches: Sequence[tuple[int, int]], rooms: _Rooms
    ) -> Array:
        """What a region reads: clean, but for its tensor's box."""
        own = self.local.boxes[self.local.regions.home[read.tensor]]
        if read.window is None and own == box:
            return made[read.tensor]
        scale, before, extent = _geometry(read)
        height, width = ((side - 1) * scale[i] + extent[i] for i, side in enumerate((box.height, box.width)))
        clean = self._clean_around(read, box)
        array = rooms.take(len(patches), clean, height, width)
        for to, part, (row, column) in zip(array, made[read.tensor], patches, strict=True):
            top, left = box.tops[row] * scale[0], box.lefts[column] * scale[1]
            to[:] = clean[:, top : top + height, left : left + width]
            (y, rows), (x, columns) = (
                _overlap(start - pad, length, begin, size)
                for start, pad, length, begin, size in (
                    (top, before[0], height, own.tops[row], own.height),
                    (left, before[1], width, own.lefts[column], own.width),
                )
            )
            to[:, y, x] = part[:, rows, columns]
        return array

    def _clean_around(self, read: Read, box: Box) -> Array:
        """The clean tensor with what a window sees beyond its edges."""
        if read.window is None:
            return self.clean[read.tensor]
        if read.name not in self._padded:
            clean = self.clean[read.tensor]
            scale, before, extent = _geometry(read)
            ends = (
                (max(box.tops) + box.height - 1) * scale[0] + extent[0],
                (max(box.lefts) + box.width - 1) * scale[1] + extent[1],
            )
            after = [max(0, end - pad - size) for end, pad, size in zip(ends, before, clean.shape[1:3], strict=True)]
            widths = ((0, 0), (before[0], after[0]), (before[1], after[1]), (0, 0))[: clean.ndim]
            padded = np.pad(clean, widths, constant_values=clean.dtype.type(read.fill))
            if clean.ndim == 4 and read.fill:
                channels = int(self.local.task.subject.graph.types[read.tensor].shape[1])
                padded[-1, ..., channels - (len(clean) - 1) * clean.shape[-1] :] = 0  # the last block's lanes of none
            self._padded[read.name] = padded
        return self._padded[read.name]


def find_local(task: Task, windows: Sequence[tuple[slice, ...]]) -> Local | None:
    """The Programs for these patches, or None where to run the network whole costs less; no values decide it."""
    subject, output, net = task.subject, task.output, task.net
    if subject.held or len(task.images.shape) != 4 or not channels_first(subject.layout) or not windows:
        return None
    rows = sorted({(place[0].start, place[0].stop) for place in windows})
    columns = sorted({(place[1].start, place[1].stop) for place in windows})
    key = (subject.name, output.name, tuple(rows), tuple(columns))
    known = _KNOWN.setdefault(net, {})
    if key not in known:
        tiles = net.winograd is True and net.dtype == "float32"
        known[key] = find_regions(subject.graph, subject.name, output.name, rows, columns, tiles=tiles)
    regions = known[key]
    return None if regions is None else Local(task, regions, key)


def _made(reads: Sequence[Read], source: str) -> list[str]:
    """The inputs of a region that the network makes itself."""
    return [read.name for read in reads if read.tensor != source]


def _entry(graph: Graph, inputs: tuple[str, ...]) -> tuple[Graph, dict[str, Entry]]:
    from ..program import Entry

    return graph, {"forward": Entry(inputs, tuple(graph.outputs))}


def _region_entry(graph: Graph, region: Any) -> tuple[Graph, dict[str, Entry]]:
    return _entry(region_graph(graph, region), tuple(read.name for read in region.reads))


def _rest_entry(graph: Graph, regions: Regions, output: str) -> tuple[Graph, dict[str, Entry]]:
    return _entry(rest_graph(graph, regions, output), regions.kept)


def _geometry(read: Read) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Stride, leading padding and extent."""
    if read.window is None:
        return (1, 1), (0, 0), (1, 1)
    return read.window.stride, (read.window.pads[0], read.window.pads[1]), read.window.extent


class _Rooms:
    """Memory for what a Program reads of a batch, kept for the next Program and batch.

    What the system hands out anew it has to clear first, page by page. (ResNet-18: 3 % of a call.)
    """

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)
        self._wanted = 0

    def clear(self) -> None:
        """Make room for other arrays; those taken before are no longer read."""
        if self._wanted > self._memory.nbytes:
            self._memory = _core.aligned_empty(self._wanted)
        self._wanted = 0

    def take(self, n: int, like: Array, height: int, width: int) -> Array:
        """Room for `n` boxes of a tensor."""
        from ..program import aligned_room

        shape = (n, like.shape[0], height, width, *like.shape[3:])
        begin, size = self._wanted, math.prod(shape) * like.itemsize
        self._wanted = -(-(begin + size) // 64) * 64
        if self._wanted > self._memory.nbytes:
            return aligned_room(shape, like.dtype)
        return self._memory[begin : begin + size].view(like.dtype).reshape(shape)


def _moved(place: slice, by: int) -> slice:
    return slice(place.start - by, place.stop - by)


def _overlap(start: int, length: int, begin: int, size: int) -> tuple[slice, slice]:
    """Where [start, start + length) and [begin, begin + size) meet, in the coordinates of each."""
    first, end = max(start, begin), max(max(start, begin), min(start + length, begin + size))
    return slice(first - start, end - start), slice(first - begin, end - begin)
