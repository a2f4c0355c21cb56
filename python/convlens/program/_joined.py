"""Operations of an element-wise program that one operation does: a pass over memory each is most of what they cost."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

# op, destination, operands: destinations are places in the list; load and constant have an index, store an output first
Code = list[tuple[str, int, tuple[int, ...]]]


def registers(op: str, operands: tuple[int, ...]) -> tuple[int, ...]:
    """Those operands that name values."""
    if op in ("load", "constant"):
        return ()
    return operands[1:] if op == "store" else operands


def joined(code: Code) -> Code:
    """Write x sigmoid(x) as silu, which has the bits of the product, where nobody else reads the sigmoid."""
    uses = Counter(value for op, _, operands in code for value in registers(op, operands))
    new = list(code)
    for place, (op, dst, operands) in enumerate(code):
        for x, factor in permutations(operands) if op == "mul" else ():
            if code[factor][0] == "sigmoid" and code[factor][2] == (x,) and uses[factor] == 1:
                new[place] = ("silu", dst, (x,))
    return _alive(new)


def _alive(code: Code) -> Code:
    """Without what nothing reads."""
    read: set[int] = set()
    alive: Code = []
    for op, dst, operands in reversed(code):
        if op == "store" or dst in read:
            read.update(registers(op, operands))
            alive.append((op, dst, operands))
    return alive[::-1]
