"""A network as an ONNX file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from .. import __version__
from ..graph import Graph, TensorType
from ..nn import Network
from ..nn._npz import replacing
from . import _forms, _own  # noqa: F401  (they register how operators are written)
from ._kept import keep_said
from ._package import OPSET, onnx_package
from ._writer import Writer

Array = npt.NDArray[Any]

_IR_VERSION = 10  # the first whose nodes have metadata
_MOST_BYTES = (1 << 31) - 1  # of one message of protobuf
_SMALL_BYTES = 1024  # what stays in the .onnx file, as shapes must
_ALIGNMENT = 4096  # so that runtimes map external data
_EXTERNAL = 1


def export(net: Network | Graph, path: str | os.PathLike[str] | IO[bytes], *, max_bytes: int = _MOST_BYTES) -> None:
    """Write a network, or any graph, as an ONNX file that runs in any ONNX runtime.

    Parameters
    ----------
    net : Network or Graph
        Such as one with a backward half, which :func:`convlens.transform.backward` makes.
    path : path-like that ends in .onnx, or a binary file open for writing
        The file at a path is replaced when the new one is whole.
    max_bytes : int
        Of the .onnx file. Weights of a larger model go to ``path`` + ``.data`` beside it, and both files belong
        together; ONNX cannot hold 2 GB or more in one file. 0 puts them there always.

    Raises
    ------
    TypeError
        `net` or `path` is none of these.
    ValueError
        `path` ends in something else; `max_bytes` is not in 0 to 2**31 - 1; `path` is an open file, and the model is
        larger than `max_bytes`.
    UnsupportedError
        An operator has no form in ONNX; the message names it and its node. Nothing was written.
    ImportError
        The onnx package is not installed; the message gives the command.

    See Also
    --------
    to_model : Make the ModelProto that is written.

    Notes
    -----
    The file is of opset 21 (IR version 10): its nodes are the graph's, under their names; the batch is the symbol
    ``N``. Operators that ONNX lacks, derivatives above all, are written out in its own, as ``docs/architecture.md``
    says; the last of their nodes bears the name. What ONNX cannot hold is metadata: numbers that are no float32
    (``convlens.attributes`` of a node), ``net.notes`` and ``net.paths``. A file that is imported, exported and imported
    again is the same network, and the same bytes when exported again. A network in float64 is written so, which few
    runtimes run.

    Examples
    --------
    >>> import io
    >>> from convlens import nn, onnx
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(out_features=2, name="head"), input_shape=(1, 4, 4))
    >>> file = io.BytesIO()
    >>> onnx.export(net, file)
    >>> onnx.load(file.getvalue())
    Network(images float32(N, 1, 4, 4) -> head; 2 layers, 34 parameters, version 0)
    """
    if not isinstance(max_bytes, int) or not 0 <= max_bytes <= _MOST_BYTES:
        raise ValueError(f"`max_bytes` (={max_bytes!r}) must be a number from 0 to {_MOST_BYTES} (2**31 - 1)")
    model, arrays = _described(net)
    if not isinstance(path, (str, os.PathLike)):
        if not callable(getattr(path, "write", None)):
            raise TypeError(f"`path` is a {type(path).__name__}: give a path or a binary file open for writing")
        if _n_bytes(model, arrays) > max_bytes:
            raise ValueError(
                f"the model is larger than `max_bytes` (={max_bytes}), and an open file has no place for weights "
                "beside it: give a path"
            )
        path.write(_whole(model, arrays))
        return
    path = Path(path)
    if path.suffix != ".onnx":
        raise ValueError(f"`path` (={str(path)!r}) must end in .onnx; net.save writes .npz and .safetensors")
    with contextlib.ExitStack() as files:
        file = files.enter_context(replacing(path))
        if _n_bytes(model, arrays) > max_bytes:
            beside = path.with_name(f"{path.name}.data")
            arrays = _put_beside(model, arrays, files.enter_context(replacing(beside)), beside.name)
        file.write(_whole(model, arrays))


def to_model(net: Network | Graph) -> Any:
    """Make an ``onnx.ModelProto`` of a network, or of any graph: what :func:`export` writes.

    Parameters
    ----------
    net : Network or Graph

    Returns
    -------
    onnx.ModelProto
        With its weights inside.

    Raises
    ------
    TypeError, UnsupportedError, ImportError
        As :func:`export`.

    Examples
    --------
    >>> from convlens import nn, onnx
    >>> model = onnx.to_model(nn.Sequential(nn.ReLU(name="relu"), input_shape=(3, 8, 8)))
    >>> [node.op_type for node in model.graph.node], [output.name for output in model.graph.output]
    (['Relu'], ['relu'])
    """
    model, arrays = _described(net)
    _put_inside(model, arrays)
    return model


def _described(net: Network | Graph) -> tuple[Any, dict[str, Array]]:
    """The model without its constants, and these in the order they are read."""
    if not isinstance(net, (Network, Graph)):
        raise TypeError(f"`net` is a {type(net).__name__}: give a Network or a Graph")
    graph = net if isinstance(net, Graph) else net.graph
    helper = onnx_package("onnx.helper")
    part = graph.subgraph(graph.outputs)
    writer = Writer(part)
    writer.write()
    made = helper.make_graph(
        writer.nodes,
        "convlens",
        [_info(name, kind) for name, kind in graph.inputs.items()],
        [_info(name, graph.types[name]) for name in graph.outputs],
        value_info=[_info(name, part.types[name]) for name in part.producers() if name not in graph.outputs],
    )
    model = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="convlens",
        producer_version=__version__,
    )
    if isinstance(net, Network):
        keep_said(model, net.notes, net.paths)
    return model, writer.constants


def _info(name: str, kind: TensorType) -> Any:
    return onnx_package("onnx.helper").make_tensor_value_info(name, _number(kind.dtype), kind.shape)


def _number(dtype: str) -> int:
    return int(onnx_package("onnx.helper").np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _n_bytes(model: Any, arrays: Mapping[str, Array]) -> int:
    """The size of the file, or a little more."""
    return int(model.ByteSize()) + sum(array.nbytes + 64 + 11 * array.ndim + 4 * len(n) for n, array in arrays.items())


def _whole(model: Any, arrays: Mapping[str, Array]) -> bytes:
    _put_inside(model, arrays)
    return bytes(model.SerializeToString(deterministic=True))


def _put_inside(model: Any, arrays: Mapping[str, Array]) -> None:
    for name, array in arrays.items():
        _stored(model, name, array).raw_data = _little_endian(array).tobytes()


def _put_beside(model: Any, arrays: Mapping[str, Array], file: IO[bytes], name: str) -> dict[str, Array]:
    """Write the large constants into a file of their own; the others are returned."""
    large = {key: array for key, array in arrays.items() if array.nbytes >= _SMALL_BYTES}
    for key, array in large.items():
        tensor = _stored(model, key, array)
        tensor.data_location = _EXTERNAL
        file.write(bytes(-file.tell() % _ALIGNMENT))
        for entry, value in (("location", name), ("offset", file.tell()), ("length", array.nbytes)):
            tensor.external_data.add(key=entry, value=str(value))
        file.write(_little_endian(array).data.cast("B"))
    return {key: array for key, array in arrays.items() if key not in large}


def _stored(model: Any, name: str, array: Array) -> Any:
    return model.graph.initializer.add(name=name, data_type=_number(array.dtype.name), dims=array.shape)


def _little_endian(array: Array) -> Array:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
