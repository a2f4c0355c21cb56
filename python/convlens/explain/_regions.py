"""What of a network a patch of its input touches: boxes of its first tensors, and everything behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..graph import Graph, GraphBuilder, Node, Window, call_of, pad_widths, window_of

Span = tuple[int, int]

#: Operators whose result at a pixel depends on that pixel alone.
POINTWISE = frozenset(
    {
        *("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Clip", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Mish"),
        *("Softplus", "Gelu", "Abs", "Neg", "Identity", "Dropout", "BatchNormalization"),
        *("Add", "Sub", "Mul", "Div", "Max", "Min", "Concat"),
    }
)
# Those whose constants are one a channel, or say how.
_CHANNEL_VECTORS = frozenset({"BatchNormalization", "Conv", "Pad"})

#: A box of more than this share of its tensor is not worth the copies around it, nor a Program of its own. (0.55 takes
#: 0.96 of the time of 0.7 with ResNet-18, 0.98 with MobileNetV2, the same with EfficientNet-Lite0 and ResNet-50.)
LARGEST_BOX = 0.55
#: Of the products of a forward pass, boxes must leave out this share ...
LEAST_SHARE = 0.25
#: ... and so many for each Program that runs on the way, which its copies cost.
LEAST_PRODUCTS = 2_000_000
#: Tiles of F(4,3) have this side ...
TILE = 4
#: ... and a product by them takes this share of a direct one's time. (0.39 to 0.43 for 64 and 128 channels.)
TILED_SHARE = 0.42
#: Tiles reach beyond what is touched: they must leave out this share of a region's time.
LEAST_TILED = 0.1
#: Of fewer channels the transforms take what products do.
LEAST_CHANNELS = 16


@dataclass(frozen=True)
class Box:
    """Where the touched part of a tensor lies: one size for all patches, a start for each row and column of them."""

    height: int
    width: int
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    @property
    def pixels(self) -> int:
        """How many it has."""
        return self.height * self.width


@dataclass(frozen=True)
class Read:
    """An input of a region: a tensor within its region's box, or as far around it as a window sees.

    `window` is None, or that of the node that reads; `fill` is what it sees beyond the tensor's edges.
    """

    name: str
    tensor: str
    window: Window | None = None
    fill: float = 0.0


@dataclass
class Region:
    """Nodes of one grid behind as many windows: all of their results have one box, of whole tiles of `tile` pixels.

    `tiled` are the results of its convolutions that go by Winograd's algorithm.
    """

    size: tuple[int, int]
    rows: list[Span]
    columns: list[Span]
    tile: int = 1
    nodes: list[Node] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    tiled: list[str] = field(default_factory=list)

    @property
    def box(self) -> Box:
        """The smallest that holds what any of its nodes has touched."""
        tops, height = _boxed(self.rows, self.size[0], self.tile)
        lefts, width = _boxed(self.columns, self.size[1], self.tile)
        return Box(height, width, tops, lefts)

    def widen(self, rows: Sequence[Span], columns: Sequence[Span]) -> None:
        """Take in what another node has touched."""
        self.rows = [(min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(self.rows, rows, strict=True)]
        self.columns = [(min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(self.columns, columns, strict=True)]


@dataclass(frozen=True)
class Regions:
    """A network taken apart.

    Attributes
    ----------
    regions : tuple of Region
        In the order they run in; the first is the input itself.
    home : mapping of tensor to index of its region
    rest : tuple of Node
        What runs whole.
    kept : tuple of str
        The tensors that `rest` reads.
    share : float
        The products that boxes and rest have, as a share of the network's.
    tiled : tuple of str
        The results of convolutions that go by Winograd's algorithm in boxes, with tiles on the whole tensor's grid, and
        in the clean tensors around them.
    """

    regions: tuple[Region, ...]
    home: Mapping[str, int]
    rest: tuple[Node, ...]
    kept: tuple[str, ...]
    share: float
    tiled: tuple[str, ...] = ()


def find_regions(
    graph: Graph, source: str, output: str, rows: Sequence[Span], columns: Sequence[Span], *, tiles: bool = False
) -> Regions | None:
    """Take a network apart; None where boxes save too little or the output itself would be one.

    Parameters
    ----------
    graph : Graph
    source : str
        The input, images (N, C, H, W), alone.
    output : str
    rows, columns : sequence of (begin, end)
        Of the patches.
    tiles : bool
        Whether Winograd's algorithm may be taken in boxes.
    """
    part = _with_pads_in_windows(graph.subgraph([output]))
    if tuple(part.inputs) != (source,) or len(part.types[source].shape) != 4:
        return None
    found = _Finder(part, source, list(rows), list(columns))
    for node in part.nodes:
        found.take(node)
    if tiles:
        found.choose_tiles()
    return found.result(output)


class _Finder:
    def __init__(self, graph: Graph, source: str, rows: list[Span], columns: list[Span]) -> None:
        self.graph = graph
        size = _size(graph, source)
        self.touched: dict[str, tuple[list[Span], list[Span]]] = {source: (rows, columns)}
        self.level: dict[str, int] = {source: 0}
        self.regions: dict[tuple[int, tuple[int, int]], Region] = {(0, size): Region(size, rows, columns)}
        self.home: dict[str, tuple[int, tuple[int, int]]] = {source: (0, size)}
        self.rest: list[Node] = []
        self.products = 0

    def take(self, node: Node) -> None:
        """Put a node into its region, or to the rest."""
        self.products += _products(self.graph, node)
        dynamic = [name for name in node.inputs if name and name not in self.graph.constants]
        window = _window(self.graph, node)
        local = bool(dynamic) and all(name in self.home for name in dynamic) and self._is_local(node, window, dynamic)
        if not local:
            self.rest.append(node)
            return
        out, size = node.outputs[0], _size(self.graph, node.outputs[0])
        rows, columns = self._touched(dynamic, window, size)
        (_, height), (_, width) = _boxed(rows, size[0]), _boxed(columns, size[1])
        if height * width > LARGEST_BOX * math.prod(size):
            self.rest.append(node)
            return
        level = max(self.level[name] for name in dynamic) + (window is not None)
        region = self.regions.setdefault((level, size), Region(size, rows, columns))
        region.widen(rows, columns)
        region.nodes.append(node)
        self.touched[out], self.level[out], self.home[out] = (rows, columns), level, (level, size)

    def _is_local(self, node: Node, window: Window | None, dynamic: list[str]) -> bool:
        graph, out = self.graph, node.outputs[0]
        if any(node.outputs[1:]) or len(graph.types[out].shape) != 4:
            return False
        if window is None:
            if node.op not in POINTWISE and node.op != "Conv":
                return False
            if node.op == "Concat" and int(node.attributes.get("axis", 0)) != 1:
                return False
            if any(_size(graph, name) != _size(graph, out) for name in dynamic):
                return False
        elif node.op == "AveragePool":
            counted = bool(node.attributes.get("count_include_pad", 0))
            if window.ceil_mode or (any(window.pads) and not counted):
                return False  # windows at an edge have another divisor
        constants = [graph.constants[name] for name in node.inputs if name in graph.constants]
        return node.op in _CHANNEL_VECTORS or all(math.prod(value.shape[-2:]) == 1 for value in constants)

    def _touched(
        self, dynamic: list[str], window: Window | None, size: tuple[int, int]
    ) -> tuple[list[Span], list[Span]]:
        sides = []
        for axis in (0, 1):
            spans = self.touched[dynamic[0]][axis]
            for name in dynamic[1:]:
                spans = [
                    (min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(spans, self.touched[name][axis], strict=True)
                ]
            sides.append([_seen(span, window, axis, size[axis]) for span in spans])
        return sides[0], sides[1]

    def choose_tiles(self) -> None:
        """Give a region boxes of whole tiles where Winograd's algorithm then takes less time."""
        for region in self.regions.values():
            if any(side % TILE for side in region.size):
                continue
            box, whole = region.box, replace(region, tile=TILE).box
            direct, tiled = 0.0, 0.0
            for node in region.nodes:
                products = _products(self.graph, node)
                direct += products * box.pixels
                tiled += products * whole.pixels * (TILED_SHARE if _in_tiles(self.graph, node) else 1)
            if tiled < (1 - LEAST_TILED) * direct:
                region.tile = TILE

    def result(self, output: str) -> Regions | None:
        """The regions with what they read and hand on."""
        keys = sorted(self.regions)
        index = {key: i for i, key in enumerate(keys)}
        home = {name: index[key] for name, key in self.home.items()}
        kept = dict.fromkeys(name for node in self.rest for name in node.inputs if name in home)
        wanted = set(kept)
        boxed = 0.0
        for key in keys:
            region = self.regions[key]
            box = region.box
            inside = {node.outputs[0] for node in region.nodes}
            reads: dict[str, Read] = {}
            for node in region.nodes:
                for read in self._reads(node, inside):
                    reads[read.name] = read
                    wanted.add(read.tensor)
                boxed += _products(self.graph, node) * box.pixels / math.prod(region.size)
            region.reads = list(reads.values())
        for region in self.regions.values():
            region.outputs = [node.outputs[0] for node in region.nodes if node.outputs[0] in wanted]
            if region.tile > 1:
                region.tiled = [node.outputs[0] for node in region.nodes if _in_tiles(self.graph, node)]
        left = boxed + sum(_products(self.graph, node) for node in self.rest)
        saved = self.products - left
        if output in home or saved < LEAST_SHARE * self.products or saved < LEAST_PRODUCTS * len(keys):
            return None
        ordered = tuple(self.regions[key] for key in keys)
        tiled = tuple(name for region in ordered for name in region.tiled)
        return Regions(ordered, home, tuple(self.rest), tuple(kept), left / max(1, self.products), tiled)

    def _reads(self, node: Node, inside: set[str]) -> list[Read]:
        window = _window(self.graph, node)
        if window is not None:
            fill = -np.inf if node.op == "MaxPool" else _padded_with(self.graph, node)
            return [Read(f"{node.inputs[0]}@{node.outputs[0]}", node.inputs[0], window, fill)]
        return [Read(name, name) for name in node.inputs if name in self.home and name not in inside]


def region_graph(graph: Graph, region: Region) -> Graph:
    """The graph of one region: windows read boxes with what surrounds them, and pad nothing themselves."""
    builder, box = GraphBuilder(), region.box
    of = {read.name: read for read in region.reads}
    for read in region.reads:
        kind = graph.types[read.tensor]
        height, width = box.height, box.width
        if read.window is not None:
            height, width = (
                (side - 1) * read.window.stride[axis] + read.window.extent[axis]
                for axis, side in enumerate((height, width))
            )
        builder.input(read.name, kind.dtype, (kind.shape[0], kind.shape[1], height, width))
    for node in region.nodes:
        for name in node.inputs:
            if name in graph.constants and name not in builder.types:
                builder.constant(graph.constants[name], name)
        attributes = dict(node.attributes)
        first = f"{node.inputs[0]}@{node.outputs[0]}"
        inputs = list(node.inputs)
        if first in of:
            inputs[0] = first
            attributes = {name: value for name, value in attributes.items() if name not in ("pads", "ceil_mode")}
        if node.op == "Pad":  # the read has done it
            builder.add("Identity", inputs[:1], name=node.name, outputs=node.outputs)
        else:
            builder.add(node.op, inputs, attributes, name=node.name, outputs=node.outputs)
    return builder.build(region.outputs)


def rest_graph(graph: Graph, regions: Regions, output: str) -> Graph:
    """The graph of what runs whole."""
    builder = GraphBuilder()
    for name in regions.kept:
        builder.input(name, graph.types[name].dtype, graph.types[name].shape)
    builder.copy(graph, regions.rest)
    return builder.build([output])


def _window(graph: Graph, node: Node) -> Window | None:
    """The window a node looks through, None when it is a pixel."""
    if node.op == "Pad":
        return _pad_window(graph, node)
    if node.op not in ("Conv", "MaxPool", "AveragePool"):
        return None
    window = window_of(node, graph.types)
    pixel = window.extent == (1, 1) and window.stride == (1, 1) and not any(window.pads) and node.op == "Conv"
    return None if pixel else window


def _pad_window(graph: Graph, node: Node) -> Window | None:
    """Padding by one number as a window of a pixel."""
    if node.attributes.get("mode", "constant") != "constant" or len(graph.types[node.outputs[0]].shape) != 4:
        return None
    widths = pad_widths(call_of(node, graph.types, graph.constants))
    if any(side != 0 for pair in widths[:2] for side in pair) or min(side for pair in widths for side in pair) < 0:
        return None
    return Window((1, 1), pads=(widths[2][0], widths[3][0], widths[2][1], widths[3][1]))


def _with_pads_in_windows(graph: Graph) -> Graph:
    """A convolution of what was padded with zeros pads itself: one region instead of two."""
    made, nodes = graph.producers(), []
    for node in graph.nodes:
        pad = made.get(node.inputs[0]) if node.op == "Conv" else None
        around = _pad_window(graph, pad) if pad is not None and pad.op == "Pad" else None
        if pad is not None and around is not None and _padded_with(graph, pad) == 0:
            own = window_of(node, graph.types).pads
            pads = tuple(a + b for a, b in zip(own, around.pads, strict=True))
            attributes = {**node.attributes, "pads": pads}
            node = replace(node, inputs=(pad.inputs[0], *node.inputs[1:]), attributes=attributes)
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes)).subgraph(graph.outputs)


def _padded_with(graph: Graph, node: Node) -> float:
    """What lies beyond the edges of a sum's window."""
    value = (*node.inputs, "", "")[2] if node.op == "Pad" else ""
    return float(graph.constants[value]) if value else 0.0


def _size(graph: Graph, name: str) -> tuple[int, int]:
    shape = graph.types[name].shape
    return (int(shape[2]), int(shape[3])) if len(shape) == 4 else (0, 0)


def _seen(span: Span, window: Window | None, axis: int, size: int) -> Span:
    """The results that depend on a span, at least one."""
    if window is None:
        return span
    before, stride = window.pads[axis], window.stride[axis]
    first = -(-(span[0] + before - window.extent[axis] + 1) // stride)
    last = (span[1] - 1 + before) // stride
    first = min(max(first, 0), size - 1)
    return first, max(first + 1, min(last + 1, size))


def _boxed(spans: Sequence[Span], size: int, tile: int = 1) -> tuple[tuple[int, ...], int]:
    """Starts, and a length for all, in whole tiles, which `size` must have."""
    spans = [(begin // tile * tile, -(-end // tile) * tile) for begin, end in spans]
    length = max(end - begin for begin, end in spans)
    return tuple(min(begin, size - length) for begin, _ in spans), length


def _in_tiles(graph: Graph, node: Node) -> bool:
    """Whether a convolution may go by Winograd's algorithm, with channels enough."""
    if node.op != "Conv" or int(node.attributes.get("group", 1)) != 1:
        return False
    window, weight = window_of(node, graph.types), graph.types[node.inputs[1]].shape
    square = window.kernel == (3, 3) and window.stride == (1, 1) and window.extent == (3, 3)
    return square and node.inputs[1] in graph.constants and min(int(side) for side in weight[:2]) >= LEAST_CHANNELS


def _products(graph: Graph, node: Node) -> int:
    if node.op not in ("Conv", "Gemm", "MatMul"):
        return 0
    weight = next((graph.types[name].shape for name in node.inputs[1:2]), ())
    outputs = math.prod(int(size) for size in graph.types[node.outputs[0]].per_image)
    if node.op == "Conv":
        return outputs * math.prod(int(size) for size in weight[1:])
    return math.prod(int(size) for size in weight if size != "N")
