"""From a ModelProto to a Graph: what the asked outputs need, in order, node by node."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import UnsupportedError
from ..graph import BATCH, Dim, Graph, GraphBuilder, is_default
from ..transform import channels_first_layers, fold_constants
from . import _dense, _elementwise, _fold, _moves, _norms, _quantised, _windows  # noqa: F401  (they register the handlers)
from ._batch import Batch
from ._gelu import join_gelu
from ._kept import exact_attributes, kept_notes, kept_paths
from ._package import onnx_package
from ._paths import module_paths
from ._registry import CONTRIBUTED, FOLDS, HANDLERS, supported
from ._site import Site
from ._tensors import BFLOAT16, array_of, dtype_name

Array = npt.NDArray[Any]

OLDEST_OPSET, NEWEST_OPSET = 7, 28
# The files that the onnx package ships as tests of PyTorch's exporter are of opset 6, which differs in little.
_TOLERATED_OPSET = 6
_MOST_ELEMENTS = 1 << 31  # of one tensor of one image
_MOST_FOLDED_BYTES = 1 << 30  # of all that is computed at import: a small file must not ask for all memory
_MALFORMED = (KeyError, IndexError, TypeError, AttributeError, OverflowError, ZeroDivisionError, RecursionError)


@dataclass(frozen=True)
class Imported:
    """A graph, what had to be changed to make it, the tensors that modules of the source end in, by their paths.

    `values` are the initialisers that were read, for the next import of the same file.
    """

    graph: Graph
    notes: tuple[str, ...] = ()
    paths: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Array] = field(default_factory=dict)


def import_model(
    model: Any,
    *,
    folder: Path | None = None,
    outputs: Sequence[str] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    batched: bool = True,
    values: Mapping[str, Array] | None = None,
    weights: Mapping[int, Array] | None = None,
) -> Imported:
    """Convert a ModelProto.

    Parameters
    ----------
    model : ModelProto
    folder : Path, optional
        Where external data lie.
    outputs : sequence of str, optional
        Tensors or nodes to compute; by default the file's outputs. What they do not need is not looked at.
    shapes : mapping of input name to sizes of one image, optional
        For inputs whose sizes are open.
    batched : bool
        Whether the first axis of every input is the number of images, whatever the file says.
    values : mapping of str to ndarray, optional
        Initialisers that were decoded before.
    weights : mapping of int to ndarray of uint8, optional
        `raw_data` of the initialisers of those numbers, where they were read apart from the model.

    Raises
    ------
    ValueError
        If the file contradicts itself.
    UnsupportedError
        If an operator on the way to `outputs` has no handler, or is asked for something convlens does not do.
    """
    importer = Importer(model, folder, shapes or {}, batched, values, weights)
    return importer.run(outputs)


class Importer:
    """The state of one import: tensors known as values, tensors of the graph, what remains to say."""

    def __init__(
        self,
        model: Any,
        folder: Path | None,
        shapes: Mapping[str, Sequence[int]],
        batched: bool,
        values: Mapping[str, Array] | None = None,
        weights: Mapping[int, Array] | None = None,
    ) -> None:
        self.builder = GraphBuilder()
        self.opset = _opset_of(model)
        self.batch_size: int | None = None
        self.sequences: dict[str, list[str]] = {}  # tensors of the graph by the name of the sequence
        self.grids: dict[str, tuple[Array, Array, Array]] = {}  # whole numbers, scale, zero point of known tensors
        self.flats: dict[str, str] = {}  # tensors of the graph by the name of all their images' elements in one row
        self._graph = model.graph
        self._folder = folder
        self._shapes = shapes
        self._batched = batched
        self._stored = {tensor.name: (i, tensor) for i, tensor in enumerate(self._graph.initializer)}
        self._apart = weights or {}
        if len(self._graph.sparse_initializer):
            raise UnsupportedError("the file has sparse initialisers; supported: dense ones")
        self._inputs = {info.name: info for info in self._graph.input if info.name not in self._stored}
        self._producers: dict[str, int] = {}
        for index, node in enumerate(self._graph.node):
            for name in filter(None, node.output):
                if name in self._producers or name in self._stored or name in self._inputs:
                    raise ValueError(f"tensor {name!r} is made twice")
                self._producers[name] = index
        self._taken = {*self._stored, *self._inputs, *self._producers}
        self._values: dict[str, Array] = dict(values or {})
        self._scalars: dict[tuple[str, str, bytes], str] = {}
        self._notes: dict[str, None] = dict.fromkeys(kept_notes(model))
        self._paths: dict[str, str] = {}
        self._own_paths = kept_paths(model)  # of a file that convlens wrote, instead of the names of its nodes
        self._folded_bytes = 0
        self._over_constants = False
        self.steps: dict[str, tuple[list[str], int, int]] = {}  # scale, zero point and range of a file's whole numbers
        self._once: dict[Any, str] = {}
        self._whole: list[str] = []  # constants of `grids` in the graph

    # -- the walk ------------------------------------------------------------------------------------------------------

    def run(self, outputs: Sequence[str] | None) -> Imported:
        """Import what `outputs` need."""
        wanted = self.convert(outputs)
        for name in wanted:
            if name in self._values or name in self.builder.constants:
                raise UnsupportedError(f"output {name!r} is the same for every input; ask for others by `outputs`")
        graph = self.builder.build(wanted).subgraph(wanted)
        if self._over_constants:
            graph = fold_constants(graph, keep=self._whole)
        graph = join_gelu(graph)
        if self._batched:
            graph, moved = channels_first_layers(graph)
            if moved:
                some = ", ".join(map(repr, moved[:3])) + (" ..." if len(moved) > 3 else "")
                self.note(f"Transposes were cancelled: {some} ({len(moved)}) have channels first, in the file last")
        computed = graph.producers()
        known = self._paths if self._own_paths is None else self._own_paths
        paths = {path: tensor for path, tensor in known.items() if tensor in computed}
        values = {name: self._values[name] for name in self._stored if name in self._values}
        return Imported(graph, tuple(self._notes), paths, values)

    def convert(self, outputs: Sequence[str] | None = None) -> list[str]:
        """Convert the nodes that `outputs` need, and return the tensors that `outputs` are."""
        wanted = [self._output(name) for name in outputs or [info.name for info in self._graph.output]]
        for index in self._order(wanted):
            self._convert(self._graph.node[index])
        for name in wanted:
            if name not in self.builder.types and self.value(name) is None:
                self._declare(name)
        return list(dict.fromkeys(wanted))

    def _output(self, name: str) -> str:
        if name in self._taken:
            return name
        for node in self._graph.node:
            if node.name == name and node.output:
                return str(node.output[0])
        if any(info.name == name for info in self._graph.output):
            raise ValueError(f"output {name!r} of the file is made by nothing")
        ends = ", ".join(repr(info.name) for info in self._graph.output)
        raise ValueError(f"`outputs` holds {name!r}, which is no tensor or node of the file; its outputs are {ends}")

    def _order(self, wanted: Sequence[str]) -> list[int]:
        """The nodes that `wanted` need, each after those it reads, else in the file's order."""
        nodes = self._graph.node
        waits: dict[int, set[int]] = {}
        feeds: dict[int, list[int]] = {}
        open_ = [self._producers[name] for name in wanted if name in self._producers]
        while open_:
            index = open_.pop()
            if index in waits:
                continue
            waits[index] = {self._producers[name] for name in nodes[index].input if name in self._producers}
            for before in waits[index]:
                feeds.setdefault(before, []).append(index)
            open_.extend(waits[index])
        ready = [index for index, before in waits.items() if not before]
        heapq.heapify(ready)
        order = []
        while ready:
            index = heapq.heappop(ready)
            order.append(index)
            for after in feeds.get(index, ()):
                waits[after].discard(index)
                if not waits[after]:
                    heapq.heappush(ready, after)
        if len(order) < len(waits):
            stuck = nodes[min(set(waits) - set(order))]
            raise ValueError(f"node {stuck.name!r} ({stuck.op_type}) needs its own output: the graph has a cycle")
        return order

    def _convert(self, node: Any) -> None:
        where = f"node {node.name or ' '.join(node.output)!r} ({node.op_type}, opset {self.opset})"
        try:
            if node.domain not in ("", "ai.onnx") and (node.domain, node.op_type) not in CONTRIBUTED:
                ours = ", ".join(sorted(op for domain, op in CONTRIBUTED if domain == node.domain))
                but = f", but for {ours}" if ours else ""
                raise UnsupportedError(f"the operators of {node.domain!r} are not supported{but}; ONNX's own are")
            self._convert_at(Site(self, node, self._attributes(node)), node)
        except (UnsupportedError, ValueError) as error:
            text = str(error).removeprefix(f"node {node.name or next(iter(node.output), '')!r} ({node.op_type}): ")
            kind = UnsupportedError if isinstance(error, UnsupportedError) else ValueError
            raise kind(f"{where}: {text}") from None
        except _MALFORMED as error:
            raise ValueError(f"{where} is malformed: {type(error).__name__}: {error}") from error

    def _convert_at(self, site: Site, node: Any) -> None:
        for name in filter(None, site.inputs):
            made = name in self.builder.types or name in self.sequences or name in self.flats
            if not made and self.value(name) is None:
                self._declare(name)
        if self._fold(site):
            return
        handler = HANDLERS.get(site.op)
        if handler is None:
            hint = ", but for inputs that are known at import" if site.op in FOLDS else ""
            raise UnsupportedError(
                f"the operator is not supported{hint}; supported are {', '.join(supported())}. `outputs` cuts the "
                "network before it"
            )
        result = handler(site)
        if result is not None and site.outputs[0] not in self.builder.types:
            site.finish("Identity", [result])
        if site.outputs[0] in self.builder.types:
            self._paths.update(dict.fromkeys(module_paths(node), site.outputs[0]))

    def _fold(self, site: Site) -> bool:
        """Compute the node if all it reads is known."""
        fold = FOLDS.get(site.op)
        if site.op in ("Shape", "Size") and site.has(0) and not site.knows(0):
            arrays: list[Array | None] = [self._shape_array(site)]
        elif site.op == "CastLike" and site.knows(0) and not site.knows(1):
            arrays = [self.value(site.inputs[0]), np.zeros((), site.type(1).dtype)]
        else:
            arrays = [self.value(name) if name else None for name in site.inputs]
            if any(array is None for array, name in zip(arrays, site.inputs, strict=True) if name):
                return False
            if site.op in ("Shape", "Size"):
                arrays = [np.array(np.shape(self.value(site.inputs[0])), np.int64)]  # type: ignore[arg-type]  # it is known
        if fold is None:
            return False
        _fold.keep_images_first(site, arrays)
        with np.errstate(all="ignore"):
            found = fold(site, *arrays)
        for name, array in zip(site.outputs, [found] if isinstance(found, np.ndarray) else found, strict=False):
            if name:
                self._values[name] = array
        return True

    def _shape_array(self, site: Site) -> Array:
        return np.array([Batch() if dim == BATCH else dim for dim in site.shape(0)], object)

    def maker(self, name: str) -> str:
        """The operator that makes a tensor of the file; "" for what no node makes."""
        return self._graph.node[self._producers[name]].op_type if name in self._producers else ""

    def note(self, text: str) -> None:
        """Say something about the whole import, once."""
        self._notes[text] = None

    def know(self, name: str, value: Array) -> None:
        """Give a tensor that the file does not have a value that is known at import."""
        self._values[name] = value

    def spend(self, n_bytes: int) -> None:
        """Count what folding is about to allocate."""
        self._folded_bytes += n_bytes
        if self._folded_bytes > _MOST_FOLDED_BYTES:
            raise UnsupportedError(f"its constants take more than {_MOST_FOLDED_BYTES} bytes to compute at import")

    # -- tensors -------------------------------------------------------------------------------------------------------

    def value(self, name: str) -> Array | None:
        """What is known of a tensor at import; None where it depends on data."""
        if name in self._stored and name not in self._values:
            number, tensor = self._stored[name]
            self._values[name] = self._decoded(tensor, f"initialiser {name!r}", self._apart.get(number))
        return self._values.get(name)

    def _decoded(self, tensor: Any, what: str, raw: Array | None = None) -> Array:
        if tensor.data_type == BFLOAT16 and len(tensor.dims):
            self.note("bfloat16 weights were converted to float32")
        return array_of(tensor, self._folder, what, raw)

    def tensor(self, name: str) -> str:
        """A tensor of the graph by the file's name."""
        if name in self.builder.types:
            return name
        if name in self.flats:
            raise UnsupportedError(
                f"{name!r} has the elements of all images in one row; supported: a Gather that takes each image's own"
            )
        value = self.value(name)
        if value is None:
            return name
        if name in self.grids:
            parts = [
                self.constant(part, f"{name}.{what}")
                for part, what in zip(self.grids[name], ("whole", "scale", "zero"), strict=True)
            ]
            self._whole.append(parts[0])
            return self.builder.add("Dequantize", parts, name=name, outputs=[name])
        if value.dtype == object:
            raise UnsupportedError(f"{name!r} holds the number of images, which only shapes may depend on")
        return self.builder.constant(self._narrowed(value), name)

    def constant(self, value: Array, stem: str) -> str:
        """Add a constant under a name like `stem`."""
        if value.dtype == object:
            raise UnsupportedError(f"{stem!r} holds the number of images, which only shapes may depend on")
        value = self._narrowed(value)
        key = (stem, value.dtype.name, value.tobytes() + bytes(value.ndim)) if value.size <= 16 else None
        if key in self._scalars:
            return self._scalars[key]
        name = self.builder.constant(value, self.fresh(stem))
        if key is not None:
            self._scalars[key] = name
        return name

    def _narrowed(self, value: Array) -> Array:
        if value.dtype in (np.float16, np.float64):
            if value.ndim:
                self._notes[f"{value.dtype.name} weights were converted to float32"] = None
            with np.errstate(over="ignore"):
                return value.astype(np.float32)
        return np.ascontiguousarray(value) if value.ndim else value

    def fresh(self, stem: str) -> str:
        """A name that neither the graph nor the file has."""
        while (name := self.builder.fresh(stem)) in self._taken:
            pass
        return name

    def add(
        self, op: str, inputs: Sequence[str], attributes: Mapping[str, Any], name: str, outputs: Sequence[str]
    ) -> str:
        """Append a node without attributes that are its defaults, and refuse tensors that no machine holds."""
        attributes = {key: value for key, value in attributes.items() if not is_default(op, key, value)}
        self._over_constants |= all(tensor in self.builder.constants for tensor in inputs if tensor)
        made = self.builder.add(op, inputs, attributes, name=name, outputs=outputs)
        for out in filter(None, outputs):
            if math.prod(self.builder.types[out].per_image) > _MOST_ELEMENTS:
                raise UnsupportedError(f"{out!r} {self.builder.types[out]} is larger than {_MOST_ELEMENTS} elements")
        return made

    def add_once(self, op: str, inputs: Sequence[str], attributes: Mapping[str, Any], name: str) -> str:
        """Append a node under a name like `name`, or return the output of an equal one."""
        key = op, tuple(inputs), tuple(sorted(attributes.items()))
        if key not in self._once:
            fresh = self.fresh(name)
            self._once[key] = self.add(op, inputs, attributes, fresh, [fresh])
        return self._once[key]

    # -- what the file declares ----------------------------------------------------------------------------------------

    def _declare(self, name: str) -> None:
        """Make a graph input of one of the file's."""
        info = self._inputs.get(name)
        if name in self._producers:
            node = self._graph.node[self._producers[name]]
            place = list(node.output).index(name)
            raise UnsupportedError(f"output {place} ({name!r}) of node {node.name!r} ({node.op_type}) is not supported")
        if info is None:
            raise ValueError(f"{name!r} is read, but nothing makes it")
        kind = info.type.tensor_type
        if not info.type.HasField("tensor_type"):
            raise UnsupportedError(f"input {name!r} is no tensor; supported: tensors")
        dtype = dtype_name(kind.elem_type, f"input {name!r}")
        if dtype in ("float16", "bfloat16", "float64"):
            self._notes[f"input {name!r} is {dtype} in the file; it takes float32"] = None
            dtype = "float32"
        elif dtype in ("uint8", "int8") and self._batched:
            self._notes[f"input {name!r} is {dtype} in the file; it takes the same numbers as float32"] = None
            dtype = "float32"
        elif dtype == "int32" and self._batched:
            dtype = "int64"  # which any whole numbers become at the call
        shape = self._input_shape(name, kind)
        if math.prod(dim for dim in shape if dim != BATCH) > _MOST_ELEMENTS:
            raise UnsupportedError(f"input {name!r} {shape} is larger than {_MOST_ELEMENTS} elements")
        self.builder.input(name, dtype, shape)

    def _input_shape(self, name: str, kind: Any) -> tuple[Dim, ...]:
        given = self._shapes.get(name)
        if not kind.HasField("shape") and given is None:
            raise ValueError(f"input {name!r} has no shape in the file; give `input_shape`, that of one image")
        dims = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in kind.shape.dim]
        shown = f"({', '.join(str(dim or '?') for dim in dims)})"
        if any(isinstance(dim, int) and dim < 0 for dim in dims):
            raise ValueError(f"input {name!r} has the shape {shown}; sizes must not be negative")
        dims = [dim or None for dim in dims]  # older exporters write 0 for an open size
        front: list[Dim] = []
        if self._batched:
            if kind.HasField("shape") and not dims:
                raise UnsupportedError(f"input {name!r} is a scalar; supported: inputs whose first axis is the batch")
            self._note_batch(dims[0] if dims else None)
            front, dims = [BATCH], dims[1:]
        if given is not None:
            sizes = [int(size) for size in given]
            fits = len(sizes) == len(dims) and all(
                b in (a, None) or isinstance(b, str) for a, b in zip(sizes, dims, strict=True)
            )
            if (kind.HasField("shape") and not fits) or min(sizes, default=1) < 1:
                raise ValueError(f"`input_shape` (={tuple(sizes)}) must fit {name!r}, which is {shown} with the batch")
            return (*front, *sizes)
        if any(not isinstance(dim, int) for dim in dims):
            example = tuple(dim if isinstance(dim, int) else 224 for dim in dims)
            raise ValueError(
                f"input {name!r} {shown} has open sizes: give `input_shape`, the shape of one image, such as "
                f"input_shape={example}"
            )
        return (*front, *(int(dim) for dim in dims if dim is not None))

    def _note_batch(self, size: Any) -> None:
        if not isinstance(size, int):
            return
        self.batch_size = size
        if size > 1:
            self.note(f"the file is for batches of {size} images; the network takes any number")
        else:
            self.note("the file is for one image; the network takes any number and runs them one by one")

    def _attributes(self, node: Any) -> dict[str, Any]:
        """A node's attributes as Python has them."""
        found: dict[str, Any] = {}
        for attribute in node.attribute:
            if attribute.ref_attr_name:
                raise ValueError(f"`{attribute.name}` refers to an attribute of a function that it is not in")
            if attribute.HasField("t"):
                found[attribute.name] = self._decoded(attribute.t, f"`{attribute.name}`")
                continue
            value = onnx_package("onnx.helper").get_attribute_value(attribute)
            if isinstance(value, bytes):
                value = value.decode("utf-8", "replace")
            found[attribute.name] = value
        return exact_attributes(node, found)


def _opset_of(model: Any) -> int:
    versions = {entry.domain: int(entry.version) for entry in model.opset_import}
    opset = versions.get("", versions.get("ai.onnx"))
    if opset is None:
        raise ValueError("the file does not say its opset (`opset_import`)")
    if not _TOLERATED_OPSET <= opset <= NEWEST_OPSET:
        raise UnsupportedError(
            f"the file is of opset {opset}; supported: {OLDEST_OPSET} to {NEWEST_OPSET} (see onnx.version_converter)"
        )
    return opset
