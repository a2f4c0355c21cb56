"""What an exported file says beside its nodes: exact numbers, notes, module paths. It refines, and never contradicts.

Attributes of ONNX are float32; the graph's are doubles, and it has some that ONNX lacks. Both stand in the metadata of
their node. Another tool that changes the node's attribute, or drops the metadata, is believed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..graph import OPERATORS
from ._package import schema_of

_ATTRIBUTES, _NOTES, _PATHS = "convlens.attributes", "convlens.notes", "convlens.paths"
_LONGEST = 10_000  # of a node's text


def keep_attributes(node: Any, exact: Mapping[str, Any]) -> None:
    """Write into a node what its attributes cannot hold."""
    if exact:
        _set(node, _ATTRIBUTES, dict(exact))


def keep_said(model: Any, notes: Iterable[str], paths: Mapping[str, str]) -> None:
    """Write into a model what is known of a network beside its graph."""
    _set(model, _NOTES, list(notes))
    _set(model, _PATHS, dict(paths))


def exact_attributes(node: Any, found: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a node as they were before they became float32, where these are still the same."""
    exact = {**found}
    kept = _get(node, _ATTRIBUTES, dict, _LONGEST) if node.metadata_props else None
    for name, value in (kept or {}).items():
        if type(value) not in (int, float):
            continue
        with np.errstate(over="ignore"):
            same = type(found.get(name)) is float and np.float32(value) == found[name]
        if same or _is_own(node.op_type, name):
            exact[name] = float(value) if same else value
    return exact


def _is_own(op: str, name: str) -> bool:
    """Whether an operator that ONNX has too has an attribute in the graph alone."""
    schema = schema_of(op)
    return schema is not None and op in OPERATORS and name in OPERATORS[op].attributes and name not in schema.attributes


def kept_notes(model: Any) -> list[str]:
    """The notes of a file that convlens wrote."""
    return [note for note in _get(model, _NOTES, list) or [] if isinstance(note, str)]


def kept_paths(model: Any) -> dict[str, str] | None:
    """The module paths of a file that convlens wrote; None where it says nothing of them."""
    kept = _get(model, _PATHS, dict)
    return None if kept is None else {path: tensor for path, tensor in kept.items() if isinstance(tensor, str)}


def _set(proto: Any, key: str, value: Any) -> None:
    entry = proto.metadata_props.add()
    entry.key, entry.value = key, json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python has them."""
    return value.tolist()


def _get(proto: Any, key: str, kind: type, longest: int | None = None) -> Any:
    text = next((entry.value for entry in proto.metadata_props if entry.key == key), "")
    try:
        value = json.loads(text) if text and (longest is None or len(text) <= longest) else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, kind) else None
