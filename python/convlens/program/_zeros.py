"""Whether an element-wise program may run over the padding of packed weights, which must stay zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._elementwise import ElementwiseStep, Formula, is_full, step_elements
from ._flow import Flow


def keeps_zero(flow: Flow, step: ElementwiseStep) -> bool:
    """Whether the formula maps zeros to zeros, so that it may run over the padding of packed weights.

    Scalars stand for what a caller may give (a rate, a step count), so they are tried as numbers.
    """
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
    table: dict[str, Callable[..., Any]] = {
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
    arity = {
        "where": 3,
        **dict.fromkeys(["neg", "abs", "sign", "sqrt", "exp", "log", "sigmoid", "tanh", "relu", "logical_not"], 1),
    }
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
