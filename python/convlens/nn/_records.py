"""What the layers of a network are: shapes, parameters, receptive fields, arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ..graph import Graph, Node, Shape
from ._receptive_field import ReceptiveField, receptive_fields

_NONE: Mapping[str, str] = MappingProxyType({})
# Operators that move elements and compute nothing.
_MOVES = frozenset(
    {
        *("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Pad", "Dropout"),
        *("Concat", "Slice", "Split", "Transpose", "Expand", "Gather"),
    }
)


@dataclass(frozen=True)
class LayerRecord:
    """One node of a network.

    Attributes
    ----------
    name : str
        Name of the node.
    tensor : str
        Name of its result, to ask for with ``net.activations``.
    operator : str
        ONNX's name.
    inputs : tuple of str
        The tensors it reads, without parameters.
    shape : tuple
        Shape of the result, ``"N"`` the batch.
    parameters : int
        Elements of the parameters it reads; shared ones are counted at their first reader.
    receptive_field : ReceptiveField or None
        The patch of the input one cell sees; None is the whole image.
    flops : int
        Floating-point operations per image; a multiply-add is two.
    """

    name: str
    tensor: str
    operator: str
    inputs: tuple[str, ...]
    shape: Shape
    parameters: int
    receptive_field: ReceptiveField | None
    flops: int


class LayerTable(Sequence[LayerRecord]):
    """The layers in order; prints as a table; indexable by number or name."""

    def __init__(self, records: Sequence[LayerRecord]) -> None:
        self._records = tuple(records)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, key):  # type: ignore[no-untyped-def]  # int, slice or str
        if isinstance(key, str):
            for record in self._records:
                if key in (record.name, record.tensor):
                    return record
            raise KeyError(key)
        return self._records[key]

    def __repr__(self) -> str:
        rows = [
            (
                record.tensor,
                record.operator,
                " x ".join(map(str, record.shape)),
                f"{record.parameters:,}",
                *_sees(record.receptive_field),
                f"{record.flops:,}",
            )
            for record in self._records
        ]
        return table(
            ("layer", "operator", "shape", "parameters", "sees", "stride", "start", "FLOPs"), rows, right=(3, 7)
        )


def _sees(field: ReceptiveField | None) -> tuple[str, str, str]:
    """Size, stride and start of a receptive field, in pixels."""
    if field is None:
        return "all", "", ""
    return str(field), _by(field.stride), _by(field.start)


def _by(sizes: Sequence[float]) -> str:
    return " x ".join(f"{size:g}" for size in sizes)


def layer_records(graph: Graph, layouts: Mapping[str, str] = _NONE) -> LayerTable:
    """Describe every node of `graph`, whose inputs have these layouts."""
    fields = receptive_fields(graph, layouts)
    seen: set[str] = set()
    made_of = {name: [name] if is_parameter(graph, name) else [] for name in graph.constants}
    records = []
    for node in graph.nodes:
        own = [source for name in node.inputs for source in made_of.get(name, ())]
        if all(name in made_of for name in node.inputs if name):  # another form of a parameter, not a layer
            made_of.update(dict.fromkeys(node.outputs, own))
            continue
        count = sum(math.prod(graph.constants[name].shape) for name in own if name not in seen)
        seen.update(own)
        out = node.outputs[0]
        records.append(
            LayerRecord(
                name=node.name or out,
                tensor=out,
                operator=node.op,
                inputs=tuple(name for name in node.inputs if name and name not in made_of),
                shape=graph.types[out].shape,
                parameters=count,
                receptive_field=fields[out],
                flops=flops(graph, node),
            )
        )
    return LayerTable(records)


def is_parameter(graph: Graph, name: str) -> bool:
    """Whether a constant holds weights: floating, neither a scalar nor the scales of a Resize."""
    array = graph.constants[name]
    return array.ndim > 0 and array.dtype.kind == "f" and not says_how(graph, name)


def says_how(graph: Graph, name: str) -> bool:
    """Whether a constant says what a Resize does, instead of being computed with."""
    short = graph.constants[name].ndim == 1 and graph.constants[name].size <= 8
    return short and any(node.op == "Resize" and name in node.inputs[1:] for node in graph.nodes)


def table_rows(graph: Graph) -> dict[str, int]:
    """By integer input, the rows of the smallest table that it is looked up in as it is."""
    rows: dict[str, int] = {}
    for node in graph.nodes:
        if node.op == "Gather" and node.inputs[1] in graph.inputs:
            size = int(graph.types[node.inputs[0]].shape[0])
            rows[node.inputs[1]] = min(size, rows.get(node.inputs[1], size))
    return rows


def buffers(graph: Graph) -> set[str]:
    """The running statistics: followed in training, not learned."""
    return {name for node in graph.nodes if node.op == "BatchNormalization" for name in node.inputs[3:5]}


def grids(graph: Graph) -> set[str]:
    """Whole numbers of quantised weights, their scales and zero points: not learned, a step would leave the grid."""
    return {name for node in graph.nodes if node.op in ("Quantize", "Dequantize") for name in node.inputs}


def flops(graph: Graph, node: Node) -> int:
    """Floating-point operations of one node per image."""
    out = math.prod(graph.types[node.outputs[0]].per_image)
    if node.op == "Conv":
        per_output = 2 * math.prod(graph.types[node.inputs[1]].per_image[1:])
        return out * per_output + (out if len(node.inputs) > 2 and node.inputs[2] else 0)
    if node.op == "Gemm":
        features = math.prod(graph.types[node.inputs[0]].per_image)
        return 2 * out * features + (out if len(node.inputs) > 2 and node.inputs[2] else 0)
    if node.op == "ConvTranspose":
        per_input = 2 * math.prod(graph.types[node.inputs[1]].per_image[1:])
        bias = out if len(node.inputs) > 2 and node.inputs[2] else 0
        return math.prod(graph.types[node.inputs[0]].per_image) * per_input + bias
    if node.op in ("MaxPool", "AveragePool"):
        return out * int(math.prod(node.attributes["kernel_shape"]))
    if node.op in ("GlobalAveragePool", "GlobalMaxPool") or node.op.startswith("Reduce"):
        return math.prod(graph.types[node.inputs[0]].per_image)
    if node.op in _MOVES:
        return 0
    if node.op == "BatchNormalization":
        return 2 * out
    if node.op in ("LayerNormalization", "InstanceNormalization", "GroupNormalization"):
        return 7 * out
    return out


def summary(graph: Graph, layouts: Mapping[str, str] = _NONE) -> str:
    """A table of the layers and the totals that decide whether a network fits."""
    records = layer_records(graph, layouts)
    names = [name for name in graph.constants if is_parameter(graph, name)]
    elements = sum(graph.constants[name].size for name in names)
    followed = sum(graph.constants[name].size for name in buffers(graph))
    parameter_bytes = sum(graph.constants[name].nbytes for name in names)
    activation_bytes = [
        math.prod(graph.types[record.tensor].per_image) * np.dtype(graph.types[record.tensor].dtype).itemsize
        for record in records
    ]
    inputs = ", ".join(f"{name} {kind} {layouts.get(name, '')}".rstrip() for name, kind in graph.inputs.items())
    return "\n".join(
        [
            f"input {inputs}",
            repr(records),
            f"parameters {elements:,}"
            + (f", of them {followed:,} running statistics" if followed else "")
            + f" ({in_bytes(parameter_bytes)})",
            f"arithmetic {sum(record.flops for record in records):,} FLOPs an image (a multiply-add is two)",
            f"activations {in_bytes(sum(activation_bytes))} an image, "
            f"the largest {in_bytes(max(activation_bytes, default=0))}",
        ]
    )


def in_bytes(count: float) -> str:
    """A size for people: 512 B, 1.5 KB, 3.2 MB (powers of 1000)."""
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Columns aligned by spaces, with a rule under the header."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    return "\n".join([line(header), "  ".join("-" * width for width in widths), *map(line, rows)])
