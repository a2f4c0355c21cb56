"""Third pass: chains of element-wise nodes become one instruction, a small program over registers of one chunk each."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from ._flow import Flow, Op, Step, chw
from ._joined import Code, joined, registers

MAX_INPUTS, MAX_OUTPUTS, MAX_REGISTERS = 16, 8, 16

# Graph operator -> operation of cpp/src/ops/elementwise.def, for those that are one.
OPERATIONS = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Max": "max", "Min": "min", "Neg": "neg", "Abs": "abs",
    "Sign": "sign", "Sqrt": "sqrt", "Exp": "exp", "Log": "log", "Sigmoid": "sigmoid", "Tanh": "tanh", "Relu": "relu",
    "Greater": "greater", "GreaterOrEqual": "greater_equal", "Less": "less", "Equal": "equal", "And": "logical_and",
    "Or": "logical_or", "Not": "logical_not", "Where": "where", "LessOrEqual": "less_equal", "Erf": "erf",
    "Expm1": "expm1", "Log1p": "log1p", "Pow": "pow", "Round": "round", "HardSwish": "hard_swish", "Gelu": "gelu",
}  # fmt: skip


@dataclass(frozen=True)
class Operation:
    """One word of the program: registers, or the index of an input, output or constant for load, store, constant."""

    op: str
    dst: int = 0
    a: int = 0
    b: int = 0
    c: int = 0


@dataclass
class Formula:
    """An element-wise program before layout. An input of a pair of `late` is read after the output is stored."""

    operations: list[Operation]
    constants: list[float]
    inputs: list[str]
    outputs: list[str]
    late: set[tuple[int, int]]


@dataclass(eq=False)
class ElementwiseStep(Step):
    """A step with its formula."""

    formula: Formula = field(default_factory=lambda: Formula([], [], [], [], set()))


def formula(flow: Flow, ops: Iterable[Op], outputs: list[str]) -> Formula | None:
    """Write the program of `ops`, in order; None when it needs more operands or registers than there are.

    Parameters
    ----------
    outputs : list of str
        Tensors that others read. States written by Assign ops are appended, as ``state:<name>``.
    """
    inputs: list[str] = []
    constants: list[float] = []
    code: Code = []
    value: dict[str, int] = {}
    last: list[tuple[int, str]] = []

    def new() -> int:
        return len(code)

    def read(name: str) -> int:
        root = flow.root_of(name)
        key = f"number:{flow.immediates[name]!r}" if name in flow.immediates else root
        if name in flow.constants:
            key = f"constant:{name}"
        if key not in value:
            value[key] = new()
            if name in flow.immediates:
                constants.append(flow.immediates[name])
                code.append(("constant", value[key], (len(constants) - 1,)))
            else:
                inputs.append(name)
                code.append(("load", value[key], (len(inputs) - 1,)))
        return value[key]

    def emit(op: str, *operands: int) -> int:
        code.append((op, new(), operands))
        return len(code) - 1

    stores = list(outputs)
    for op in ops:
        if op.op == "Assign":
            last.append((read(op.inputs[0]), op.attributes["state"]))
            continue
        if op.op == "Fill":
            result = read(op.inputs[0])
        elif op.op == "Clip":
            result = read(op.inputs[0])
            for bound, name in zip(("max", "min"), op.inputs[1:], strict=False):
                if name:
                    limit = read(name)
                    result = emit(bound, result, limit)
        else:
            operands = [read(name) for name in op.inputs]
            result = emit(OPERATIONS[op.op], *operands)
        value[op.outputs[0]] = result
        if op.outputs[0] in stores:
            code.append(("store", new(), (stores.index(op.outputs[0]), result)))
    for register, state in last:  # after every load, so that the old value can be read in place
        stores.append(f"state:{state}")
        code.append(("store", new(), (len(stores) - 1, register)))
    if len(inputs) > MAX_INPUTS or len(stores) > MAX_OUTPUTS:
        return None
    operations = _allocate(joined(code))
    if operations is None:
        return None
    loads = {o.a: i for i, o in enumerate(operations) if o.op == "load"}
    late = {
        (i, o.dst) for j, o in enumerate(operations) if o.op == "store" for i, position in loads.items() if position > j
    }
    return Formula(operations, constants, inputs, stores, late)


def _allocate(code: Code) -> list[Operation] | None:
    """Linear scan: a register is free again after the last operation that reads it."""
    end: dict[int, int] = {}
    for position, (op, _, operands) in enumerate(code):
        for virtual in registers(op, operands):
            end[virtual] = position
    free = list(range(MAX_REGISTERS))
    place: dict[int, int] = {}
    operations = []
    for position, (op, dst, operands) in enumerate(code):
        read = [place[v] for v in registers(op, operands)]
        for virtual in set(registers(op, operands)):
            if end[virtual] == position:
                heapq.heappush(free, place[virtual])
        if op == "store":
            operations.append(Operation("store", operands[0], read[0]))
            continue
        if not free:
            return None
        place[dst] = heapq.heappop(free)
        if op in ("load", "constant"):
            operations.append(Operation(op, place[dst], operands[0]))
        else:
            operations.append(Operation(op, place[dst], *read))
    return operations


class Clusters:
    """Ops contracted to instructions, kept free of cycles."""

    def __init__(self, flow: Flow, steps: list[Step], rest: list[Op]) -> None:
        self.flow = flow
        self.ops: list[list[Op]] = [list(step.ops) for step in steps] + [[op] for op in rest]
        self.n_steps = len(steps)
        self.of = {op: index for index, ops in enumerate(self.ops) for op in ops}
        self.after: list[set[int]] = [set() for _ in self.ops]
        self.before: list[set[int]] = [set() for _ in self.ops]
        for op, index in self.of.items():
            for name in op.inputs:
                producer = flow.producer(name) if flow.dynamic(name) else None
                if producer is not None:
                    self._edge(self.of[producer], index)
            if op.op == "Assign":  # a state changes after its last reader
                for reader in flow.uses(op.attributes["state"]):
                    self._edge(self.of[reader], index)

    def _edge(self, a: int, b: int) -> None:
        if a != b:
            self.after[a].add(b)
            self.before[b].add(a)

    def reaches(self, start: int, goal: int, limit: int) -> bool:
        """Whether a path of two edges or more leads from `start` to `goal`; nothing after op `limit` lies on it."""
        stack = [c for c in self.after[start] if c != goal]
        seen = set(stack)
        while stack:
            at = stack.pop()
            if at == goal:
                return True
            for follower in self.after[at]:
                if follower not in seen and self.ops[follower] and self.ops[follower][0].index <= limit:
                    seen.add(follower)
                    stack.append(follower)
        return False

    def merge(self, a: int, b: int) -> None:
        """Make `b` part of `a`."""
        self.ops[a] = sorted(self.ops[a] + self.ops[b], key=lambda op: op.index)
        for op in self.ops[b]:
            self.of[op] = a
        for follower in self.after[b]:
            self.before[follower].discard(b)
            self._edge(a, follower)
        for earlier in self.before[b]:
            self.after[earlier].discard(b)
            self._edge(earlier, a)
        self.after[a].discard(a)
        self.before[a].discard(a)
        self.ops[b], self.after[b], self.before[b] = [], set(), set()

    def outputs(self, ops: list[Op]) -> list[str]:
        """The tensors of `ops` that others read or a caller asked for."""
        inside = set(ops)
        return [
            out
            for op in ops
            for out in op.outputs
            if out and (out in self.flow.requested or any(user not in inside for user in self.flow.uses(out)))
        ]


def _domain(flow: Flow, op: Op) -> tuple[int, bool, tuple[int, int, int]]:
    """What the ops of one program share: the entry, whether batched, the shape."""
    out = op.attributes["state"] if op.op == "Assign" else op.outputs[0]
    return op.entry, flow.types[out].batched, flow.base_of(out)


def group(flow: Flow, steps: list[Step], rest: list[Op]) -> list[Step]:
    """Merge element-wise ops into programs and put all steps in an order that can run."""
    clusters = Clusters(flow, steps, rest)
    for op in rest:
        for name in op.inputs:
            producer = flow.producer(name) if flow.dynamic(name) else None
            if producer is None:
                continue
            mine, theirs = clusters.of[op], clusters.of[producer]
            if mine == theirs or theirs < clusters.n_steps or _domain(flow, op) != _domain(flow, producer):
                continue
            if clusters.reaches(theirs, mine, op.index):
                continue
            merged = sorted(clusters.ops[theirs] + clusters.ops[mine], key=lambda o: o.index)
            if formula(flow, merged, clusters.outputs(merged)) is not None:
                clusters.merge(theirs, mine)
    made: dict[int, Step] = dict(enumerate(steps))
    for index in range(clusters.n_steps, len(clusters.ops)):
        ops = clusters.ops[index]
        if ops:
            found = formula(flow, ops, clusters.outputs(ops))
            if found is None:
                ops[0].unsupported("it needs more operands than one element-wise instruction has")
            outputs = ["" if name.startswith("state:") else name for name in found.outputs]
            step = ElementwiseStep("elementwise", found.inputs, outputs, [], ops, ops[0].entry, formula=found)
            step.assigns = {name[6:]: str(i) for i, name in enumerate(found.outputs) if name.startswith("state:")}
            made[index] = step
    return _ordered(clusters, made)


def _ordered(clusters: Clusters, made: dict[int, Step]) -> list[Step]:
    """Topological order that stays close to the graph's, entry by entry."""
    waiting = {index: len(clusters.before[index]) for index in made}
    ready = [(made[i].entry, made[i].key, i) for i, count in waiting.items() if count == 0]
    heapq.heapify(ready)
    order = []
    while ready:
        _, _, index = heapq.heappop(ready)
        order.append(made[index])
        for follower in clusters.after[index]:
            waiting[follower] -= 1
            if waiting[follower] == 0:
                heapq.heappush(ready, (made[follower].entry, made[follower].key, follower))
    stuck = [made[i] for i, count in waiting.items() if count > 0]
    if stuck:
        stuck[0].ops[0].unsupported("the updates of the states need each other's old values in a circle")
    for before, step in pairwise(order):
        if before.entry > step.entry:
            step.ops[-1].unsupported("an entry reads a state that an earlier entry has already updated")
    return order


def step_out(step: Step) -> str:
    """A tensor of the step's full shape: its first output, or the first state it assigns."""
    return next((name for name in step.outputs if name), next(iter(step.assigns), ""))


def step_batched(flow: Flow, step: Step) -> bool:
    """Whether the step runs once an image."""
    return flow.types[step_out(step)].batched


def is_full(flow: Flow, step: Step, name: str) -> bool:
    """Whether an operand has as many numbers as the step's result, rather than being broadcast to it."""
    c, h, w = chw(flow.types[name])
    return flow.types[name].batched == step_batched(flow, step) and c * h * w == step_elements(flow, step)


def step_elements(flow: Flow, step: Step) -> int:
    """Numbers in one copy of the step's result."""
    c, h, w = flow.base_of(step_out(step))
    return c * h * w
