"""What a caller passes beside arrays, checked by the parameter's name before a function runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import Parameter, signature
from operator import index
from typing import Any, TypeVar

import numpy as np

from ._errors import UnsupportedError

Function = TypeVar("Function", bound=Callable[..., Any])
Check = Callable[[str, Any], Any]

#: Sizes are below this: offsets of a tensor stay within 64 bits.
MOST = 2**31


def checked(function: Function, more: Mapping[str, Check] | None = None) -> Function:
    """Convert a call's arguments by the rows of `CHECKS` and of `more`; None stays where it is allowed.

    Raises
    ------
    TypeError, ValueError
        When an argument is not what its row takes; the parameter, its value and the rule are named.
    """
    parameters = signature(function).parameters.values()
    rows = {**CHECKS, **(more or {})}
    checks = {
        p.name: (rows[p.name], p.default is None or "None" in str(p.annotation)) for p in parameters if p.name in rows
    }
    places = [p.name for p in parameters if p.kind is Parameter.POSITIONAL_OR_KEYWORD]
    first = next((i for i, name in enumerate(places) if name in checks), len(places))

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for name, value in kwargs.items():
            if name in checks:
                check, optional = checks[name]
                if value is not None or not optional:
                    kwargs[name] = check(name, value)
        if len(args) > first:
            named = zip(places[first:], args[first:], strict=False)
            args = (*args[:first], *(convert(name, value) for name, value in named), *args[len(places) :])
        return function(*args, **kwargs)

    def convert(name: str, value: Any) -> Any:
        check, optional = checks.get(name, (None, False))
        return value if check is None or (optional and value is None) else check(name, value)

    return call  # type: ignore[return-value]


def sequence(value: Any) -> bool:
    """Whether it is a list, a tuple or an array with an axis; text is none."""
    if isinstance(value, (list, tuple)):
        return True
    if isinstance(value, (int, str, bytes)):  # what is asked most, and Sequence takes long to say no
        return False
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence)


def whole(least: float = -math.inf, remedy: str = "") -> Check:
    """An int of at least `least`."""
    rule = ("an int" if least == -math.inf else f"an int of at least {least}") + remedy

    def check(name: str, value: Any) -> int:
        if type(value) is int and least <= value < MOST and value > -MOST:  # what most calls give
            return value
        try:
            number = index(value)
        except TypeError:
            raise TypeError(f"`{name}` (={value!r}) must be {rule}") from None
        if isinstance(value, bool) or number < least:
            raise ValueError(f"`{name}` (={value!r}) must be {rule}")
        if not -MOST < number < MOST:
            raise UnsupportedError(f"`{name}` (={value!r}) is too large; numbers below {MOST} are supported")
        return number

    return check


def several(least: float = -math.inf, remedy: str = "", *, or_none: bool = False) -> Check:
    """A sequence of ints."""
    one = whole(least, remedy)

    def check(name: str, value: Any) -> tuple[Any, ...]:
        if type(value) is tuple:  # of ints, as most calls give
            for item in value:
                if type(item) is not int or not least <= item < MOST or item <= -MOST:
                    break
            else:
                return value
        if not sequence(value):
            raise TypeError(f"`{name}` (={value!r}) must be a sequence of ints, such as (2, 3)")
        return tuple(None if or_none and item is None else one(name, item) for item in value)

    return check


def one_or_several(least: float = -math.inf, remedy: str = "", *, or_none: bool = False) -> Check:
    """An int, or a sequence of them."""
    one, many = whole(least, remedy), several(least, remedy, or_none=or_none)

    def check(name: str, value: Any) -> Any:
        if type(value) is not int and sequence(value):
            return many(name, value)
        return None if or_none and value is None else one(name, value)

    return check


def padding(name: str, value: Any) -> Any:
    """A word, an int, a pair or a pair of pairs; which of them fit, the function says."""
    if isinstance(value, str):
        return value
    if type(value) is not int and sequence(value) and any(map(sequence, value)):
        return tuple(_SIDES(name, side) for side in value)
    return _SIDES(name, value)


_SIDES = one_or_several(0)


def real(low: float = -math.inf, high: float = math.inf) -> Check:
    """A number from `low` to `high`, not NaN."""
    rule = "a number" if low == -math.inf else f"a number of at least {low:g}" if high == math.inf else ""
    rule = rule or f"a number between {low:g} and {high:g}"

    def check(name: str, value: Any) -> float:
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value[()]
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise TypeError(f"`{name}` (={value!r}) must be {rule}")
        try:
            number = float(value)
        except OverflowError:
            number = math.nan
        if not low <= number <= high:
            raise ValueError(f"`{name}` (={value!r}) must be {rule}")
        return number

    return check


def factors(name: str, value: Any) -> Any:
    """A positive number, or a sequence of them."""
    numbers = value if sequence(value) else [value]
    found = tuple(real(0)(name, number) for number in numbers)
    if not all(0 < number < MOST for number in found):
        raise ValueError(f"`{name}` (={value!r}) must be positive and below {MOST}")
    return found if numbers is value else found[0]


def flag(name: str, value: Any) -> bool:
    """True or False, or the 1 or 0 of files and arrays."""
    if not isinstance(value, (bool, np.bool_, int, np.integer)) or value not in (0, 1):
        raise TypeError(f"`{name}` (={value!r}) must be True or False")
    return bool(value)


def word(name: str, value: Any) -> str:
    """A string; which, the function says."""
    if not isinstance(value, str):
        raise TypeError(f"`{name}` (={value!r}) must be a string")
    return value


#: Tiles of Winograd's algorithm that may be asked for wherever it is defined, whether they pay or not.
WINOGRAD_TILES = {"F(2,3)": 2, "F(4,3)": 4}


def winograd(name: str, value: Any) -> bool | str:
    """True, False or a tile of WINOGRAD_TILES."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if not isinstance(value, str) or value not in WINOGRAD_TILES:
        raise ValueError(
            f"`{name}` (={value!r}) must be True (where it pays), False, or {' or '.join(map(repr, WINOGRAD_TILES))} "
            "(wherever it is defined)"
        )
    return value


def memory(name: str, value: Any) -> str:
    """What is spared: time, or memory."""
    if value not in ("fast", "low"):
        raise ValueError(f"`{name}` (={value!r}) must be 'fast' or 'low' (one copy of the weights)")
    return str(value)


def max_bytes(name: str, value: Any) -> int | None:
    """A bound in bytes, None for the usual ones."""
    return None if value is None else int(whole(1)(name, value))


def seed(name: str, value: Any) -> int:
    """An int of any size."""
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"`{name}` (={value!r}) must be an int") from None


#: What each parameter that is no array takes, under whichever function.
CHECKS: dict[str, Check] = {
    **dict.fromkeys(("kernel_size", "stride", "dilation"), one_or_several(1)),
    "output_padding": one_or_several(0),
    "padding": padding,
    **dict.fromkeys(("groups", "num_groups"), whole(1)),
    "output_size": one_or_several(1, or_none=True),
    "size": one_or_several(1, "; give `scale_factor` for a ratio"),
    "scale_factor": factors,
    **dict.fromkeys(("axis", "sizes"), one_or_several()),
    **dict.fromkeys(("in_channels", "out_channels", "in_features", "out_features", "num_parameters"), whole(1)),
    **dict.fromkeys(("num_embeddings", "embedding_dim"), whole(1)),
    **dict.fromkeys(("dim0", "dim1", "start_dim", "start"), whole()),
    "length": whole(0),
    **dict.fromkeys(("input_shape", "weight_shape"), several(0)),
    "normalized_shape": one_or_several(1),
    "shape": several(-1),
    "dims": several(),
    **dict.fromkeys(
        (
            "ceil_mode",
            "return_indices",
            "count_include_pad",
            "keepdims",
            "training",
            "align_corners",
            "antialias",
            "affine",
            "elementwise_affine",
        ),
        flag,
    ),
    **dict.fromkeys(("alpha", "negative_slope", "min", "max", "min_val", "max_val", "value"), real()),
    "eps": real(0),
    **dict.fromkeys(("p", "momentum"), real(0, 1)),
    **dict.fromkeys(("mode", "approximate", "reduction"), word),
    **dict.fromkeys(("seed", "step"), seed),
    "scale": factors,
    "zero_point": one_or_several(),
    **dict.fromkeys(("quant_min", "quant_max"), whole()),
}
