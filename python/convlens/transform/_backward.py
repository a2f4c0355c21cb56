"""The backward half of a graph, under a table of rules."""

from __future__ import annotations

from collections.abc import Sequence

from .._errors import UnsupportedError
from ..graph import Graph, GraphBuilder, Node, TensorType, broadcast
from ._context import Context
from ._rules import Composite, Rules, find_rule, takes_broadcast
from ._tables import GRADIENT


def backward(
    graph: Graph, output: str, wrt: Sequence[str], rules: Rules = GRADIENT, seed: str = "seed"
) -> tuple[Graph, dict[str, str]]:
    """Append the backward half of a graph.

    Parameters
    ----------
    graph : Graph
    output : str
        The tensor whose gradient is known.
    wrt : sequence of str
        The tensors whose gradients are wanted: inputs, constants or inner ones. Each gets its total gradient.
    rules : RuleTable or Composite
        How gradients cross operators: GRADIENT, GUIDED, DECONVNET ...
    seed : str
        The gradient of `output`. A new name becomes a graph input of the output's type; an existing tensor of a
        shape that broadcasts to it (a constant 1) is used.

    Returns
    -------
    graph : Graph
        The graph with the backward nodes; the gradients are added to its outputs.
    gradients : dict of str to str
        The name of each gradient tensor, of its `wrt` tensor's type.

    Raises
    ------
    ValueError
        If a tensor is unknown or not floating-point, or `output` does not depend on one of `wrt`.
    UnsupportedError
        If a node between `wrt` and `output` has no rule; the text names the node and lists what has one.

    Notes
    -----
    A tensor read by several nodes gets the sum of their gradients, in the order of the nodes from last to first, so
    that the same graph gives the same bits.
    """
    wrt = [wrt] if isinstance(wrt, str) else list(wrt)
    between = _between(graph, output, wrt)
    builder = GraphBuilder(graph)
    ctx = Context(builder, graph.types[output].dtype, frozenset(between))
    gradients: dict[str, str] = {output: _seed(builder, seed, output)}
    for node in reversed(graph.nodes):
        given = tuple(gradients.get(name) if name in between else None for name in node.outputs)
        if all(gradient is None for gradient in given) or not any(name in between for name in node.inputs):
            continue
        for name, gradient in zip(node.inputs, _apply(ctx, rules, node, given), strict=False):
            if name in between and gradient is not None:
                before = gradients.get(name)
                gradients[name] = gradient if before is None else ctx.emit("Add", [before, gradient])
    found = {name: _finished(ctx, name, gradients.get(name)) for name in wrt}
    outputs = list(dict.fromkeys([*graph.outputs, *found.values()]))
    return builder.build(outputs), found


def _between(graph: Graph, output: str, wrt: Sequence[str]) -> set[str]:
    """The floating-point tensors on a path from one of `wrt` to `output`."""
    for name in (output, *wrt):
        if name not in graph.types:
            raise ValueError(f"{name!r} is not a tensor of the graph")
        if not graph.types[name].dtype.startswith("float"):
            raise ValueError(f"{name!r} is {graph.types[name]}; only floating-point tensors have gradients")
    forward = set(wrt)
    for node in graph.nodes:
        if not forward.isdisjoint(node.inputs):
            forward.update(name for name in node.outputs if name and graph.types[name].dtype.startswith("float"))
    back = {output}
    for node in reversed(graph.nodes):
        if not back.isdisjoint(node.outputs):
            back.update(name for name in node.inputs if name)
    for name in wrt:
        if name not in back:
            raise ValueError(f"{output!r} does not depend on {name!r}, so there is no gradient between them")
    return forward & back


def _seed(builder: GraphBuilder, seed: str, output: str) -> str:
    kind = builder.types[output]
    if seed not in builder.types:
        return builder.input(seed, kind.dtype, kind.shape)
    have = builder.types[seed]
    if have.dtype != kind.dtype or len(have.shape) not in (0, len(kind.shape)) or not _fits(have, kind):
        raise ValueError(f"`seed` {seed!r} is {have}; it must broadcast to {output!r}, {kind}")
    return seed


def _fits(small: TensorType, large: TensorType) -> bool:
    try:
        return broadcast(small.shape, large.shape) == large.shape
    except ValueError:
        return False


def _apply(ctx: Context, rules: Rules, node: Node, given: tuple[str | None, ...]) -> tuple[str | None, ...]:
    rule = find_rule(rules, node)
    if rule is None:
        table = rules.otherwise if isinstance(rules, Composite) else rules
        named = f"the rules {getattr(rules, 'name', 'given')!r} have"
        raise UnsupportedError(
            f"node {node.name!r} ({node.op}): {named} no rule for this operator; they have rules for "
            f"{', '.join(sorted(table))}"
        )
    if not takes_broadcast(rule):
        given = tuple(g if g is None else ctx.full(g, t) for g, t in zip(given, node.outputs, strict=True))
    ctx.at(node)
    try:
        return rule(ctx, node, given)
    except UnsupportedError as error:
        raise UnsupportedError(f"node {node.name!r} ({node.op}): {error}") from None


def _finished(ctx: Context, name: str, gradient: str | None) -> str:
    """A gradient of exactly its tensor's type, and no other tensor's name."""
    ctx.at(None)
    gradient = ctx.full(ctx.zero if gradient is None else gradient, name)  # None: every derivative is zero, as Sign's
    made = gradient in ctx.builder.constants or gradient in ctx.builder.inputs
    return ctx.emit("Identity", [gradient]) if made else gradient
