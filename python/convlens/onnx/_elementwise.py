"""Activations, arithmetic with broadcasting, comparisons."""

from __future__ import annotations

import numpy as np

from .._errors import UnsupportedError
from ._registry import handles
from ._site import Site
from ._tensors import dtype_name

_ALIKE = ("Relu", "Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Abs", "Neg", "Sign", "Identity", "Softplus", "Mish")


@handles(*_ALIKE, "HardSwish", "Erf", "Reciprocal", "Round", "Not")
def _unary(site: Site) -> str:
    return site.finish(site.op, [site.tensor(0)])


# Operators with numbers as attributes, and what the standard says where they are left out.
_PARAMETERS = {
    "LeakyRelu": {"alpha": 0.01},
    "Elu": {"alpha": 1.0},
    "Selu": {"alpha": 1.6732631921768188, "gamma": 1.0507010221481323},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
}


@handles(*_PARAMETERS)
def _parametric(site: Site) -> str:
    values = {name: float(site.attribute(name, default)) for name, default in _PARAMETERS[site.op].items()}
    return site.finish(site.op, [site.tensor(0)], **values)


@handles("Gelu")
def _gelu(site: Site) -> str:
    return site.finish("Gelu", [site.tensor(0)], approximate=site.attribute("approximate", "none"))


@handles("PRelu")
def _prelu(site: Site) -> str:
    x, slope, rank = site.tensor(0), site.operand(1, site.rank(0)), site.rank(0)
    if site.opset < 7 and rank > 2 and site.rank(1) == 1 and site.knows(1):  # one a channel
        value = site.known(1, "slope")
        if value.size > 1:
            slope = site.constant(value.reshape(-1, *(1,) * (rank - 2)), f"{site.inputs[1]}.channels")
    return site.finish("PRelu", [x, slope])


@handles("Celu")
def _celu(site: Site) -> str:
    """max(0, x) + min(0, alpha (exp(x / alpha) - 1)): an ELU of x / alpha, times alpha."""
    x, alpha = site.tensor(0), float(site.attribute("alpha", 1.0))
    inner = site.emit("Elu", [site.emit("Div", [x, site.scalar(alpha, x)])], alpha=1.0)
    return site.finish("Mul", [inner, site.scalar(alpha, x)])


@handles("Swish")
def _swish(site: Site) -> str:
    x, alpha = site.tensor(0), float(site.attribute("alpha", 1.0))
    inner = x if alpha == 1 else site.emit("Mul", [x, site.scalar(alpha, x)])
    return site.finish("Mul", [x, site.emit("Sigmoid", [inner])])


@handles("Softsign")
def _softsign(site: Site) -> str:
    x = site.tensor(0)
    return site.finish("Div", [x, site.emit("Add", [site.emit("Abs", [x]), site.scalar(1.0, x)])])


@handles("ThresholdedRelu")
def _thresholded_relu(site: Site) -> str:
    x = site.tensor(0)
    above = site.emit("Greater", [x, site.scalar(float(site.attribute("alpha", 1.0)), x)])
    return site.finish("Where", [above, x, site.scalar(0.0, x)])


@handles("Clip")
def _clip(site: Site) -> str:
    x = site.tensor(0)
    bounds = ["", ""]
    for place, name in enumerate(("min", "max")):
        if site.opset < 11:
            if name in site.attributes:
                bounds[place] = site.scalar(float(site.attribute(name)), x)
        elif site.has(place + 1):
            bounds[place] = site.operand(place + 1)
    if any(site.has(i) and not site.knows(i) for i in (1, 2)):
        for op, bound in zip(("Max", "Min"), bounds, strict=True):
            x = site.emit(op, [x, bound]) if bound else x
        return x
    at_bounds = site.attribute("gradient_at_bounds")  # what a file of our own says
    kept = {"gradient_at_bounds": at_bounds} if at_bounds in (0, 1) else {}
    return site.finish("Clip", [x, *bounds], **kept)


_COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal")


@handles("Add", "Sub", "Mul", "Div", "Pow", *_COMPARISONS, "And", "Or")
def _binary(site: Site) -> str:
    a, b = site.operand(0, site.rank(1)), site.operand(1, site.rank(0))
    if site.opset < 7 and site.attribute("broadcast", 0):
        b = _placed(site, b)
    if site.op == "Pow" and site.type_of(b).dtype != site.type_of(a).dtype and site.knows(1):
        exponent = site.known(1, "Y")
        exponent = exponent.reshape(()) if exponent.size == 1 else exponent
        b = site.constant(exponent.astype(site.type_of(a).dtype), f"{site.inputs[1]}.exponent")
    return site.finish(site.op, [a, b])


def _placed(site: Site, b: str) -> str:
    """Before opset 7 the second operand's axes lie at `axis` of the first's, not at its end."""
    rank, own = site.rank(0), len(site.type_of(b).shape)
    axis = site.axis(int(site.attribute("axis", rank - own)), rank) if own else rank
    if axis + own >= rank:
        return b
    return site.emit("Unsqueeze", [b, site.numbers(list(range(own, rank - axis)), "axes")])


def _is_bound(site: Site, x: int, bound: int) -> bool:
    """Whether one number bounds a tensor of floating-point numbers."""
    if site.knows(x) or not site.knows(bound) or not site.type(x).dtype.startswith("float"):
        return False
    value = site.known(bound, "bound")
    return value.size == 1 and value.ndim <= site.rank(x)


def _bounded(site: Site, x: int, bound: int) -> str:
    """A Max with 0 is a ReLU, and with a Min a ReLU6, for methods with rules of their own for activations."""
    if site.op == "Max" and not site.known(bound, "bound").any():
        return site.finish("Relu", [site.tensor(x)])
    number = site.operand(bound)
    return site.finish("Clip", [site.tensor(x), *([number] if site.op == "Max" else ["", number])])


@handles("Sum", "Max", "Min", "Mean")
def _variadic(site: Site) -> str:
    op = {"Sum": "Add", "Mean": "Add"}.get(site.op, site.op)
    if op in ("Max", "Min") and len(site.inputs) == 2:
        for index in (0, 1):
            if _is_bound(site, index, 1 - index):
                return _bounded(site, index, 1 - index)
    rank = max(site.rank(i) for i in range(len(site.inputs)))
    operands = [site.operand(i, rank - 1) for i in range(len(site.inputs))]
    total = operands[0]
    for index, other in enumerate(operands[1:], 2):
        last = index == len(operands) and site.op != "Mean"
        total = site.finish(op, [total, other]) if last else site.emit(op, [total, other])
    if site.op == "Mean" and len(operands) > 1:
        return site.finish("Div", [total, site.scalar(float(len(operands)), total)])
    return total


@handles("Where")
def _where(site: Site) -> str:
    rank = max(site.rank(0), site.rank(1), site.rank(2))
    return site.finish("Where", [site.tensor(0), site.operand(1, rank - 1), site.operand(2, rank - 1)])


@handles("Cast", "CastLike")
def _cast(site: Site) -> str:
    x = site.tensor(0)
    if site.op == "CastLike":
        wanted = site.type(1).dtype
    else:
        wanted = dtype_name(int(site.attribute("to", 1)), "`to`")
    wanted = "float32" if wanted in ("float16", "bfloat16", "float64") else wanted
    have = site.type_of(x).dtype
    if wanted == have or {wanted, have} == {"int32", "int64"}:
        return x
    if have == "bool" and wanted == "float32":
        one, zero = (site.constant(np.array(value, wanted), f"{site.name}.scalar") for value in (1.0, 0.0))
        return site.finish("Where", [x, one, zero])
    if wanted == "bool" and have == "float32":
        return site.finish("Not", [site.emit("Equal", [x, site.scalar(0.0, x)])])
    raise UnsupportedError(f"from {have} to {wanted}; supported: between floating-point types, and of bool and float")
