"""Where in the input a cell of a feature map looks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..graph import (
    Graph,
    Node,
    Window,
    call_of,
    channels_last_tensors,
    cuts_of,
    resizing_of,
    transposed_window,
    turned,
    window_of,
)

_WINDOWED = ("Conv", "MaxPool", "AveragePool")
# Read with channels first below: where they are last, the field is not known.
_AXES_MATTER = ("Pad", "Resize", "Concat", "Slice", "Split", "Expand")
_SEE_ALL = (
    *("GlobalAveragePool", "GlobalMaxPool", "Reshape", "Gemm", "Transpose", "Squeeze", "Unsqueeze"),
    *("LayerNormalization", "InstanceNormalization", "GroupNormalization"),
)


@dataclass(frozen=True)
class ReceptiveField:
    """The patch of the input that one cell sees, in pixels, as (height, width), or (length,) of a signal.

    Attributes
    ----------
    size : tuple of float
        Extent of the patch.
    stride : tuple of float
        Pixels from one cell's centre to the next's.
    offset : tuple of float
        Centre of the first cell's patch, in pixel indices; below 0 or above it where the padding is uneven.
    """

    size: tuple[float, ...]
    stride: tuple[float, ...]
    offset: tuple[float, ...]

    @property
    def start(self) -> tuple[float, ...]:
        """First pixel of the first cell's patch: negative in the padding."""
        return tuple(offset - (size - 1) / 2 for offset, size in zip(self.offset, self.size, strict=True))

    def __str__(self) -> str:
        return " x ".join(f"{size:g}" for size in self.size)


_Axis = tuple[float, float, float]  # size, stride, offset


def receptive_fields(
    graph: Graph, layouts: Mapping[str, str] = MappingProxyType({})
) -> dict[str, ReceptiveField | None]:
    """The field of every tensor that has one; None means that a cell may see the whole image.

    Of tensors whose channels are last it is that of their height and width too.

    Notes
    -----
    A window of k elements, dilation d, stride s and padding p before it turns (size, stride, offset) into
    ``(size + (k - 1) d stride, s stride, offset + ((k - 1) d / 2 - p) stride)``.

    References
    ----------
    Araujo et al., "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019.
    """
    fields: dict[str, ReceptiveField | None] = {}
    for name, kind in graph.inputs.items():
        axes = len(kind.shape) - 2
        image = axes in (1, 2) and kind.dtype.startswith("float")
        fields[name] = ReceptiveField((1,) * axes, (1,) * axes, (0,) * axes) if image else None
    last = channels_last_tensors(graph, layouts)
    for node in graph.nodes:
        if fields.keys().isdisjoint(node.inputs):
            continue  # made of constants: it sees nothing
        for out in node.outputs:
            if out:
                fields[out] = _of_node(graph, node, fields, last) if len(graph.types[out].shape) in (3, 4) else None
    return fields


def _of_node(
    graph: Graph, node: Node, fields: dict[str, ReceptiveField | None], last: set[str]
) -> ReceptiveField | None:
    sources = [fields.get(name) for name in node.inputs if name and name in fields]
    if not sources or any(source is None for source in sources):
        return None
    if turned(node, graph.types) == ("first" if node.inputs[0] in last else "last"):
        return sources[0]
    if _mixes(graph, node) or (not last.isdisjoint(node.inputs) and node.op in _AXES_MATTER):
        return None
    known = [source for source in sources if source is not None]
    n = len(graph.types[node.outputs[0]].shape) - 2
    if any(len(field.size) != n for field in known):
        return None
    axes = [[(field.size[a], field.stride[a], field.offset[a]) for field in known] for a in range(n)]
    if node.op in _WINDOWED:
        window = window_of(node, graph.types)
        results = [_window(window, 2 - n + axis, axes[axis][0]) for axis in range(n)]
    elif node.op == "ConvTranspose":
        window, _ = transposed_window(node, graph.types)
        results = [_spread(window, 2 - n + axis, axes[axis][0]) for axis in range(n)]
    elif node.op == "Pad":
        before = graph.constants[node.inputs[1]].tolist()[2 : 2 + n]
        results = [
            (size, stride, offset - pad * stride)
            for (size, stride, offset), pad in zip((axis[0] for axis in axes), before, strict=True)
        ]
    elif node.op == "Resize":
        results = [_resize(graph, node, axis, axes[axis][0]) for axis in range(n)]
    else:
        if any(len({field[1] for field in axis}) > 1 for axis in axes):
            return None
        results = [_union(axis) for axis in axes]
    size, stride, offset = zip(*results, strict=True)
    return ReceptiveField(size, stride, offset)


def _mixes(graph: Graph, node: Node) -> bool:
    """Whether a cell of the result may see anything: more than joining, cutting or repeating channels."""
    if node.op in _SEE_ALL or node.op.startswith("Reduce"):
        return True
    if node.op == "Slice":
        cuts = cuts_of(call_of(node, graph.types, graph.constants))
        if any(cut.step != 1 for cut in cuts[2:]):  # a reversed axis keeps its size
            return True
    sizes = {graph.types[name].shape[2:] for name in (node.inputs[0], *node.outputs) if name}
    return node.op in ("Concat", "Slice", "Split", "Expand") and len(sizes) > 1


def _window(window: Window, axis: int, field: _Axis) -> _Axis:
    size, stride, offset = field
    reach = window.extent[axis] - 1
    return size + reach * stride, stride * window.stride[axis], offset + (reach / 2 - window.pads[axis]) * stride


def _spread(window: Window, axis: int, field: _Axis) -> _Axis:
    """Each cell reads the inputs whose windows reach it: at most ceil(extent / stride) of them."""
    size, stride, offset = field
    reach = window.extent[axis]
    finer = stride / window.stride[axis]
    inputs = -(-reach // window.stride[axis])
    return size + (inputs - 1) * stride, finer, offset + (window.pads[axis] - (reach - 1) / 2) * finer


def _resize(graph: Graph, node: Node, axis: int, field: _Axis) -> _Axis:
    """What a kernel reaches, or the inputs of a window for means and maxima over adaptive windows."""
    size, stride, offset = field
    resizing = resizing_of(call_of(node, graph.types, graph.constants))
    axis += 4 - len(graph.types[node.inputs[0]].shape)
    before, after = resizing.old[axis], resizing.new[axis]
    if resizing.mode in ("area", "windows"):
        finer = stride * before / after
        return size + (-(-before // after)) * stride, finer, offset + (finer - stride) / 2
    first = resizing.place(axis, 0)
    step = resizing.place(axis, 1) - first if after > 1 else before
    wide = {"linear": 1, "cubic": 2}.get(resizing.mode, 0)
    if resizing.antialias:
        wide = math.ceil(wide / min(1.0, resizing.scale(axis)))
    return size + max(0, 2 * wide - 1) * stride, stride * step, offset + first * stride


def _union(fields: list[_Axis]) -> _Axis:
    low = min(offset - (size - 1) / 2 for size, _, offset in fields)
    high = max(offset + (size - 1) / 2 for size, _, offset in fields)
    return high - low + 1, fields[0][1], (low + high) / 2
