"""Where in the input a cell of a feature map looks."""

from __future__ import annotations

from dataclasses import dataclass

from ..graph import Graph, Node

_WINDOWED = ("Conv", "MaxPool", "AveragePool")


@dataclass(frozen=True)
class ReceptiveField:
    """The patch of the input that one cell sees, in pixels, as (height, width).

    Attributes
    ----------
    size : tuple of float
        Extent of the patch.
    stride : tuple of float
        Pixels from one cell's centre to the next's.
    offset : tuple of float
        Centre of the first cell's patch, in pixel indices; below 0 or above it where the padding is uneven.
    """

    size: tuple[float, float]
    stride: tuple[float, float]
    offset: tuple[float, float]

    def __str__(self) -> str:
        return f"{self.size[0]:g} x {self.size[1]:g}"


_Axis = tuple[float, float, float]  # size, stride, offset


def receptive_fields(graph: Graph) -> dict[str, ReceptiveField | None]:
    """The field of every tensor that has one; None means that a cell may see the whole image.

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
        fields[name] = ReceptiveField((1, 1), (1, 1), (0, 0)) if len(kind.shape) == 4 else None
    for node in graph.nodes:
        for out in node.outputs:
            if out:
                fields[out] = _of_node(graph, node, fields) if len(graph.types[out].shape) == 4 else None
    return fields


def _of_node(graph: Graph, node: Node, fields: dict[str, ReceptiveField | None]) -> ReceptiveField | None:
    sources = [fields.get(name) for name in node.inputs if name and name in fields]
    if not sources or any(source is None for source in sources):
        return None
    known = [source for source in sources if source is not None]
    axes = [[(field.size[a], field.stride[a], field.offset[a]) for field in known] for a in range(2)]
    if node.op in _WINDOWED:
        results = [_window(node, axis, axes[axis][0]) for axis in range(2)]
    elif node.op == "Pad":
        before = graph.constants[node.inputs[1]].tolist()[2:4]
        results = [
            (size, stride, offset - pad * stride)
            for (size, stride, offset), pad in zip((axes[0][0], axes[1][0]), before, strict=True)
        ]
    elif node.op == "Resize":
        results = [_resize(graph, node, axis, axes[axis][0]) for axis in range(2)]
    elif node.op in ("GlobalAveragePool", "ReduceSum", "ReduceMean", "ReduceMax", "Reshape", "Gemm"):
        return None
    else:
        if any(len({field[1] for field in axis}) > 1 for axis in axes):
            return None
        results = [_union(axis) for axis in axes]
    (size_h, stride_h, offset_h), (size_w, stride_w, offset_w) = results
    return ReceptiveField((size_h, size_w), (stride_h, stride_w), (offset_h, offset_w))


def _window(node: Node, axis: int, field: _Axis) -> _Axis:
    size, stride, offset = field
    kernel = node.attributes["kernel_shape"][axis]
    dilation = node.attributes.get("dilations", (1, 1))[axis]
    step = node.attributes.get("strides", (1, 1))[axis]
    before = node.attributes.get("pads", (0, 0, 0, 0))[axis]
    reach = (kernel - 1) * dilation
    return size + reach * stride, stride * step, offset + (reach / 2 - before) * stride


def _resize(graph: Graph, node: Node, axis: int, field: _Axis) -> _Axis:
    size, stride, offset = field
    before = graph.types[node.inputs[0]].per_image[1 + axis]
    after = graph.types[node.outputs[0]].per_image[1 + axis]
    finer = stride * before / after
    reach = stride if node.attributes.get("mode") == "linear" else 0.0
    return size + reach, finer, offset + (finer - stride) / 2


def _union(fields: list[_Axis]) -> _Axis:
    low = min(offset - (size - 1) / 2 for size, _, offset in fields)
    high = max(offset + (size - 1) / 2 for size, _, offset in fields)
    return high - low + 1, fields[0][1], (low + high) / 2
