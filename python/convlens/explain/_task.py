"""One call of a method: its checked images, its goal, and the Program that answers it, in bounded memory."""

from __future__ import annotations

import math
import operator
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from .. import _core
from ..graph import Graph
from ..nn import Network
from ..nn._run import images_at_once
from ._explanation import Explanation
from ._goal import Goal, make_goal
from ._graphs import Plan, make_plan
from ._registry import find
from ._rows import rows
from ._subject import arrays_of

if TYPE_CHECKING:
    from ..program import Entry, Program

Array = npt.NDArray[Any]

#: A batch is cut so that its arena stays within this. Results have the same bits however it is cut.
ARENA_BYTES = 32 * 2**20
#: More images at once than this gain no speed, and an interrupt waits for the batch under way.
LARGEST_BATCH = 128

# What the calls on a network's Programs need to know of them; a plan holds names and shapes, no weights.
_PLANS: WeakKeyDictionary[Network, dict[Hashable, Plan]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Clean:
    """What the network says of the images themselves; `done` counts those it was asked about before an interrupt."""

    score: Array
    probability: Array | None
    done: int


class Task:
    """Check a call and drive its Program.

    Parameters
    ----------
    net : Network
    program : str
        The method whose pure program is driven; "" if forward passes are enough.
    images : array_like of shape (N, C, H, W), or mapping of input name to array_like
    target, of, output, layer, input
        See :func:`convlens.explain.saliency` and :func:`convlens.explain.grad_cam`.
    batch_size : int, optional
        Images (steps, samples, windows) run at once; None bounds the arena to 32 MB. ``net.max_bytes`` bounds both.
    method : str, optional
        The method called, when it drives another one's program.
    arguments : mapping
        What the call was given, for the record.
    **options
        Of the program.
    """

    def __init__(
        self,
        net: Network,
        program: str,
        images: npt.ArrayLike,
        *,
        target: Any = None,
        of: str = "output",
        output: str | None = None,
        layer: str | None = None,
        input: str | None = None,
        batch_size: int | None = None,
        method: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        net = net.fitting(images)
        given = net.check_inputs(images)
        self.entry = program
        self.method = find(method or program)
        self.net, self.graph, self.weights = net, net.graph, net.weights
        self.plan, self.program = _compiled(net, program, layer, output, input, options)
        self.output, self.subject = self.plan.output, self.plan.subject
        arrays = arrays_of(net, self.subject, given)
        only = len(net.graph.inputs) == 1 and self.subject.is_input
        for name, array in arrays.items():
            check_finite(array, "images" if only else name)
        self.images = arrays.pop(self.subject.name)
        self.held = arrays
        self.goal = make_goal(self.output, len(self.images), target, of)
        self._given_batch = None if batch_size is None else at_least("batch_size", batch_size, 1)
        if net.max_bytes is not None:
            self.fitting(self.program)  # one image does, or this says so
        self.arguments = {"target": target, "of": of, "output": output, "batch_size": batch_size, **(arguments or {})}
        if input is not None:
            self.arguments["input"] = input

    @cached_property
    def batch_size(self) -> int:
        """Images at once."""
        return self.fitting(self.program)

    def fitting(self, program: Program) -> int:
        """Images at once that the caller asked for, or whose arena stays within bounds, those of the network always."""
        bound = self.net.max_bytes
        if self._given_batch is None:
            return min(LARGEST_BATCH, images_at_once(program, bound, ARENA_BYTES))
        return self._given_batch if bound is None else min(self._given_batch, images_at_once(program, bound, bound))

    def parts(self, each: int = 1) -> Iterator[slice]:
        """Slices of the images, as many as fit at once when every image stands `each` times in a batch."""
        n = len(self.images)
        size = 1 if n * each <= 1 else max(1, self.batch_size // each)
        return (slice(start, min(start + size, n)) for start in range(0, n, size))

    def clean(self) -> Clean:
        """Run the images themselves, forward only; resolves the target. An interrupt is passed on."""
        return self._sweep(())[0]

    def vectors(self) -> tuple[Clean, list[Array]]:
        """Run a pure program on every image: forward, target, and its own entry, over one Workspace a batch.

        After an interrupt the images left have NaN, and the target -1 if it was to be the top class.
        """
        return self._sweep(self.plan.results[self.entry])

    def _sweep(self, results: Sequence[str]) -> tuple[Clean, list[Array]]:
        probability = self.output.probability
        names = [self.output.name, *([probability] if probability else []), *results]
        n, done, score = len(self.images), 0, None
        arrays: dict[str, Array] = {}
        try:
            for part in self.parts():
                goal = self.goal.take(part)
                given = self.run(self.images[part], part, goal if results else None)
                score = self._checked_score(goal, given[self.output.name], part)
                if part.stop - part.start == n:
                    arrays = {name: given[name] for name in names}
                else:
                    arrays = arrays or self._missing(names)
                    for name, array in arrays.items():
                        array[part] = given[name]
                done = part.stop
        except KeyboardInterrupt:
            if done == 0 or not results:
                raise
        arrays = arrays or self._missing(names)
        logits = arrays[self.output.name]
        self.goal = self.goal.resolve(logits, done)
        chances = self._probability(arrays[probability]) if probability else None
        scores = score if score is not None and len(score) == n else self.goal.score(logits)
        return Clean(scores, chances, done), [arrays[name] for name in results]

    def _missing(self, names: Sequence[str]) -> dict[str, Array]:
        """Results of all images that nobody has computed yet."""
        n, dtype = len(self.images), self.images.dtype
        return {name: np.full((n, *self.plan.shapes[name]), np.nan, dtype) for name in names}

    def _checked_score(self, goal: Goal, logits: Array, part: slice) -> Array:
        """What is explained; an answer that is no number is refused: its maps would be NaN, or look like something."""
        score = goal.resolve(logits).score(logits)
        if not all(map(math.isfinite, score.tolist())):
            bad = np.flatnonzero(~np.isfinite(score))
            raise ValueError(
                f"the network answers {score[bad[0]]} to image {part.start + bad[0]}, in {self.output.name!r}: "
                "there is nothing to explain. Look for NaN or infinity in net.parameters and for values of the image "
                "that are too large, or run in double with net.astype(np.float64)"
            )
        return score

    def _probability(self, probability: Array) -> Array | None:
        """The probability of each target; None where the goal is no single output."""
        index = self.goal.index
        if index is None:
            return None
        flat = rows(probability).astype(np.float64)
        chosen = flat[np.arange(len(flat)), index]
        return np.exp(chosen) if self.output.operator == "LogSoftmax" else chosen

    def run(self, images: Array, which: slice | Array, goal: Goal | None = None) -> dict[str, Array]:
        """Run the forward entry on at most ``batch_size`` images and then, given their goal, the method's own.

        `which` says of which images of the call they are, whose other inputs are held.
        """
        given = {self.subject.name: images}
        for name, array in self.held.items():
            given[name] = array[which]
        seeded = self.plan.seeds.get(self.entry) if goal is not None else None
        program, weights, n = self.program, self.weights, len(images)
        if goal is None or seeded is None:
            return program.run_through(("forward",), given, n, weights)
        if goal.foreseen:  # what need not wait for the logits does not: idle threads fall asleep, caches grow cold
            given[seeded] = goal.seed_before(n, images.dtype)
            return program.run_through(("forward", self.entry), given, n, weights)
        with program.workspace(n) as workspace:
            results = workspace.run("forward", given, weights)
            logits = results[self.output.name]
            seed = goal.resolve(logits).seed(logits)
            results.update(workspace.run(self.entry, {seeded: seed}, weights))
        return results

    def shortcut(self, *, counts: bool) -> _core.Shortcut | None:
        """What makes calls like this one again; None where they need Python.

        With `counts` it counts the images whose last result is zero everywhere.
        """
        plan, output = self.plan, self.output
        plain = plan.subject.is_input and len(self.graph.inputs) == 1 and not plan.quantised
        if not plain or self.entry not in plan.seeds or output.classes is None or self.net.max_bytes is not None:
            return None
        if output.operator == "LogSoftmax":
            return None
        return self.program.shortcut(
            ("forward", self.entry),
            self.weights,
            answer=output.name,
            probability=output.probability,
            counted=plan.results[self.entry][-1] if counts else None,
            has_top_class=not output.multi_label,
            most=self.batch_size,
        )

    def explanation(self, values: Array, clean: Clean, **more: Any) -> Explanation:
        """Collect what is known of the call."""
        notes = (*self.plan.notes, *more.pop("notes", ()))
        n = len(self.images)
        if clean.done < n:
            notes += (f"interrupted: images from {clean.done} on (of {n}) are missing (NaN)",)
        looked = self.method.values != "layer" and self.plan.quantised
        if looked and (empty := n - int(rows(values).any(axis=1).sum())):
            notes += (
                f"zero everywhere for {empty} image(s): a quantised value that saturates, such as the answer itself, "
                "does not change with what is before it",
            )
        converged = more.pop("converged", True) and clean.done == n
        return Explanation(
            values=values,
            method=self.method.name,
            target=self.goal.target(),
            score=clean.score,
            output=self.output.name,
            probability=clean.probability,
            layer=self.plan.layer,
            input=self.subject.name,
            layout=self.subject.layout,
            notes=notes,
            arguments=self.arguments,
            converged=converged,
            signed=self.method.signed or not self.arguments.get("relu", True),
            model=self.graph,
            **more,
        )


def key_of(
    program: str, layer: str | None, output: str | None, input: str | None, options: Mapping[str, Any]
) -> Hashable:
    """Names the Program of a call among those of a network."""
    return ("explain", program, layer, output, input, *options.items())


def _compiled(
    net: Network,
    program: str,
    layer: str | None,
    output: str | None,
    input: str | None,
    options: Mapping[str, Any],
) -> tuple[Plan, Program]:
    """The plan and Program of a call, kept for the next one. Both depend on the graph's structure, not its weights."""
    key = key_of(program, layer, output, input, options)
    plans = _PLANS.setdefault(net, {})

    def build() -> tuple[Graph, Mapping[str, Entry]]:
        graph, plans[key] = make_plan(net, program or (), layer=layer, output=output, input=input, **options)
        return graph, plans[key].entries

    made = net.program(key, build)
    if key not in plans:  # the Program is of an earlier network of the same file and size
        build()
    return plans[key], made


def check_finite(array: Array, name: str) -> None:
    """Refuse NaN and infinity, which have no explanation; a float array must be native, C-contiguous float32 or 64."""
    if array.dtype.kind != "f" or array.size == 0:
        return
    if not _core.all_finite(array):
        bad = np.flatnonzero(~rows(np.isfinite(array)).all(axis=1))
        raise ValueError(
            f"`{name}` has NaN or infinite values (first in image {bad[0]}, {len(bad)} in all): an explanation of them "
            f"would be meaningless; drop the images, or replace the values with np.nan_to_num({name})"
        )


def at_least(name: str, value: Any, least: int) -> int:
    """Return `value` as an int of at least `least`."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"`{name}` (={value!r}) must be an int of at least {least}") from None
    if isinstance(value, (bool, np.bool_)) or number < least:
        raise ValueError(f"`{name}` (={value!r}) must be an int of at least {least}")
    return number
