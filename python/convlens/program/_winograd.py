"""Which 3 x 3 convolutions go by Winograd's algorithm, and by which of its tiles."""

from __future__ import annotations

import dataclasses

from ._expression import Expression
from ._flow import Flow, Step

#: What `winograd` may say beside True (where it pays) and False (nowhere): everywhere it is defined.
UNITS = {"F(2,3)": 2, "F(4,3)": 4}
_TWINS = ("conv2d", "conv2d_grad_input")
_DEFINED = [3, 3, 1, 1, 1, 1, 1]  # kernel, strides, dilations, groups


def checked(option: bool | str, dtype: str) -> int | None:
    """The tile that the option asks for everywhere, 0 for nowhere, None for where it pays."""
    if isinstance(option, bool):
        return None if option and dtype == "float32" else 0
    if option not in UNITS:
        raise ValueError(
            f"`winograd` (={option!r}) must be True (where it pays), False, or one of {', '.join(map(repr, UNITS))} "
            "(wherever it is defined)"
        )
    return UNITS[option]


def take_winograd(flow: Flow, step: Step, wanted: int | None) -> bool:
    """Make a convolution the instruction of Winograd's algorithm where that was asked for, or pays."""
    unit = _pays(flow, step) if wanted is None else wanted
    if unit == 0 or step.op not in _TWINS or not _is_defined(flow, step):
        return False
    assert step.geometry is not None
    step.geometry = dataclasses.replace(step.geometry, winograd=unit)
    step.op, step.attributes = f"{step.op}_winograd", [*step.attributes, unit]
    return True


def _is_defined(flow: Flow, step: Step) -> bool:
    """Whether kernel, stride and weights are such: weights that change are packed otherwise, whole numbers exact."""
    weight = flow.constants.get(step.inputs[1])
    shape = [int(a) for a in (*step.attributes[:4], *step.attributes[6:9])]
    return weight is not None and shape == _DEFINED and not _is_quantised(weight)


def _is_quantised(weight: Expression) -> bool:
    return weight.op == "Dequantize" or any(map(_is_quantised, weight.inputs))


def _pays(flow: Flow, step: Step) -> int:
    """The tile of the shape, 0 for none."""
    return 0
