"""From a graph to a Program: the passes in order."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .._arguments import memory as check_memory
from ..graph import Graph
from ._decompose import decompose
from ._dispatch import choices, moved, tell
from ._elementwise import group
from ._emit import Image, emit
from ._flow import Entry
from ._halo import add_halos
from ._layout import Layouter
from ._normalise import normalise
from ._parts import arrange
from ._pool_masks import mask_before_pools
from ._program import Program
from ._select import select
from ._state import StateSlot
from ._target import Target
from ._winograd import wanted_unit


def compile(
    graph: Graph,
    entries: Mapping[str, Entry],
    *,
    dtype: str | None = None,
    updates: Mapping[str, str] | None = None,
    inside: Collection[str] | None = None,
    blocked: Collection[str] = (),
    winograd: bool | str = True,
    tiled: Collection[str] | None = None,
    memory: str = "fast",
) -> Program:
    """Lower a graph to a Program.

    Parameters
    ----------
    graph : Graph
    entries : mapping of name to Entry
        Lists of outputs with the inputs they are computed from, in the order they run in. A later entry may read what
        earlier ones computed, and may run any number of times after them.
    dtype : {"float32", "float64"}, optional
        What to compute in; by default float32, or float64 when the graph's inputs are.
    updates : mapping of state to tensor, optional
        Graph inputs that are not batched and change in place: each run ends with the tensor's value in the state.
    inside : collection of str, optional
        Of a part of a larger graph, whose bits the Program then has: the inputs that the larger graph makes itself.
        Winograd's tiles lie on the grid of a whole tensor: a part of one goes without, or has other bits.
    blocked : collection of str, optional
        Inputs, outputs and states, float tensors (N, C, H, W) or (C, H, W), that one Program hands to the next as it
        holds them: arrays ([N,] C / lanes, H, W, lanes) aligned to 64 bytes, which is what a block has: 16 lanes in
        float32, 8 in float64. A state so held is one that images are added to, and does nothing else.
        Lanes beyond C are zeros.
    winograd : bool or {"F(2,3)", "F(4,3)"}
        Whether 3 x 3 convolutions of stride 1 may go by Winograd's algorithm, where it pays: it is faster, and rounds
        some three times as much. In float64 never. A tile by name: wherever it is defined, in float64 too.
    tiled : collection of str, optional
        The results of the convolutions that go by Winograd's algorithm with tiles F(4,3), and no others, whatever
        `winograd` is.
    memory : {"fast", "low"}
        "low": no weights are kept transformed; the bits are the same.

    Returns
    -------
    Program

    Raises
    ------
    ValueError
        When an entry, an update, `blocked` or `tiled` names what the graph does not have or what cannot be that, or
        an entry needs inputs it is not given.
    UnsupportedError
        When no instruction computes a node; the message names it and what is supported.

    Notes
    -----
    Constants of rank 0 become part of the Program; every other constant is a weight, bound at run, so one Program
    serves all versions of a network's weights.

    Examples
    --------
    >>> import numpy as np
    >>> from convlens.graph import GraphBuilder
    >>> from convlens.program import Weights
    >>> b = GraphBuilder()
    >>> x = b.input("images", "float32", ("N", 1, 4, 4))
    >>> y = b.add("Conv", [x, b.constant(np.ones((1, 1, 2, 2), np.float32), "weight")], {"kernel_shape": (2, 2)})
    >>> graph = b.build([y])
    >>> program = compile(graph, {"forward": Entry(("images",), (y,))})
    >>> out = program.run("forward", {"images": np.ones((2, 1, 4, 4), np.float32)}, Weights(graph.constants))
    >>> out[y].shape, float(out[y].max())
    ((2, 1, 3, 3), 4.0)
    """
    if dtype is None:
        dtype = "float64" if any(kind.dtype == "float64" for kind in graph.inputs.values()) else "float32"
    if dtype not in ("float32", "float64"):
        raise ValueError(f"`dtype` (={dtype!r}) must be 'float32' or 'float64'")
    unit = wanted_unit(winograd, dtype)
    target = Target(dtype)
    graph, numbers = decompose(graph, dtype)
    graph = mask_before_pools(graph, {name for entry in entries.values() for name in entry.outputs})
    flow = normalise(graph, entries, dict(updates or {}), numbers, inside=inside, blocked=blocked, tiled=tiled)
    steps = group(flow, *select(flow))
    made = Layouter(flow, steps, target, unit, check_memory("memory", memory)).run()
    add_halos(made.entries, target)
    entries_left, layout, moves = arrange(made.entries, target)
    slots = tuple(StateSlot(name, shape, tensor.geometry, dtype) for name, tensor, shape in made.states)
    weights = [(str(key), tensor.bytes(target.itemsize)) for key, tensor in made.weights.items()]
    states = [(name, tensor.bytes(target.itemsize)) for name, tensor, _ in made.states]
    metadata = _metadata(made.ports, slots, layout.reads)
    image = Image(
        entries_left, made.labels, made.ports, weights, states, layout.fixed_bytes, layout.image_bytes, metadata
    )
    program = Program(emit(image, target), tuple(made.weights), metadata)
    program.convolutions = choices(made.labels, entries_left, dtype, program.strips)
    program.concatenations = moved(made.labels, moves)
    tell([*program.convolutions, *program.concatenations])
    return program


def _metadata(
    ports: list[list[Any]], slots: tuple[StateSlot, ...], reads: tuple[frozenset[int], ...]
) -> dict[str, Any]:
    """What Python needs beside the instructions when it reads the file back."""
    return {
        "dtypes": [[port.graph_dtype for port in own] for own in ports],
        "reads": [sorted(entries) for entries in reads],
        "states": [
            [list(s.shape), None if s.geometry is None else [*s.geometry.attributes, s.geometry.transposed]]
            for s in slots
        ],
    }
