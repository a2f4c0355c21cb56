"""A network cut behind its affine beginning: gradients are summed there, and carried through it once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from ..graph import Graph, GraphBuilder
from ..nn import Network
from ..transform import GRADIENT, affine_prefix, backward
from ._output import Output
from ._subject import Subject

if TYPE_CHECKING:
    from ..program import Entry, Program

Array = npt.NDArray[Any]

#: Sums of more than this are not kept: reading them again and again takes as long as what they save.
LARGEST_SUM_BYTES = 8 * 2**20

_CUTS: WeakKeyDictionary[Network, dict[Hashable, Cut | None]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Cut:
    """Names of the two halves. `at` is the last tensor of the affine beginning."""

    at: str
    shape: tuple[int, ...]
    seed: str
    total: str
    updates: Mapping[str, str]
    gradient: str
    carried: tuple[str, ...]


class Split:
    """The Programs of a network's two halves.

    ``body`` has the entries ``forward``, and ``gradient``, which adds the gradients of its images to a State, in their
    order. ``beginning`` carries a sum of them back to the explained input.
    """

    def __init__(self, net: Network, cut: Cut, body: Program, beginning: Program) -> None:
        self.net = net
        self.cut = cut
        self.body = body
        self.beginning = beginning

    def begin(self) -> Any:
        """A State with nothing added yet."""
        from ..program import State

        return State({self.cut.total: np.zeros(self.cut.shape, self.net.dtype)})

    def carry(self, state: Any, images: Array) -> Array:
        """The sum of the gradients, of the shape of one of `images`."""
        given = {self.cut.gradient: state[self.cut.total][np.newaxis]}
        # An affine beginning's gradient has its shape from the input, never its values.
        given |= {name: np.zeros_like(images[:1]) for name in self.cut.carried[1:]}
        found = self.beginning.run("gradient", given, self.net.weights)
        return np.asarray(next(iter(found.values()))[0])


def find_split(net: Network, subject: Subject, output: Output) -> Split | None:
    """The halves of a network, or None where a cut does not help; the answer depends on its structure alone."""
    key = (subject.name, output.name)
    cuts = _CUTS.setdefault(net, {})
    if key not in cuts:
        cuts[key] = _cut(subject, output)
    cut = cuts[key]
    if cut is None:
        return None
    body = net.program(("sum of gradients", *key), partial(_body, subject, output, cut.at), updates=cut.updates)
    return Split(net, cut, body, net.program(("beginning", *key), partial(_beginning, subject, cut.at)))


def _cut(subject: Subject, output: Output) -> Cut | None:
    at = affine_prefix(subject.graph, subject.name, output.name)
    if at is None:
        return None
    kind = subject.graph.types[at]
    if int(np.prod(kind.per_image)) * np.dtype(kind.dtype).itemsize > LARGEST_SUM_BYTES:
        return None
    graph, entries = _body(subject, output, at)
    (seed,) = entries["gradient"].inputs
    (total,) = (name for name in graph.inputs if not graph.types[name].batched)
    carried = _beginning(subject, at)[1]["gradient"].inputs
    return Cut(at, kind.per_image, seed, total, {total: graph.outputs[-1]}, carried[0], carried)


def _body(subject: Subject, output: Output, at: str) -> tuple[Graph, dict[str, Entry]]:
    from ..program import Entry

    part = subject.graph.subgraph([output.name])
    seed = GraphBuilder(part).fresh("seed")
    graph, gradients = backward(part, output.name, [at], GRADIENT, seed=seed)
    builder, kind = GraphBuilder(graph), graph.types[at]
    total = builder.input(builder.fresh("gradient.total"), kind.dtype, kind.per_image)
    images = builder.constant(np.zeros(1, np.int64), builder.fresh("images"))
    summed = builder.add("ReduceSum", [gradients[at], images], {"keepdims": 0})
    after = builder.add("Add", [total, summed])
    entries = {
        "forward": Entry((subject.name, *subject.held), (output.name,)),
        "gradient": Entry((seed,), ()),
    }
    return builder.build([output.name, after]), entries


def _beginning(subject: Subject, at: str) -> tuple[Graph, dict[str, Entry]]:
    from ..program import Entry

    part = subject.graph.subgraph([at])
    seed = GraphBuilder(part).fresh("gradient")
    graph, gradients = backward(part, at, [subject.name], GRADIENT, seed=seed)
    graph = graph.subgraph([gradients[subject.name]])
    others = (name for name in graph.inputs if name != seed)
    return graph, {"gradient": Entry((seed, *others), tuple(graph.outputs))}
