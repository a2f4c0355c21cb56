"""What is computed in which entry, and whether the request makes sense at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NoReturn

from ..graph import Graph
from ._flow import Entry, Flow, Op, chw, names

# Cheap, and smaller than what they are made from: computed as soon as they can be, so that activations need not stay.
_HOISTED_DTYPES = frozenset({"bool", "uint8"})


def check_request(graph: Graph, entries: Mapping[str, Entry], updates: Mapping[str, str]) -> None:
    """Raise ValueError when an entry or an update names what the graph does not have."""
    if not entries:
        raise ValueError("`entries` is empty; give at least one, such as {'forward': Entry(('images',), ('logits',))}")
    given: dict[str, str] = {}
    for label, entry in entries.items():
        for name in entry.inputs:
            if name not in graph.inputs:
                raise ValueError(
                    f"entry {label!r}: {name!r} is not an input of the graph; its inputs are {names(graph.inputs)}"
                )
            if name in given:
                raise ValueError(
                    f"entry {label!r}: input {name!r} is already given to entry {given[name]!r}; later entries read "
                    "what earlier ones kept, so name it once"
                )
            if name in updates:
                raise ValueError(f"entry {label!r}: {name!r} is in `updates`, so it is State and not an input")
            given[name] = label
        for name in entry.outputs:
            if name not in graph.types:
                raise ValueError(f"entry {label!r}: {name!r} is not a tensor of the graph")
    for state, value in updates.items():
        if state not in graph.inputs or graph.types[state].batched:
            raise ValueError(f"`updates`: {state!r} must be a graph input that is not batched")
        if value not in graph.types:
            raise ValueError(f"`updates`: {value!r}, the new value of {state!r}, is not a tensor of the graph")
        if chw(graph.types[state]) != chw(graph.types[value]) or graph.types[value].batched:
            raise ValueError(
                f"`updates`: {state!r} is {graph.types[state]}, but its new value {value!r} is {graph.types[value]}"
            )


def check_parts(
    graph: Graph,
    entries: Mapping[str, Entry],
    updates: Mapping[str, str],
    blocked: Collection[str],
    tiled: Collection[str],
) -> None:
    """Raise ValueError when `blocked` names what does not cross in blocks, or `tiled` what no convolution makes."""
    crossing = dict.fromkeys(name for entry in entries.values() for name in (*entry.inputs, *entry.outputs))
    for name in blocked:
        if name not in crossing and name not in updates:
            raise ValueError(
                f"`blocked`: {name!r} is neither a state nor an input or output of an entry; those are "
                f"{names([*updates, *crossing])}"
            )
        kind = graph.types[name]
        if not (len(kind.per_image) == 3 and kind.dtype.startswith("float")):
            raise ValueError(
                f"`blocked`: {name!r} is {kind}; only float tensors (N, C, H, W) or (C, H, W) cross in blocks: "
                "leave it out"
            )
    made = graph.producers() if tiled else {}
    for name in tiled:
        if name not in made or made[name].op != "Conv":
            results = names(name for name, node in made.items() if node.op == "Conv")
            raise ValueError(f"`tiled`: {name!r} is not the result of a Conv; those of the graph are {results}")


def place(flow: Flow) -> None:
    """Give each op the entry that first needs it, drop what none needs, and compute masks early."""
    available: dict[str, int] = dict.fromkeys(flow.updates, 0)
    for name, entry in flow.input_entry.items():
        available[name] = entry
    need: dict[str, set[int]] = {}
    for index, request in enumerate(flow.entries.values()):
        for name in request.outputs:
            need.setdefault(flow.root_of(name), set()).add(index)
    for op in flow.ops:
        reads = [available.get(flow.root_of(name)) for name in op.inputs if flow.dynamic(name)]
        if None not in reads:
            earliest = max((r for r in reads if r is not None), default=0)
            for out in op.outputs:
                available[out] = earliest
            op.entry = earliest
    kept: list[Op] = []
    for op in reversed(flow.ops):
        wanted = set().union(*(need.get(out, set()) for out in op.outputs))
        if op.op != "Assign" and not wanted:
            continue
        if op.entry < 0:
            lacking = [n for n in op.inputs if flow.dynamic(n) and flow.root_of(n) not in available]
            _missing(flow, op, lacking[0], len(flow.entries) - 1)
        # What several entries read belongs to none of them, so that each can run without the others.
        if len(wanted) == 1:
            op.entry = wanted.pop()
        for name in op.inputs:
            if flow.dynamic(name):
                need.setdefault(flow.root_of(name), set()).add(op.entry)
        kept.append(op)
    kept.reverse()
    made: dict[str, int] = {}
    for op in kept:
        earliest = 0
        for name in op.inputs:
            if flow.dynamic(name):
                root = flow.root_of(name)
                if root not in available or available[root] > op.entry:
                    _missing(flow, op, root, op.entry)
                earliest = max(earliest, made.get(root, available[root]))
        if op.outputs and all(flow.types[out].dtype in _HOISTED_DTYPES for out in op.outputs if out):
            op.entry = earliest
        for out in op.outputs:
            made[out] = op.entry
    flow.ops = kept
    for index, (label, request) in enumerate(flow.entries.items()):
        for name in request.outputs:
            root = flow.root_of(name)
            if flow.dynamic(name) and available.get(root, index + 1) > index:
                raise ValueError(f"entry {label!r}: {name!r} needs inputs that no entry up to it is given")


def _missing(flow: Flow, op: Op, name: str, entry: int) -> NoReturn:
    label = list(flow.entries)[entry]
    wanted = [n for n in flow.graph.inputs if n not in flow.input_entry and n not in flow.updates]
    raise ValueError(
        f"node {op.name!r} ({op.op}) needs {name!r}, which no entry up to {label!r} is given or computes; "
        f"graph inputs that no entry lists: {names(wanted)}"
    )
