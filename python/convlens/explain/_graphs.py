"""Explanations as graphs with entry points: one description for Python and for compiled files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._errors import UnsupportedError
from ..graph import Graph, channels_last_tensors
from ..nn import Network
from ._canvas import Canvas
from ._layer import choose_layer, layer_before
from ._output import Output, find_output
from ._registry import Method, find, programs
from ._subject import Subject, find_subject

if TYPE_CHECKING:
    from ..program import Entry


@dataclass(frozen=True)
class Plan:
    """The entry points of an explanation's graph, and what they explain.

    ``seeds`` and ``results`` name, by method, the input of its entry and that entry's tensors; ``shapes`` are those of
    outputs and results without the batch; ``quantised`` is whether values are rounded on the way.
    """

    entries: Mapping[str, Entry]
    output: Output
    layer: str | None
    seeds: Mapping[str, str]
    results: Mapping[str, tuple[str, ...]]
    shapes: Mapping[str, tuple[int, ...]]
    notes: tuple[str, ...]
    subject: Subject
    quantised: bool = False


def graph_of(
    net: Network,
    method: str | Sequence[str],
    *,
    layer: str | None = None,
    output: str | None = None,
    input: str | None = None,
    **options: Any,
) -> tuple[Graph, dict[str, Entry]]:
    """Build the graph that computes explanations, with its entry points.

    Parameters
    ----------
    net : Network
    method : str or sequence of str
        Methods that are pure programs: saliency, input_x_gradient, guided_backprop, deconvnet, grad_cam, activations.
        Several share one forward pass.
    layer : str, optional
        The layer of grad_cam and activations; None is the automatic choice.
    output : str, optional
        The tensor to explain; None is the logits.
    input : str, optional
        The input to explain; see :func:`convlens.explain.saliency`.
    **options
        Keyword arguments of a single method's program, such as ``relu=False`` of grad_cam.

    Returns
    -------
    graph : Graph
    entries : dict of str to Entry
        ``forward`` takes the images (the explained input, then the others) and gives the logits (and the layer, for
        activations). Each other method has an entry of its name: it takes ``<method>_seed``, the gradient of what is
        explained with respect to the logits (one-hot for a class), and gives the values; Grad-CAM's raw map follows
        its values.

    Raises
    ------
    UnsupportedError
        If a method is no pure program, or an operation on the way has no rule; the message names the node.

    Examples
    --------
    >>> from convlens import explain, nn
    >>> net = nn.Sequential(
    ...     nn.Conv2d(out_channels=4, kernel_size=3), nn.ReLU(), nn.Flatten(), nn.Linear(out_features=3),
    ...     input_shape=(1, 8, 8), seed=0)
    >>> graph, entries = explain.graph_of(net, ["saliency", "grad_cam"])
    >>> entries["saliency"].inputs
    ('saliency_seed',)
    """
    graph, plan = make_plan(net, method, layer=layer, output=output, input=input, **options)
    return graph, dict(plan.entries)


def make_plan(
    net: Network,
    method: str | Sequence[str],
    *,
    layer: str | None = None,
    output: str | None = None,
    input: str | None = None,
    **options: Any,
) -> tuple[Graph, Plan]:
    """As :func:`graph_of`, with everything a caller in Python needs to know."""
    from ..program import Entry

    rows = [_pure(name) for name in ([method] if isinstance(method, str) else method)]
    if options and len(rows) != 1:
        raise TypeError(f"options ({', '.join(options)}) belong to a single method, not to {len(rows)}")
    explained = find_output(net, output)
    subject = find_subject(net, input, output=explained.name)
    last = channels_last_tensors(net.graph, net.layouts)
    chosen = None
    if any(row.needs_layer for row in rows):
        before = explained.name
        if layer is None:
            chosen = choose_layer(net.graph, before=before, source=subject.name, last=last)
        else:
            chosen = layer_before(net, layer, before=before, source=subject.name)
    elif layer is not None:
        raise TypeError(f"`layer` (={layer!r}) is of no use to {', '.join(row.name for row in rows)}")

    canvas = Canvas(
        subject.graph,
        subject.name,
        explained.name,
        chosen or "",
        layout=subject.layout,
        layer_last=chosen in last,
    )
    seeds: dict[str, str] = {}
    results: dict[str, tuple[str, ...]] = {}
    forward = [explained.name] + ([explained.probability] if explained.probability else [])
    entries: dict[str, Entry] = {}
    for row in rows:
        assert row.program is not None
        canvas.seed = ""
        results[row.name] = row.program(canvas, **options)
        if canvas.seed:
            seeds[row.name] = canvas.seed
            entries[row.name] = Entry(inputs=(canvas.seed,), outputs=results[row.name])
        else:
            forward += results[row.name]
    forward = [name for name in dict.fromkeys(forward) if name != subject.name]
    given = (subject.name, *subject.held)
    entries = {"forward": Entry(inputs=given, outputs=tuple(forward)), **entries}
    wanted = dict.fromkeys([*forward, *(name for names in results.values() for name in names)])
    graph = canvas.graph.subgraph(tuple(wanted))
    shapes = {name: graph.types[name].per_image for name in wanted}
    notes = tuple(dict.fromkeys([*subject.notes, *canvas.notes]))
    quantised = any(node.op == "Quantize" for node in subject.graph.nodes)
    return graph, Plan(entries, explained, chosen, seeds, results, shapes, notes, subject, quantised)


def _pure(name: str) -> Method:
    row = find(name)
    if row.program is None:
        raise UnsupportedError(
            f"`method` (={name!r}) samples or loops, so it is no single program; "
            f"pure programs are {', '.join(each.name for each in programs())}"
        )
    return row
