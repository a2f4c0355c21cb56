"""Methods that are one program: the first call makes it, later ones go straight to it.

Between a network's answer and the gradient that starts from it, and before and after both, little of Python may run:
the caches are full of weights then, and every line of the interpreter comes from memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from .. import _core
from ..graph import Graph
from ..nn import Network
from ._explanation import Explanation
from ._rows import rows
from ._task import Task, key_of


@dataclass(frozen=True)
class _Kept:
    """What is known of a method's calls on one version of a network, but for images and target.

    Attributes
    ----------
    shortcut : Shortcut
    graph : Graph
        The network's, in the version that was asked.
    fields : mapping
        What all explanations have in common.
    arguments : mapping
        Of the call; the target is another each time.
    of_layer : bool
        Whether the last result is the map at the layer's size.
    """

    shortcut: _core.Shortcut
    graph: Graph
    fields: Mapping[str, Any]
    arguments: Mapping[str, Any]
    of_layer: bool


def explain(
    net: Network,
    method: str,
    images: npt.ArrayLike,
    target: Any,
    *,
    of: str,
    output: str | None,
    input: str | None,
    batch_size: int | None,
    layer: str | None = None,
    options: Mapping[str, Any] | None = None,
    why_empty: str = "",
) -> Explanation:
    """Explain by a method that is a pure program, whose values are its first result.

    Parameters
    ----------
    net, images, target, of, output, input, batch_size, layer
        As the method takes them.
    method : str
    options : mapping, optional
        Of its program; they are noted among the arguments.
    why_empty : str
        What it means that an image's last result is zero everywhere, if that is worth a note.

    Returns
    -------
    Explanation
        With the last result as ``layer_values`` where the method reads a layer.
    """
    net = net.fitting(images)
    options = options or {}
    usual = of == "output" and batch_size is None
    kept: _Kept | None = net.kept(key_of(method, layer, output, input, options)) if usual else None
    if kept is not None and kept.graph is net.graph:
        made = kept.shortcut.call(images, target)
        if made is not None:
            return _made(kept, target, made, why_empty)
    task = Task(
        net,
        method,
        images,
        target=target,
        of=of,
        output=output,
        input=input,
        layer=layer,
        batch_size=batch_size,
        arguments={"layer": layer, **options} if layer is not None or options else None,
        **options,
    )
    clean, results = task.vectors()
    of_layer = task.method.needs_layer
    empty = int((~rows(results[-1]).any(axis=1)).sum()) if why_empty else 0
    why = task.explanation(
        results[0],
        clean,
        layer_values=results[-1] if of_layer else None,
        notes=_notes(empty, why_empty),
    )
    if usual and (kept is None or kept.graph is not net.graph or kept.shortcut.threads != _core.get_num_threads()):
        shortcut = task.shortcut(counts=bool(why_empty))
        if shortcut is not None:
            of_call = dict.fromkeys(("values", "target", "score", "probability", "layer_values", "arguments"))
            fields = {**why.__dict__, **of_call, "notes": task.plan.notes, "converged": True}
            arguments = {**task.arguments, "target": None}
            net.keep(
                key_of(method, layer, output, input, options),
                task.program,
                _Kept(shortcut, net.graph, fields, arguments, of_layer),
            )
    return why


def _made(kept: _Kept, target: Any, made: tuple[Any, ...], why_empty: str) -> Explanation:
    resolved, score, probability, empty, *results = made
    fields = dict(kept.fields)
    fields["values"] = results[0]
    fields["target"] = resolved
    fields["score"] = score
    fields["probability"] = probability
    fields["arguments"] = {**kept.arguments, "target": target}
    if kept.of_layer:
        fields["layer_values"] = results[-1]
    if empty:
        fields["notes"] += _notes(empty, why_empty)
    return Explanation.of_fields(fields)


def _notes(empty: int, why: str) -> tuple[str, ...]:
    return (f"zero everywhere for {empty} image(s): {why}",) if empty else ()
