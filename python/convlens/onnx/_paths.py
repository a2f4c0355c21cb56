"""Module paths: what a layer is called in the PyTorch source that a file was exported from."""

from __future__ import annotations

import ast
from typing import Any

_SCOPES = "pkg.torch.onnx.name_scopes"


def module_paths(node: Any) -> list[str]:
    """The modules that a node lies in, outermost first: layer4, layer4.1, layer4.1.relu.

    PyTorch's newer exporter writes them as metadata; the older one names its nodes after them,
    ``/layer4/layer4.1/relu/Relu``, each child of a Sequential by the Sequential's name and its own, and every other by
    its last name.
    """
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            return _listed(entry.value)
    parts = node.name.split("/")
    if len(parts) < 3 or parts[0] or not parts[-1].startswith(node.op_type):
        return []
    paths: list[str] = []
    written = ""  # how the module above is written
    for part in parts[1:-1]:
        above = paths[-1] if paths else ""
        if written and part.startswith(f"{written}."):
            paths.append(above.removesuffix(written) + part)
        else:
            paths.append(f"{above}.{part}" if above else part)
        written = part
    return paths


def _listed(text: str) -> list[str]:
    """The scopes of a list written as Python writes it, without the whole model's "" and the operation's own."""
    try:
        scopes = ast.literal_eval(text) if len(text) < 10_000 else []
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    return [scope for scope in scopes[:-1] if isinstance(scope, str) and scope] if isinstance(scopes, list) else []
