"""Finding tensors by what users call them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from ..graph import Graph, Node

_SEPARATORS = "./"
_NONE: Mapping[str, str] = {}
_MEANS_THE_SAME = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout", "Quantize", "Dequantize")


def find(graph: Graph, pattern: str, *, what: str = "layer", paths: Mapping[str, str] = _NONE) -> str:
    """Return the one tensor that `pattern` means.

    Parameters
    ----------
    graph : Graph
    pattern : str
        A tensor's name, a node's name, a module path, a glob, or the end of one of them after a dot or slash.
    what : str
        The argument's name in errors.
    paths : mapping of str to str
        Tensors by module path.

    Returns
    -------
    str
        The tensor's name.

    Raises
    ------
    ValueError
        Nothing or more than one tensor fits; the message lists the five nearest names.
    """
    names = {**paths, **aliases(graph)}
    matches = _matches(names, pattern)
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ValueError(
            f"`{what}` (={pattern!r}) is ambiguous: it fits {_list(matches[:5])}"
            f"{f' and {len(matches) - 5} more' if len(matches) > 5 else ''}; give a longer name"
        )
    raise ValueError(
        f"`{what}` (={pattern!r}) is not in the network; the nearest are {_list(_nearest(names, pattern))}"
    )


def find_all(
    graph: Graph, patterns: str | Iterable[str], *, what: str = "names", paths: Mapping[str, str] = _NONE
) -> list[str]:
    """Return every tensor that the patterns mean: a glob may mean many, anything else one."""
    found: dict[str, None] = {}
    names = {**paths, **aliases(graph)}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        if not isinstance(pattern, str):
            raise TypeError(f"`{what}` holds {pattern!r}: give names as str")
        if _is_glob(names, pattern):
            matches = _matches(names, pattern)
            if not matches:
                find(graph, pattern, what=what, paths=paths)
            found.update(dict.fromkeys(matches))
        else:
            found[find(graph, pattern, what=what, paths=paths)] = None
    return list(found)


class Answer(NamedTuple):
    """What a network computes in the end: logits, and the probabilities made of them by an operator, if it has any."""

    logits: str
    probability: str | None = None
    operator: str | None = None


def answer_of(graph: Graph, output: str) -> Answer:
    """Find the logits of `output`: before the softmax or sigmoid that makes it, or what an ArgMax chooses from.

    Operators on the way that do not change what a value means, such as Reshape and quantisation, are passed over.
    """
    producers = graph.producers()
    node = _maker(producers, output)
    if node is not None and node.op in ("ArgMax", "ArgMin"):
        output, node = node.inputs[0], _maker(producers, node.inputs[0])
    if node is None or node.op not in ("Softmax", "LogSoftmax", "Sigmoid"):
        return Answer(output)
    return Answer(node.inputs[0], output, node.op)


def _maker(producers: Mapping[str, Node], name: str) -> Node | None:
    """The node whose values a tensor has."""
    node = producers.get(name)
    while node is not None and node.op in _MEANS_THE_SAME:
        node = producers.get(node.inputs[0])
    return node


def aliases(graph: Graph) -> dict[str, str]:
    """What each tensor may be called: its own name, and its node's."""
    names = {name: name for name in graph.inputs}
    for node in graph.nodes:
        names.update({out: out for out in node.outputs if out})
    for node in graph.nodes:
        if node.name:
            names.setdefault(node.name, node.outputs[0])
    return names


def _matches(names: Mapping[str, str], pattern: str) -> list[str]:
    if pattern in names:
        return [names[pattern]]
    if _is_glob(names, pattern):
        return list(dict.fromkeys(tensor for name, tensor in names.items() if fnmatchcase(name, pattern)))
    ends = (name for name in names if any(name.endswith(mark + pattern) for mark in _SEPARATORS))
    return list(dict.fromkeys(names[name] for name in ends))


def _is_glob(names: Mapping[str, str], pattern: str) -> bool:
    return any(mark in pattern for mark in "*?[") and pattern not in names


def _nearest(names: Iterable[str], pattern: str) -> list[str]:
    known = list(names)
    return difflib.get_close_matches(pattern, known, n=5, cutoff=0.0) or known[:5]


def _list(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
