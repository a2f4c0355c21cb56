"""Shape rules of element-wise operators."""

from __future__ import annotations

from .._errors import UnsupportedError
from ._ir import TensorType
from ._registry import FLOATS, NUMBERS, Call, broadcast, shape_rule


def _unary(call: Call) -> TensorType:
    return call.kind("x")


for _name in ("Relu", "Sigmoid", "Tanh", "Exp", "Log", "Sqrt"):
    shape_rule(_name, "x")(_unary)


def _unary_number(call: Call) -> TensorType:
    return call.kind("x", NUMBERS)


for _name in ("Abs", "Neg", "Sign"):
    shape_rule(_name, "x")(_unary_number)


@shape_rule("Identity", "x")
def _identity(call: Call) -> TensorType:
    return call.kind("x", (*NUMBERS, "bool"))


# `gradient_at_bounds`: the derivative where x equals a bound, as the exporting operator has it (0 for ReLU6 and
# hardtanh, 1 for clamp). None: 0 when the lower bound is 0, that is a ReLU with a ceiling, else 1.
@shape_rule("Clip", "x min? max?", gradient_at_bounds=None)
def _clip(call: Call) -> TensorType:
    x = call.kind("x", NUMBERS)
    for bound in ("min", "max"):
        if call.has(bound):
            kind = call.kind(bound, (x.dtype,))
            if kind.shape not in ((), (1,)):
                raise ValueError(f"`{bound}` must be a scalar")
    return x


def _arithmetic(call: Call) -> TensorType:
    a = call.kind("a", NUMBERS)
    b = call.kind("b", NUMBERS)
    _same_dtype(a, b)
    return TensorType(a.dtype, broadcast(a.shape, b.shape))


for _name in ("Add", "Sub", "Mul", "Div", "Max", "Min"):
    shape_rule(_name, "a b")(_arithmetic)


def _compare(call: Call) -> TensorType:
    a = call.kind("a", (*NUMBERS, "bool"))
    b = call.kind("b", (*NUMBERS, "bool"))
    _same_dtype(a, b)
    return TensorType("bool", broadcast(a.shape, b.shape))


for _name in ("Greater", "GreaterOrEqual", "Less", "Equal"):
    shape_rule(_name, "a b")(_compare)


def _logical(call: Call) -> TensorType:
    return TensorType("bool", broadcast(call.kind("a", ("bool",)).shape, call.kind("b", ("bool",)).shape))


for _name in ("And", "Or"):
    shape_rule(_name, "a b")(_logical)


@shape_rule("Not", "x")
def _not(call: Call) -> TensorType:
    return call.kind("x", ("bool",))


@shape_rule("Where", "condition a b")
def _where(call: Call) -> TensorType:
    condition = call.kind("condition", ("bool",))
    a = call.kind("a", (*NUMBERS, "bool"))
    b = call.kind("b", (*NUMBERS, "bool"))
    _same_dtype(a, b)
    return TensorType(a.dtype, broadcast(condition.shape, a.shape, b.shape))


# `momentum`, the share of the running statistics that stays, matters in training alone.
@shape_rule("BatchNormalization", "x scale bias mean var", epsilon=1e-5, momentum=0.9, training_mode=0)
def _batch_normalization(call: Call) -> TensorType:
    if call.attribute("training_mode"):
        raise UnsupportedError(
            "`training_mode` must be 0; in training, build it by transform.expand_batch_norm_training"
        )
    x = call.kind("x", FLOATS)
    if len(x.shape) < 2:
        raise ValueError("`x` must have a channel axis: (N, C, ...)")
    for name in ("scale", "bias", "mean", "var"):
        kind = call.kind(name, (x.dtype,))
        if kind.shape != (x.shape[1],):
            raise ValueError(f"`{name}` must have shape ({x.shape[1]},), one value a channel of the input")
    return x


def _same_dtype(a: TensorType, b: TensorType) -> None:
    if a.dtype != b.dtype:
        raise ValueError(f"`a` and `b` must have one dtype, not {a.dtype} and {b.dtype}")
