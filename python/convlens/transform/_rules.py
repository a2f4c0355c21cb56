"""Rule tables: for each operator, how a gradient crosses it, as data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..graph import Graph, Node

if TYPE_CHECKING:
    from ._context import Context

Gradients = tuple[str | None, ...]
# rule(ctx, node, grads): `grads` holds the gradient of each output of `node` (None: nothing flows back through it);
# the result holds one tensor for each input, None where nothing flows or none is needed.
Rule = Callable[["Context", Node, Gradients], Gradients]
Predicate = Callable[[Node], bool]

# Rules that take a gradient that is still to be broadcast to its tensor's shape; see `Context.full`.
_BROADCASTING: set[Rule] = set()


class RuleTable(Mapping[str, Rule]):
    """Operator -> rule, with notes on rules beyond their paper.

    Parameters
    ----------
    name : str
    rows : mapping of operator to rule
    notes : mapping of operator to str
        What a user of this row must be told: an extension of the paper, a convention.
    """

    def __init__(self, name: str, rows: Mapping[str, Rule], notes: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.notes = dict(notes or {})
        self._rows = dict(rows)

    def __getitem__(self, op: str) -> Rule:
        return self._rows[op]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def replace(self, name: str, rows: Mapping[str, Rule], notes: Mapping[str, str] | None = None) -> RuleTable:
        """A table with some rows added or changed; notes of changed rows are dropped unless given."""
        kept = {op: note for op, note in self.notes.items() if op not in rows}
        return RuleTable(name, {**self._rows, **rows}, {**kept, **(notes or {})})


class Composite:
    """Rules by node: the first row whose predicate holds; then the table.

    Parameters
    ----------
    name : str
    rows : sequence of (predicate, rule)
        In order: ``(lambda node: node.name == "conv1", rule)``.
    otherwise : RuleTable
    """

    def __init__(self, name: str, rows: Sequence[tuple[Predicate, Rule]], otherwise: RuleTable) -> None:
        self.name = name
        self.rows = tuple(rows)
        self.otherwise = otherwise


Rules = Mapping[str, Rule] | Composite


def find_rule(rules: Rules, node: Node) -> Rule | None:
    """The rule for a node, or None."""
    if isinstance(rules, Composite):
        for predicate, rule in rules.rows:
            if predicate(node):
                return rule
        return rules.otherwise.get(node.op)
    return rules.get(node.op)


def rule_notes(graph: Graph, rules: Rules) -> tuple[str, ...]:
    """What a user of `rules` on this graph must be told, each once, in the order of the nodes."""
    table = rules.otherwise if isinstance(rules, Composite) else rules
    notes = table.notes if isinstance(table, RuleTable) else {}
    return tuple(dict.fromkeys(notes[node.op] for node in graph.nodes if node.op in notes))


def broadcasting(rule: Rule) -> Rule:
    """Declare that a rule takes gradients that are still to be broadcast to their tensors' shapes."""
    _BROADCASTING.add(rule)
    return rule


def takes_broadcast(rule: Rule) -> bool:
    """Whether a rule was declared :func:`broadcasting`."""
    return rule in _BROADCASTING
