"""Fourth pass, first half: each tensor's home layout. Element-wise programs take what costs the fewest reorders."""

from __future__ import annotations

import numpy as np

from ._elementwise import ElementwiseStep, Formula
from ._flow import Flow, Geometry, Step, chw
from ._ports import INPUTS, OUTPUTS
from ._tensors import BLOCKED, PACKED, PLAIN

_FIXED = {"B": BLOCKED, "X": BLOCKED, "F": BLOCKED, "N": BLOCKED, "M": BLOCKED, "O": BLOCKED, "P": PLAIN}


class Homes:
    """The layout each tensor is made in.

    Attributes
    ----------
    layout : root -> layout, for tensors made by a step
    packing : root -> Geometry, for those that are packed (states too)
    """

    def __init__(self, flow: Flow, steps: list[Step]) -> None:
        self.flow = flow
        self.layout: dict[str, str] = {}
        self.packing: dict[str, Geometry] = {}
        self._wanted: dict[str, set[str]] = {}
        for step in steps:
            self._note_fixed(step)
        self._spread_packing([s for s in steps if isinstance(s, ElementwiseStep)])
        for step in steps:
            self._choose(step)

    def _note_fixed(self, step: Step) -> None:
        for name, port in zip(step.inputs, INPUTS.get(step.op, ""), strict=False):
            if not self.flow.dynamic(name):
                continue
            root = self.flow.root_of(name)
            if port == "W" and step.geometry is not None and step.scale is None:
                if root in self.flow.updates:
                    self.packing.setdefault(root, step.geometry)
            elif port in _FIXED:
                self._wanted.setdefault(root, set()).add(_FIXED[port])
        if step.op.endswith("grad_weight") and step.geometry is not None:
            self.packing[self.flow.root_of(step.outputs[0])] = step.geometry

    def _spread_packing(self, steps: list[ElementwiseStep]) -> None:
        """Moments and gradients live packed as their weight does: an update then needs no reorder."""
        changed = True
        while changed:
            changed = False
            for step in steps:
                geometry = self._packing_of(step)
                if geometry is None or not keeps_zero(self.flow, step):
                    continue
                for root in [self.flow.root_of(n) for n in self._full(step)] + list(step.assigns):
                    made = root in self.flow.updates or self.flow.producer(root) in step.ops
                    if made and root not in self.packing:
                        self.packing[root] = geometry
                        changed = True
                for out in step.outputs:
                    if out and out not in self.packing:
                        self.packing[out] = geometry
                        changed = True

    def _full(self, step: ElementwiseStep) -> list[str]:
        if step_elements(self.flow, step) == 1:
            return []
        return [name for name in step.inputs if self.flow.dynamic(name) and is_full(self.flow, step, name)]

    def _packing_of(self, step: ElementwiseStep) -> Geometry | None:
        if step_batched(self.flow, step):
            return None
        for root in [*step.assigns, *(self.flow.root_of(name) for name in self._full(step))]:
            if root in self.packing:
                return self.packing[root]
        return None

    def _choose(self, step: Step) -> None:
        if not isinstance(step, ElementwiseStep):
            for name, port in zip(step.outputs, OUTPUTS[step.op], strict=False):
                if name and self.flow.root_of(name) not in self.packing:
                    narrow = step.op == "reduce" and self.flow.base_of(name)[1:] != (1, 1)  # one channel
                    plain = port == "P" or narrow or not self.flow.types[name].batched
                    self.layout[name] = PLAIN if plain else BLOCKED
            if step.op == "reorder":
                self._choose_reorder(step)
            return
        layout = PLAIN
        if step_batched(self.flow, step):
            layout = self._cheapest(step)
        elif self._packing_of(step) is not None and keeps_zero(self.flow, step):
            layout = PACKED
        step.layout = layout
        for name in step.outputs:
            if name:
                self.layout[name] = layout

    def _choose_reorder(self, step: Step) -> None:
        """A padded image nobody computes with goes out as it came."""
        out = step.outputs[0]
        if not self._wanted.get(out) and not self.flow.uses(out):
            self.layout[out] = PLAIN

    def _cheapest(self, step: ElementwiseStep) -> str:
        flow = self.flow
        domain = flow.base_of(step_out(step))
        if domain[1:] == (1, 1):
            return PLAIN  # the same bytes, and the caller's own memory will do
        tensors = [name for name in [*step.inputs, *step.outputs] if name and flow.dynamic(name)]
        if any(flow.types[name].dtype == "bool" and flow.root_of(name) not in flow.graph.inputs for name in tensors):
            return BLOCKED  # masks are kept blocked everywhere
        cost = {BLOCKED: 0.0, PLAIN: 0.5}
        for name in step.inputs:
            if flow.dynamic(name) and flow.types[name].batched:
                root = flow.root_of(name)
                if not is_full(flow, step, name):
                    continue
                home = self.layout.get(root, PLAIN)
                for layout in cost:
                    if layout != home and layout not in self._wanted.get(root, ()):
                        cost[layout] += 1
        for name in step.outputs:
            wanted = self._wanted.get(name, set()) | ({PLAIN} if name in flow.requested else set())
            for layout in cost:
                cost[layout] += len(wanted - {layout})
        return min(cost, key=lambda layout: cost[layout])


def step_out(step: ElementwiseStep) -> str:
    """A tensor of the step's full shape: its first output, or the first state it assigns."""
    return next((name for name in step.outputs if name), next(iter(step.assigns), ""))


def step_batched(flow: Flow, step: ElementwiseStep) -> bool:
    """Whether the step runs once an image."""
    return flow.types[step_out(step)].batched


def is_full(flow: Flow, step: ElementwiseStep, name: str) -> bool:
    """Whether an operand has as many numbers as the step's result, rather than being broadcast to it."""
    c, h, w = chw(flow.types[name])
    return flow.types[name].batched == step_batched(flow, step) and c * h * w == step_elements(flow, step)


def step_elements(flow: Flow, step: ElementwiseStep) -> int:
    """Numbers in one copy of the step's result."""
    c, h, w = flow.base_of(step_out(step))
    return c * h * w


def keeps_zero(flow: Flow, step: ElementwiseStep) -> bool:
    """Whether the formula maps zeros to zeros, so that it may run over the padding of packed weights.

    Scalars stand for what a caller may give (a rate, a step count), so they are tried as numbers.
    """
    assert step.formula is not None
    scalars = [not is_full(flow, step, name) or step_elements(flow, step) == 1 for name in step.formula.inputs]
    for value in (0.37, 1.7):
        with np.errstate(all="ignore"):
            stored = interpret(step.formula, [value if scalar else 0.0 for scalar in scalars])
        if any(out != 0.0 for out in stored):
            return False
    return True


def interpret(formula: Formula, inputs: list[float]) -> list[float]:
    """Run a formula on single numbers."""
    f = np.float64
    table = {
        "add": lambda a, b: a + b,
        "sub": lambda a, b: a - b,
        "mul": lambda a, b: a * b,
        "div": lambda a, b: a / b,
        "max": np.maximum,
        "min": np.minimum,
        "neg": lambda a: -a,
        "abs": np.abs,
        "sign": np.sign,
        "sqrt": np.sqrt,
        "exp": np.exp,
        "log": np.log,
        "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
        "tanh": np.tanh,
        "relu": lambda a: np.maximum(a, 0),
        "greater": lambda a, b: f(a > b),
        "greater_equal": lambda a, b: f(a >= b),
        "less": lambda a, b: f(a < b),
        "equal": lambda a, b: f(a == b),
        "logical_and": lambda a, b: f(bool(a) and bool(b)),
        "logical_or": lambda a, b: f(bool(a) or bool(b)),
        "logical_not": lambda a: f(not a),
        "where": lambda a, b, c: b if a else c,
    }
    arity = {"where": 3, **dict.fromkeys("neg abs sign sqrt exp log sigmoid tanh relu logical_not".split(), 1)}
    registers = [f(0)] * 16
    outputs = [0.0] * len(formula.outputs)
    for o in formula.operations:
        if o.op == "load":
            registers[o.dst] = f(inputs[o.a])
        elif o.op == "constant":
            registers[o.dst] = f(formula.constants[o.a])
        elif o.op == "store":
            outputs[o.dst] = float(registers[o.a])
        else:
            operands = [registers[r] for r in (o.a, o.b, o.c)[: arity.get(o.op, 2)]]
            registers[o.dst] = f(table[o.op](*operands))
    return outputs
