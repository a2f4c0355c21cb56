"""Operations of an element-wise program that one operation does: a pass over memory each is most of what they cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

# op, destination, operands: destinations are places in the list; load and constant have an index, store an output first
Code = list[tuple[str, int, tuple[int, ...]]]


def registers(op: str, operands: tuple[int, ...]) -> tuple[int, ...]:
    """Those operands that name values."""
    if op in ("load", "constant"):
        return ()
    return operands[1:] if op == "store" else operands


def joined(code: Code, constants: Sequence[float], near: float) -> Code:
    """Write x sigmoid(x) as silu, and x / 2 (1 + erf(x / sqrt 2)) as gelu, where nobody reads what lies between.

    Silu has the bits of its product. `near` is how far, relative to itself, a file's number may lie from sqrt 2: in
    float64 its rounding to float32 is another one.
    """
    uses = Counter(value for op, _, operands in code for value in registers(op, operands))
    new = list(code)
    for place, (op, dst, operands) in enumerate(code):
        if op != "mul":
            continue
        for x, factor in _either_way(operands):
            if code[factor][0] == "sigmoid" and code[factor][2] == (x,) and uses[factor] == 1:
                new[place] = ("silu", dst, (x,))
        if (gated := _gelu(code, constants, near, uses, operands)) is not None:
            new[place] = ("gelu", dst, (gated,))
    return _alive(new)


def _either_way(operands: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    yield operands[0], operands[1]
    yield operands[1], operands[0]


def _gelu(
    code: Code, constants: Sequence[float], near: float, uses: Counter[int], factors: tuple[int, ...]
) -> int | None:
    """What the gelu of is the product of `factors`, one of which is a product itself."""

    def is_number(value: int, wanted: float) -> bool:
        op, _, index = code[value]
        return op == "constant" and math.isclose(constants[index[0]], wanted, rel_tol=near)

    def other(value: int, op: str, wanted: float) -> int | None:
        """What a value that is read once is, but for a number."""
        if code[value][0] != op or uses[value] != 1:
            return None
        return next((a for a, b in _either_way(code[value][2]) if is_number(b, wanted)), None)

    for outer, product in _either_way(factors):
        if code[product][0] != "mul" or uses[product] != 1:
            continue
        three = (outer, *code[product][2])
        for half in (value for value in three if is_number(value, 0.5)):
            for x, share in _either_way(tuple(value for value in three if value != half)):
                erf = other(share, "add", 1.0)
                if erf is None or code[erf][0] != "erf" or uses[erf] != 1:
                    continue
                inner = code[erf][2][0]
                scaled = other(inner, "mul", math.sqrt(0.5))
                if scaled is None and (divided := other(inner, "div", math.sqrt(2))) == code[inner][2][0]:
                    scaled = divided
                if scaled == x:
                    return x
    return None


def _alive(code: Code) -> Code:
    """Without what nothing reads."""
    read: set[int] = set()
    alive: Code = []
    for op, dst, operands in reversed(code):
        if op == "store" or dst in read:
            read.update(registers(op, operands))
            alive.append((op, dst, operands))
    return alive[::-1]
