"""Shape rules of element-wise operators."""

from __future__ import annotations

from ._ir import TensorType
from ._registry import NUMBERS, Call, broadcast, shape_rule, show


def _unary(call: Call) -> TensorType:
    return call.kind("x")


for _name in ("Relu", "Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Erf", "Softplus", "Mish", "HardSwish", "Reciprocal"):
    shape_rule(_name, "x")(_unary)
shape_rule("Round", "x")(_unary)
# Ours, for formulas that keep their accuracy near 0: exp(x) - 1 and log(1 + x); the identity without a gradient.
for _name in ("Expm1", "Log1p", "StopGradient"):
    shape_rule(_name, "x")(_unary)
shape_rule("LeakyRelu", "x", alpha=0.01)(_unary)
shape_rule("Elu", "x", alpha=1.0)(_unary)
shape_rule("Selu", "x", alpha=1.6732631921768188, gamma=1.0507010221481323)(_unary)
shape_rule("HardSigmoid", "x", alpha=0.2, beta=0.5)(_unary)


@shape_rule("Gelu", "x", approximate="none")
def _gelu(call: Call) -> TensorType:
    approximate = call.attribute("approximate")
    if approximate not in ("none", "tanh"):
        raise ValueError(f"`approximate` (={approximate!r}) must be 'none' or 'tanh'")
    return call.kind("x")


@shape_rule("PRelu", "x slope")
def _prelu(call: Call) -> TensorType:
    x = call.kind("x")
    slope = call.kind("slope", (x.dtype,))
    if broadcast(x.shape, slope.shape) != x.shape:
        raise ValueError(f"`slope` must broadcast to `x`, {show(x.shape)}; one a channel is (C, 1, 1)")
    return x


@shape_rule("Pow", "a b")
def _pow(call: Call) -> TensorType:
    a = call.kind("a")
    b = call.kind("b", (a.dtype,))
    return TensorType(a.dtype, broadcast(a.shape, b.shape))


# Whole numbers of 8 bits, as floats: clip(round(x / scale) + zero, low, high). `activation` is "relu" where saturation
# at the zero point stands for one.
@shape_rule("Quantize", "x scale zero", low=None, high=None, activation="")
def _quantize(call: Call) -> TensorType:
    x = call.kind("x")
    low, high = call.attribute("low"), call.attribute("high")
    if low is None or high is None or not low < high:
        raise ValueError(f"`low` (={low}) must be less than `high` (={high})")
    if call.attribute("activation") not in ("", "relu"):
        raise ValueError(f"`activation` (={call.attribute('activation')!r}) must be '' or 'relu'")
    return _on_grid(call, "x", x.dtype)


@shape_rule("Dequantize", "q scale zero")
def _dequantize(call: Call) -> TensorType:
    return _on_grid(call, "q", call.kind("scale").dtype)


def _on_grid(call: Call, operand: str, dtype: str) -> TensorType:
    shape = call.kind(operand, NUMBERS).shape
    for name in ("scale", "zero"):
        if broadcast(shape, call.kind(name, (dtype,)).shape) != shape:
            raise ValueError(f"`{name}` must broadcast to `{operand}`, {show(shape)}; one a channel is (C, 1, 1)")
    return TensorType(dtype, shape)


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


for _name in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"):
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


def _same_dtype(a: TensorType, b: TensorType) -> None:
    if a.dtype != b.dtype:
        raise ValueError(f"`a` and `b` must have one dtype, not {a.dtype} and {b.dtype}")
