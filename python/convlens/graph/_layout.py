"""Which axis holds the channels: NCHW as PyTorch has it, NHWC as Keras has it; of signals NCL and NLC."""

from __future__ import annotations

from collections.abc import Mapping

from ._ir import Graph, Node, TensorType

#: Layouts by number of axes: channels first, channels last. Tensors of other ranks have none, "".
LAYOUTS: Mapping[int, tuple[str, str]] = {3: ("NCL", "NLC"), 4: ("NCHW", "NHWC")}
_FIRST, _LAST = 0, 1
# What an image passes through on its way to the first layer whose channels are known, without a change of axes.
_ALIKE = (
    *("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Neg", "Abs", "Identity", "Clip", "Relu", "Where", "Sqrt"),
    *("Sigmoid", "Tanh", "Exp", "Log", "Dropout", "LeakyRelu", "Elu", "Selu", "Gelu", "HardSwish", "HardSigmoid"),
    *("Softplus", "Mish", "PRelu", "Erf", "Reciprocal", "Pad", "Slice", "Concat", "Resize", "Expand"),
)
_CHANNELS_FIRST = (
    *("Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "BatchNormalization"),
    *("InstanceNormalization", "GroupNormalization"),
)


def channels_first(layout: str) -> bool:
    """Whether axis 1 holds the channels."""
    return not layout or layout[1] == "C"


def spatial_axes(layout: str) -> tuple[int, ...]:
    """The axes of height and width, or of the length."""
    return tuple(axis for axis, letter in enumerate(layout) if letter in "HWL")


def channel_axis(layout: str) -> int:
    """The axis of the channels."""
    return layout.index("C") if layout else 1


def default_layout(kind: TensorType) -> str:
    """Channels first, for tensors of images and signals."""
    return LAYOUTS[len(kind.shape)][_FIRST] if len(kind.shape) in LAYOUTS else ""


def check_layout(layout: str, kind: TensorType, name: str) -> str:
    """The layout of the input `name` that a user calls `layout`, spelled for its rank."""
    known = LAYOUTS.get(len(kind.shape))
    if not isinstance(layout, str) or layout not in (choice for pair in LAYOUTS.values() for choice in pair):
        raise ValueError(f'`layout` (={layout!r}) must be "NCHW" or "NHWC", of signals "NCL" or "NLC"')
    if known is None:
        raise ValueError(f"`layout` (={layout!r}) fits images and signals; input {name!r} is {kind}")
    return known[_FIRST if layout[1] == "C" else _LAST]


def turned(node: Node, types: Mapping[str, TensorType]) -> str:
    """What a node does to the channels alone: "first" or "last" is where it moves them, "" for any other node.

    A Transpose, or a Reshape where all that is passed over has one element.
    """
    if node.op not in ("Transpose", "Reshape") or not node.inputs[0]:
        return ""
    before, after = types[node.inputs[0]], types[node.outputs[0]]
    rank = len(before.shape)
    if rank not in LAYOUTS or len(after.shape) != rank or not (before.batched and after.batched):
        return ""
    to_first, to_last = (0, rank - 1, *range(1, rank - 1)), (0, *range(2, rank), 1)
    if node.op == "Transpose":
        perm = tuple(node.attributes.get("perm") or reversed(range(rank)))
        return "first" if perm == to_first else "last" if perm == to_last else ""
    for name, perm, axis in (("first", to_first, rank - 1), ("last", to_last, 1)):
        if before.shape[axis] == 1 and after.shape == tuple(before.shape[i] for i in perm) != before.shape:
            return name
    return ""


def layout_of(graph: Graph, name: str) -> str:
    """The layout of an input by what first reads its channels; "" where nothing says so.

    A convolution or a pool reads channels first; a Transpose before it says that they came last.
    """
    kind = graph.inputs[name]
    if len(kind.shape) not in LAYOUTS or not kind.dtype.startswith("float"):
        return ""
    first, last = LAYOUTS[len(kind.shape)]
    reached = {name}
    for node in graph.nodes:
        if reached.isdisjoint(node.inputs):
            continue
        way = turned(node, graph.types)
        if way:
            return last if way == "first" else first
        if node.op in _CHANNELS_FIRST and node.inputs[0] in reached:
            return first
        if node.op in _ALIKE and len(graph.types[node.outputs[0]].shape) == len(kind.shape):
            reached.update(node.outputs)
    return ""


def by_sizes(kind: TensorType) -> str:
    """The layout that sizes suggest: a last axis of 1, 3 or 4 behind larger ones holds channels."""
    if len(kind.shape) != 4 or not kind.dtype.startswith("float"):
        return ""
    channels, *_, last = kind.per_image
    return "NHWC" if last in (1, 3, 4) and channels > 4 else ""


def channels_last_tensors(graph: Graph, layouts: Mapping[str, str]) -> set[str]:
    """The tensors whose channels are on the last axis, as far as they follow from the inputs and from Transposes."""
    found = {name for name, layout in layouts.items() if not channels_first(layout)}
    for node in graph.nodes:
        out = node.outputs[0]
        way = turned(node, graph.types)
        if way:
            # A Transpose to the last axis of what already has them there is none of the channels.
            if way == "last" and node.inputs[0] not in found:
                found.add(out)
        elif node.op in (*_ALIKE, "Softmax", "LogSoftmax", "Split") and not found.isdisjoint(node.inputs):
            rank = len(graph.types[out].shape)
            found.update(o for o in node.outputs if o and rank in LAYOUTS)
    return found
