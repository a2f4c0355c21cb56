"""A network cut behind its affine beginning: gradients are summed there, and carried through it once.

On a straight line of inputs what the beginning makes lies on a line too: it runs at the two ends alone.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from ..graph import BATCH, Graph, GraphBuilder
from ..nn import Network
from ..nn._records import flops
from ..transform import GRADIENT, affine_prefix, backward
from ._output import Output
from ._subject import Subject

if TYPE_CHECKING:
    from ..program import Entry, Program

Array = npt.NDArray[Any]

#: Sums of more than this are not kept: reading them again and again takes as long as what they save.
LARGEST_SUM_BYTES = 8 * 2**20

#: Of the beginning, an element it makes: cheaper ones take no longer than what joins both ends of a line. (Zen 3, one
#: image: a stem of 7 x 7 x 3 3.0 ms, of 3 x 3 x 3 0.55, joining 3.2 MB 0.63.)
LEAST_FLOPS = 128

_CUTS: WeakKeyDictionary[Network, dict[Hashable, Cut | None]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Cut:
    """Names of the two halves. `at` is the last tensor of the affine beginning.

    Of a line `ends` are its values at both ends, `shares` what each image has of them; else both are empty.
    """

    at: str
    shape: tuple[int, ...]
    seed: str
    total: str
    updates: Mapping[str, str]
    gradient: str
    carried: tuple[str, ...]
    ends: tuple[str, ...]
    shares: tuple[str, ...]


class Split:
    """The Programs of a network's two halves.

    ``body`` has the entries ``forward``, and ``gradient``, which adds the gradients of its images to a State, in their
    order. ``beginning`` carries a sum of them back to the explained input; ``ahead`` is the affine beginning itself.
    """

    def __init__(self, net: Network, cut: Cut, body: Program, beginning: Program, ahead: Program | None) -> None:
        self.net = net
        self.cut = cut
        self.body = body
        self.beginning = beginning
        self.ahead = ahead

    def ends(self, start: Array, end: Array) -> dict[str, Array]:
        """What the body takes of both ends of a line, inputs of shape (C, H, W)."""
        assert self.ahead is not None
        (name,) = self.ahead.inputs("forward")
        runs = (self.ahead.run("forward", {name: at[np.newaxis]}, self.net.weights) for at in (start, end))
        return {name: run[self.cut.at][0] for name, run in zip(self.cut.ends, runs, strict=True)}

    def between(self, shares: Array) -> dict[str, Array]:
        """What the body takes of points on a line, of their `shares` of the way (n,) in double."""
        shape = (-1, *[1] * len(self.cut.shape))
        of = (1 - shares, shares)
        return {
            name: each.astype(self.net.dtype).reshape(shape) for name, each in zip(self.cut.shares, of, strict=True)
        }

    def begin(self) -> Any:
        """A State with nothing added yet."""
        from ..program import State

        shape = self.beginning.inputs("gradient")[self.cut.gradient][1:]
        return State({self.cut.total: np.zeros([int(size) for size in shape], self.net.dtype)})

    def carry(self, state: Any, images: Array) -> Array:
        """The sum of the gradients, of the shape of one of `images`."""
        from ..program import aligned_room

        total = state[self.cut.total]
        given = {self.cut.gradient: aligned_room((1, *total.shape), total.dtype)}
        given[self.cut.gradient][0] = total
        # An affine beginning's gradient has its shape from the input, never its values.
        given |= {name: np.zeros_like(images[:1]) for name in self.cut.carried[1:]}
        found = self.beginning.run("gradient", given, self.net.weights)
        return np.asarray(next(iter(found.values()))[0])


def find_split(net: Network, subject: Subject, output: Output, *, line: bool) -> Split | None:
    """The halves of a network, None where a cut does not help; the answer depends on its structure alone.

    Of inputs on a `line` the beginning runs at the ends alone (``ahead``), unless it is soon made.
    """
    key, cuts = (subject.name, output.name), _CUTS.setdefault(net, {})
    if (key, line) not in cuts:
        cuts[key, line] = _cut(subject, output, line)
    cut = cuts[key, line]
    if cut is None:
        return None
    line = bool(cut.ends)

    def program(what: str, build: Callable[[], Any], *handed: str, **more: Any) -> Program:
        """A part, which has what it is `handed` and hands on in blocks where there are planes."""
        return net.program((what, *key), build, blocked=handed if len(cut.shape) == 3 else (), **more)

    body = partial(_body, subject, output, cut.at, line)
    return Split(
        net,
        cut,
        program(
            "gradients along a line" if line else "sum of gradients", body, cut.total, *cut.ends, updates=cut.updates
        ),
        program("beginning", partial(_beginning, subject, cut.at), cut.gradient),
        program("ahead", partial(_ahead, subject, cut.at), cut.at) if line else None,
    )


def _cut(subject: Subject, output: Output, line: bool) -> Cut | None:
    at = affine_prefix(subject.graph, subject.name, output.name)
    if at is None:
        return None
    kind = subject.graph.types[at]
    if int(np.prod(kind.per_image)) * np.dtype(kind.dtype).itemsize > LARGEST_SUM_BYTES:
        return None
    if line:
        nodes, made = subject.graph.subgraph([at]).nodes, int(np.prod(kind.per_image))
        line = sum(flops(subject.graph, node) for node in nodes) >= LEAST_FLOPS * made
    graph, entries = _body(subject, output, at, line)
    (seed,) = entries["gradient"].inputs
    taken = entries["forward"].inputs
    (total,) = (name for name in graph.inputs if name not in (seed, *taken))
    carried = _beginning(subject, at)[1]["gradient"].inputs
    ends, shares = (taken[:2], taken[2:4]) if line else ((), ())
    return Cut(at, kind.per_image, seed, total, {total: graph.outputs[-1]}, carried[0], carried, ends, shares)


def _body(subject: Subject, output: Output, at: str, line: bool) -> tuple[Graph, dict[str, Entry]]:
    from ..program import Entry

    part = subject.graph.subgraph([output.name])
    part, taken = _between(part, at) if line else (part, (subject.name,))
    seed = GraphBuilder(part).fresh("seed")
    graph, gradients = backward(part, output.name, [at], GRADIENT, seed=seed)
    builder, kind = GraphBuilder(graph), graph.types[at]
    total = builder.input(builder.fresh("gradient.total"), kind.dtype, kind.per_image)
    images = builder.constant(np.zeros(1, np.int64), builder.fresh("images"))
    summed = builder.add("ReduceSum", [gradients[at], images], {"keepdims": 0})
    after = builder.add("Add", [total, summed])
    entries = {
        "forward": Entry((*taken, *subject.held), (output.name,)),
        "gradient": Entry((seed,), ()),
    }
    return builder.build([output.name, after]), entries


def _between(graph: Graph, at: str) -> tuple[Graph, tuple[str, ...]]:
    """What follows `at`, which is made of its values at both ends of a line, and the names of those and of the shares.

    Their shares sum to one, so that an affine beginning is as exact here as at every point.
    """
    names, kind = GraphBuilder(graph), graph.types[at]
    ends, shares = [names.fresh(end) for end in ("start", "end")], [names.fresh("share") for _ in range(2)]
    parts = [names.fresh("part") for _ in range(2)]
    builder, done = GraphBuilder(), {node.name for node in graph.subgraph([at]).nodes}
    for name in ends:
        builder.input(name, kind.dtype, kind.per_image)
    for name in shares:
        builder.input(name, kind.dtype, (BATCH, *[1] * len(kind.per_image)))
    for part, end, share in zip(parts, ends, shares, strict=True):
        builder.add("Mul", [share, end], outputs=[part])
    builder.add("Add", parts, outputs=[at])
    for name in graph.inputs:
        if any(name in node.inputs for node in graph.nodes if node.name not in done):
            builder.input(name, graph.types[name].dtype, graph.types[name].shape)
    builder.copy(graph, [node for node in graph.nodes if node.name not in done])
    return builder.build(graph.outputs), (*ends, *shares)


def _ahead(subject: Subject, at: str) -> tuple[Graph, dict[str, Entry]]:
    from ..program import Entry

    return subject.graph.subgraph([at]), {"forward": Entry((subject.name,), (at,))}


def _beginning(subject: Subject, at: str) -> tuple[Graph, dict[str, Entry]]:
    from ..program import Entry

    part = subject.graph.subgraph([at])
    seed = GraphBuilder(part).fresh("gradient")
    graph, gradients = backward(part, at, [subject.name], GRADIENT, seed=seed)
    graph = graph.subgraph([gradients[subject.name]])
    others = (name for name in graph.inputs if name != seed)
    return graph, {"gradient": Entry((seed, *others), tuple(graph.outputs))}
