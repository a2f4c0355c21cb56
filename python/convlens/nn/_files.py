"""Networks as files: arrays by name and the graph as JSON; nothing in them is executed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph import Graph, GraphBuilder, check_layout
from ._npz import Arrays, read_npz, replacing, write_npz

FORMAT = 1
_GRAPH = "graph.json"
_METADATA = "convlens"

# What is known of a network beside its graph: keyword arguments of Network that JSON holds.
Said = dict[str, Any]


def save_graph(graph: Graph, path: str | os.PathLike[str], said: Said | None = None) -> None:
    """Write `graph`, its constants and what is `said` of it as .npz or .safetensors.

    The old file stays until the new one is whole.
    """
    path = Path(path)
    beside = {key: value for key, value in (said or {}).items() if value}
    text = json.dumps({**graph_to_json(graph), **beside}, indent=1)
    arrays = {name: np.asarray(array) for name, array in graph.constants.items()}
    if path.suffix == ".npz":
        with replacing(path) as file:
            write_npz(file, arrays, {_GRAPH: text})
    elif path.suffix == ".safetensors":
        save = _safetensors().save
        with replacing(path) as file:
            file.write(save({k: np.array(v, order="C") for k, v in arrays.items()}, metadata={_METADATA: text}))
    else:
        hint = "; convlens.onnx.export(net, path) writes ONNX" if path.suffix == ".onnx" else ""
        raise ValueError(f"`path` (={str(path)!r}) must end in .npz or .safetensors{hint}")


def load_graph(path: str | os.PathLike[str]) -> tuple[Graph, Said]:
    """Read what :func:`save_graph` wrote; types are inferred anew, so a file that contradicts itself is an error."""
    path = Path(path)
    if path.suffix == ".npz":
        arrays, texts = read_npz(path)
        text = texts.get(_GRAPH)
    elif path.suffix == ".safetensors":
        arrays, text = _read_safetensors(path)
    else:
        raise ValueError(f"`path` (={str(path)!r}) must end in .npz or .safetensors{checkpoint_hint(path)}")
    if text is None:
        raise ValueError(
            f"`path` (={str(path)!r}) holds arrays but no network: build the network and give it the arrays with "
            "net.set_parameters"
        )
    try:
        data = json.loads(text)
        graph = graph_from_json(data, arrays)
        return graph, _said(data, graph)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        raise ValueError(f"`path` (={str(path)!r}) does not hold a network convlens can read: {error}") from error


def graph_to_json(graph: Graph) -> dict[str, Any]:
    """The graph without its arrays."""
    return {
        "format": FORMAT,
        "inputs": {name: {"dtype": kind.dtype, "shape": list(kind.shape)} for name, kind in graph.inputs.items()},
        "outputs": list(graph.outputs),
        "constants": list(graph.constants),
        "nodes": [
            {
                "op": node.op,
                "name": node.name,
                "inputs": list(node.inputs),
                "outputs": list(node.outputs),
                "attributes": {key: _plain(value) for key, value in node.attributes.items()},
            }
            for node in graph.nodes
        ],
    }


def graph_from_json(data: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Graph:
    """Build the graph again."""
    if data["format"] != FORMAT:
        raise ValueError(f"its format is {data['format']!r}, this convlens reads {FORMAT}")
    builder = GraphBuilder()
    for name, kind in data["inputs"].items():
        builder.input(name, kind["dtype"], tuple(kind["shape"]))
    for name in data["constants"]:
        builder.constant(arrays[name], name)
    for node in data["nodes"]:
        attributes = {key: _tuples(value) for key, value in node["attributes"].items()}
        builder.add(node["op"], node["inputs"], attributes, name=node["name"], outputs=node["outputs"])
    return builder.build(data["outputs"])


def _said(data: Mapping[str, Any], graph: Graph) -> Said:
    """The notes, module paths and layouts of a file; older files have none."""
    notes, paths, layouts = data.get("notes", []), data.get("paths", {}), data.get("layouts", {})
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise ValueError("its notes are no texts")
    for path, tensor in paths.items():
        if tensor not in graph.types:
            raise ValueError(f"its module path {path!r} is of the tensor {tensor!r}, which it does not have")
    layouts = {name: check_layout(str(layout), graph.inputs[name], name) for name, layout in layouts.items()}
    return {"notes": notes, "paths": paths, "layouts": layouts}


def _read_safetensors(path: Path) -> tuple[Arrays, str | None]:
    safetensors = _safetensors()
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            text = (file.metadata() or {}).get(_METADATA)
        return safetensors.load_file(str(path)), text
    except SafetensorError as error:
        raise ValueError(f"`path` (={str(path)!r}) is not a whole .safetensors file: {error}") from error


def checkpoint_hint(path: Path) -> str:
    if path.suffix not in (".pt", ".pth", ".bin", ".ckpt", ".tar"):
        return ""
    return (
        "; a PyTorch checkpoint holds arrays but no network: build the network and call "
        "net.load_state_dict(nn.read_state_dict(path))"
    )


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            'files that end in .safetensors need an extra: pip install "convlens[safetensors]"; .npz needs none'
        ) from error
    return safetensors.numpy


def _plain(value: Any) -> Any:
    """Attributes as JSON has them."""
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
