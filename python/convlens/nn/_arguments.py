"""Sizes as users give them: an int, a pair, "same", asymmetric padding; each wrong one says what is right."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

Pair = tuple[int, int]
Padding = int | str | Sequence[Any]


def integer(parameter: str, value: Any, *, at_least: int) -> int:
    """Return `value` as an int of at least `at_least`."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"`{parameter}` (={value!r}) must be an int of at least {at_least}") from None
    if isinstance(value, bool) or number < at_least:
        raise ValueError(f"`{parameter}` (={value!r}) must be an int of at least {at_least}")
    return number


def pair(parameter: str, value: Any, *, at_least: int) -> Pair:
    """Return (height, width) from an int or a pair."""
    if isinstance(value, (list, tuple)):
        if len(value) != 2:
            raise ValueError(f"`{parameter}` (={value!r}) must be an int or a pair (height, width)")
        return integer(parameter, value[0], at_least=at_least), integer(parameter, value[1], at_least=at_least)
    number = integer(parameter, value, at_least=at_least)
    return number, number


def along(parameter: str, value: Any, axes: int, *, at_least: int) -> tuple[int, ...]:
    """One number an axis, of images (2 axes) or signals (1), from an int or as many as there are axes."""
    if axes == 2:
        return pair(parameter, value, at_least=at_least)
    if isinstance(value, (list, tuple)):
        if len(value) != 1:
            raise ValueError(f"`{parameter}` (={value!r}) must be an int: a signal has one axis")
        value = value[0]
    return (integer(parameter, value, at_least=at_least),)


def padding(parameter: str, value: Padding, axes: int = 2) -> Padding:
    """Check what can be checked before the input's size is known; see :func:`pads`."""
    if axes == 1 and not isinstance(value, str):
        return explicit_ends(parameter, value)
    if isinstance(value, str):
        if value not in ("same", "valid"):
            raise ValueError(f'`{parameter}` (={value!r}) must be "same", "valid", an int, a pair or four sides')
        return value
    explicit_pads(parameter, value)
    return value


def explicit_pads(parameter: str, value: Any) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) from an int, (height, width), ((top, bottom), (left, right)) or all four."""
    if not isinstance(value, (list, tuple)):
        number = integer(parameter, value, at_least=0)
        return number, number, number, number
    if len(value) == 2 and all(isinstance(side, (list, tuple)) and len(side) == 2 for side in value):
        (top, bottom), (left, right) = value
        sides: Sequence[Any] = (top, left, bottom, right)
    elif len(value) == 2 and not any(isinstance(side, (list, tuple)) for side in value):
        sides = (value[0], value[1], value[0], value[1])
    elif len(value) == 4:
        sides = value
    else:
        raise ValueError(
            f"`{parameter}` (={value!r}) must be an int, (height, width), ((top, bottom), (left, right)), "
            f'(top, left, bottom, right), "same" or "valid"'
        )
    top, left, bottom, right = (integer(parameter, side, at_least=0) for side in sides)
    return top, left, bottom, right


def explicit_ends(parameter: str, value: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """The padding of a signal, an int or (left, right), as ((top, bottom), (left, right)) of an image of one row."""
    ends = value if isinstance(value, (list, tuple)) else (value, value)
    if len(ends) != 2:
        raise ValueError(f'`{parameter}` (={value!r}) must be an int, (left, right), "same" or "valid"')
    left, right = (integer(parameter, end, at_least=0) for end in ends)
    return (0, 0), (left, right)


def pads(value: Padding, size: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> tuple[int, int, int, int]:
    """Resolve `value` to (top, left, bottom, right).

    "same" gives ``ceil(size / stride)`` outputs; an odd total puts the extra row or column at the bottom or right, as
    ONNX's SAME_UPPER, Keras and PyTorch do.
    """
    if value == "valid":
        return 0, 0, 0, 0
    if value != "same":
        return explicit_pads("padding", value)
    before, after = [], []
    for axis in range(2):
        steps = -(-size[axis] // stride[axis])
        total = max(0, (steps - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1 - size[axis])
        before.append(total // 2)
        after.append(total - total // 2)
    return before[0], before[1], after[0], after[1]
