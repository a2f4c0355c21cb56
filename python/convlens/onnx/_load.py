"""An ONNX file as a Network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy.typing as npt

from .._arguments import memory as check_memory
from .._errors import UnsupportedError
from .._spill import spilled
from ..graph import Graph, by_sizes, channels_first, check_layout, layout_of
from ..nn import Network
from ._importer import Imported, import_model
from ._model import Source, read_model
from ._package import onnx_package

Array = npt.NDArray[Any]
Sizes = tuple[int, ...]

# Height and width, length, or how many integers, that open sizes are listed at, in the order they are tried.
_USUAL = ((224, 1024, 16), (256, 512, 32), (32, 128, 8))


def load(
    source: Source,
    *,
    outputs: str | Sequence[str] | None = None,
    input_shape: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    layout: str | Mapping[str, str] | None = None,
    winograd: bool | str = True,
    memory: str = "fast",
    max_bytes: int | None = None,
) -> Network:
    """Read a convolutional network from an ONNX file.

    Parameters
    ----------
    source : path-like, bytes or onnx.ModelProto
        Of opset 7 or newer. External data are read from the folder of the path, and from nowhere else.
    outputs : str or sequence of str, optional
        Tensors or nodes to compute instead of the file's outputs; what they do not need may be unsupported.
    input_shape : sequence of int, or mapping of input name to it, optional
        Shape of one image, such as ``(3, 224, 224)``, where the file leaves sizes open: the size that layers are listed
        at. Open height, width and length are 224 and 1024 without it; open channels need it.
    layout : {"NCHW", "NHWC"}, or mapping of input name to it, optional
        Which axis of the input holds the channels, instead of what the file suggests: a Transpose before the first
        convolution, or a last axis of 1, 3 or 4, says that they are last. It changes nothing that is computed, but
        which axes maps have and windows cover. Of signals "NCL" and "NLC".
    winograd, memory, max_bytes
        As :class:`convlens.nn.Network` takes them.

    Returns
    -------
    Network
        Tensors and nodes keep their names. The first axis of each input is the number of images, whatever number the
        file gives. Where the file leaves sizes open, images of any size run: the first of a size compile the network
        for it. ``net.layout`` is the layout of the input; ``net.notes`` says what was changed, such as weights in half
        precision converted to float32.

    Raises
    ------
    ValueError
        The file is broken or contradicts itself, or `input_shape` is missing or does not fit.
    UnsupportedError
        An operator that the outputs need is not supported; the message names it and its node, and what is supported.
    ImportError
        The onnx package is not installed; the message gives the command.

    Examples
    --------
    >>> from onnx import helper, TensorProto
    >>> x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 4, 4])
    >>> y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3, 4, 4])
    >>> graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], name="relu")], "g", [x], [y])
    >>> model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    >>> load(model)
    Network(x float32(N, 3, 4, 4) -> y; 1 layers, 0 parameters, version 0)
    """
    options: dict[str, Any] = {"winograd": winograd, "memory": check_memory("memory", memory), "max_bytes": max_bytes}
    model, folder, weights = read_model(source)
    wanted = [outputs] if isinstance(outputs, str) else outputs
    open_axes = _open_axes(model)
    given = _given_shapes(model, input_shape)
    imported = _imported(model, folder, weights, wanted, given, open_axes)
    layouts = _layouts(imported.graph, layout)
    open_axes = {name: axes for name, axes in open_axes.items() if name in imported.graph.inputs and None in axes}
    if not open_axes:
        return _network(imported, layouts, **options)
    values = spilled(imported.values) if memory == "low" else imported.values
    origin = File(_without_weights(model), values, None if wanted is None else tuple(wanted), layouts)
    return _network(imported, layouts, source=origin, open_axes=open_axes, **options)


@dataclass(frozen=True)
class File:
    """An ONNX file of open sizes, to make a network for each size of."""

    model: bytes
    values: Mapping[str, Array]
    outputs: tuple[str, ...] | None
    layouts: Mapping[str, str]

    def network(self, shapes: Mapping[str, Sizes]) -> Network:
        """The network for inputs of these shapes."""
        model, _, _ = read_model(self.model)
        return _network(import_model(model, outputs=self.outputs, shapes=shapes, values=self.values), self.layouts)


def _network(
    imported: Imported,
    layouts: Mapping[str, str],
    source: File | None = None,
    open_axes: Mapping[str, tuple[int | None, ...]] = MappingProxyType({}),
    **options: Any,
) -> Network:
    notes = imported.notes
    for name, kind in imported.graph.inputs.items():
        if not channels_first(layouts.get(name, "")):
            notes += (f"input {name!r} is {layouts[name]}: channels are last",)
        if kind.dtype in ("uint8", "int8", "bool"):
            raise UnsupportedError(
                f"input {name!r} is {kind.dtype}; supported: floating-point numbers, int32 and int64"
            )
    for name in open_axes:
        sizes = " x ".join(map(str, imported.graph.inputs[name].per_image))
        notes += (f"input {name!r} has open sizes: images of any size run; layers are listed for {sizes}",)
    return Network(
        graph=imported.graph,
        notes=tuple(dict.fromkeys(notes)),  # a file that convlens wrote has some already
        paths=imported.paths,
        layouts=layouts,
        source=source,
        open_axes=open_axes,
        **options,
    )


def _layouts(graph: Graph, layout: str | Mapping[str, str] | None) -> dict[str, str]:
    """The layout of each input of images and signals: as asked, as the graph says, as its sizes suggest."""
    if isinstance(layout, Mapping):
        unknown = [name for name in layout if name not in graph.inputs]
        if unknown:
            raise ValueError(f"`layout` names {unknown[0]!r}; the inputs are {', '.join(map(repr, graph.inputs))}")
        asked = {name: check_layout(text, graph.inputs[name], name) for name, text in layout.items()}
    elif layout is not None:
        images = {n: kind for n, kind in graph.inputs.items() if len(kind.shape) in (3, 4)} or graph.inputs
        asked = {name: check_layout(layout, kind, name) for name, kind in images.items()}
    else:
        asked = {}
    found = {name: layout_of(graph, name) or by_sizes(kind) for name, kind in graph.inputs.items()}
    return {name: text for name, text in {**found, **asked}.items() if text}


def _inputs(model: Any) -> Iterator[tuple[str, Any]]:
    """The inputs that are not initialisers, with their types."""
    stored = {tensor.name for tensor in model.graph.initializer}
    return ((info.name, info.type.tensor_type) for info in model.graph.input if info.name not in stored)


def _open_axes(model: Any) -> dict[str, tuple[int | None, ...]]:
    """The sizes of one image of each input, None where the file leaves them open."""
    return {
        name: tuple(
            dim.dim_value if dim.HasField("dim_value") and dim.dim_value else None for dim in kind.shape.dim[1:]
        )
        for name, kind in _inputs(model)
        if kind.HasField("shape") and len(kind.shape.dim) > 1
    }


def _given_shapes(
    model: Any, input_shape: Sequence[int] | Mapping[str, Sequence[int]] | None
) -> dict[str, Sequence[int]]:
    names = [name for name, _ in _inputs(model)]
    if input_shape is None:
        return {}
    if not isinstance(input_shape, Mapping):
        return dict.fromkeys(names, tuple(input_shape))
    unknown = [name for name in input_shape if name not in names]
    if unknown:
        raise ValueError(f"`input_shape` names {unknown[0]!r}; the inputs are {', '.join(map(repr, names))}")
    return {name: tuple(shape) for name, shape in input_shape.items()}


def _imported(
    model: Any,
    folder: Path | None,
    weights: Mapping[int, Array],
    outputs: Sequence[str] | None,
    given: Mapping[str, Sequence[int]],
    open_axes: Mapping[str, tuple[int | None, ...]],
) -> Imported:
    """Import, with usual sizes where the file leaves them open: a layer after a Flatten fits one size alone."""
    first: Exception | None = None
    values: dict[str, Array] = {}
    for image, length, count in _USUAL:
        usual = {
            name: shape
            for name, axes in open_axes.items()
            if name not in given and (shape := _filled(_kind(model, name), axes, image, length, count)) is not None
        }
        try:
            shapes = {**usual, **given}
            return import_model(model, folder=folder, outputs=outputs, shapes=shapes, values=values, weights=weights)
        except (ValueError, UnsupportedError) as error:
            first = first or error
            if not usual:
                break
    assert first is not None
    raise first


def _kind(model: Any, name: str) -> Any:
    return next(kind for other, kind in _inputs(model) if other == name)


def _filled(kind: Any, axes: tuple[int | None, ...], image: int, length: int, count: int) -> tuple[int, ...] | None:
    """The shape of one image with open sizes filled in; None where nothing is open, or the channels are."""
    integers = kind.elem_type in (6, 7)
    if None not in axes:
        return None
    if integers:
        return tuple(count if size is None else size for size in axes)
    if len(axes) not in (2, 3) or (axes[0] is None and axes[-1] is None):
        return None
    return tuple((image if len(axes) == 3 else length) if size is None else size for size in axes)


def _without_weights(model: Any) -> bytes:
    """The file again, with its initialisers' names and shapes alone: what they hold was decoded."""
    slim = onnx_package().ModelProto(ir_version=model.ir_version)
    slim.opset_import.extend(model.opset_import)
    for field in ("node", "input", "output"):
        getattr(slim.graph, field).extend(getattr(model.graph, field))
    for tensor in model.graph.initializer:
        kept = slim.graph.initializer.add(name=tensor.name, data_type=tensor.data_type)
        kept.dims.extend(tensor.dims)
    return bytes(slim.SerializeToString())
