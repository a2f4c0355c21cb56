"""Reading a ModelProto: from a path, bytes, or as it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ._package import onnx_package
from ._raw import Bytes, read_apart

_MOST_NODES = 1 << 20  # of a graph with its functions written out
_Key = tuple[str, str, str]  # domain, name, overload
Source = Any  # a path, bytes, or a ModelProto: the onnx package is not there to say so


def read_model(source: Source) -> tuple[Any, Path | None, dict[int, Bytes]]:
    """Parse `source`; external data stay in their files.

    Returns
    -------
    model : ModelProto
        Functions defined in the file are written out.
    folder : Path or None
        Where external data may lie; None for bytes, which have no folder.
    weights : dict of int to ndarray of uint8
        `raw_data` of the initialisers of those numbers, which the model is without.

    Raises
    ------
    ValueError
        If it is not an ONNX model.
    TypeError
        If `source` is none of these.
    """
    onnx = onnx_package()
    folder: Path | None = None
    weights: dict[int, Bytes] = {}
    if isinstance(source, onnx.ModelProto):
        model, what = source, "`source`"
    elif isinstance(source, (bytes, bytearray, memoryview)):
        model, what = _parsed(bytes(source), "`source`"), "`source`"
    elif isinstance(source, (str, os.PathLike)):
        path = Path(source)
        folder, what = path.parent, f"`source` (={str(path)!r})"
        apart = read_apart(path)
        if apart is not None:
            model, weights = _parsed(apart[0], what), apart[1]
        if apart is None or len(model.functions):  # writing functions out copies the model
            model, weights = _parsed(path.read_bytes(), what), {}
    else:
        raise TypeError(f"`source` is a {type(source).__name__}: give a path, bytes or an onnx.ModelProto")
    if not model.HasField("graph") or not model.graph.output:
        raise ValueError(f"{what} is no ONNX model: it has no graph with an output")
    if len(model.functions):
        _check_functions(model, what)
        try:
            model = onnx_package("onnx.inliner").inline_local_functions(model)
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{what} has functions that cannot be written out: {error}") from None
    return model, folder, weights


def operators(source: Source) -> dict[str, int]:
    """Count the operators of a file, in the order of their first node, whether they import or not.

    Parameters
    ----------
    source : path-like, bytes or onnx.ModelProto

    Returns
    -------
    dict of str to int
        Those of other domains than ONNX's as ``domain.name``.

    See Also
    --------
    supported : The operators that import.
    """
    model, _, _ = read_model(source)
    counts: dict[str, int] = {}
    for domain, name, _ in _calls(model.graph.node):
        known = name if domain in ("", "ai.onnx") else f"{domain}.{name}"
        counts[known] = counts.get(known, 0) + 1
    return counts


def _check_functions(model: Any, what: str) -> None:
    """Refuse functions that call each other in a circle, or that written out are too many nodes."""
    functions = {(f.domain, f.name, getattr(f, "overload", "")): list(_calls(f.node)) for f in model.functions}
    sizes: dict[_Key, int] = {}
    waiting, entered = list(functions), set[_Key]()
    while waiting:
        key = waiting[-1]
        first = [call for call in functions[key] if call in functions and call not in sizes]
        if key in sizes or not first:
            sizes[key] = sum(sizes.get(call, 1) for call in functions[key])
            waiting.pop()
        elif key in entered and not entered.isdisjoint(first):
            raise ValueError(f"{what} has a function {key[1]!r} that calls itself")
        else:
            entered.add(key)
            waiting += first
    if sum(sizes.get(call, 1) for call in _calls(model.graph.node)) > _MOST_NODES:
        raise ValueError(f"{what} has functions that written out are more than {_MOST_NODES} nodes")


def _calls(nodes: Any) -> Iterator[_Key]:
    """What each node calls, those of graphs within too."""
    for node in nodes:
        yield node.domain, node.op_type, getattr(node, "overload", "")
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _calls(graph.node)


def _parsed(data: bytes, what: str) -> Any:
    model = onnx_package().ModelProto()
    decode_error = onnx_package("google.protobuf.message").DecodeError
    try:
        model.ParseFromString(data)
    except (decode_error, ValueError, RuntimeError) as error:
        raise ValueError(f"{what} is not a whole ONNX file: {error}") from None
    return model
