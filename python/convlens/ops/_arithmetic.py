"""Arithmetic, comparisons and choice by NumPy's broadcasting, with PyTorch's names; and their gradients.

Operands are arrays of one dtype, float32 or float64, or numbers.
"""

from __future__ import annotations

import numpy.typing as npt

from ._broadcast import elementwise, elementwise_grad
from ._call import Array, replayed


@replayed
def add(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a + b``."""
    return elementwise("Add", a=a, b=b)


@replayed
def add_grad(grad_output: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Array, Array]:
    """Compute the gradients of :func:`add` with respect to `a` and `b`."""
    return _pair("Add", grad_output, a, b)


@replayed
def sub(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a - b``."""
    return elementwise("Sub", a=a, b=b)


@replayed
def sub_grad(grad_output: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Array, Array]:
    """Compute the gradients of :func:`sub` with respect to `a` and `b`."""
    return _pair("Sub", grad_output, a, b)


@replayed
def mul(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a * b``."""
    return elementwise("Mul", a=a, b=b)


@replayed
def mul_grad(grad_output: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Array, Array]:
    """Compute the gradients of :func:`mul` with respect to `a` and `b`."""
    return _pair("Mul", grad_output, a, b)


@replayed
def div(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a / b``."""
    return elementwise("Div", a=a, b=b)


@replayed
def div_grad(grad_output: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Array, Array]:
    """Compute the gradients of :func:`div` with respect to `a` and `b`."""
    return _pair("Div", grad_output, a, b)


@replayed
def maximum(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Take the larger of two; NaN from either side. Equal ones share the gradient."""
    return elementwise("Max", a=a, b=b)


@replayed
def maximum_grad(grad_output: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Array, Array]:
    """Compute the gradients of :func:`maximum` with respect to `a` and `b`."""
    return _pair("Max", grad_output, a, b)


@replayed
def minimum(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Take the smaller of two; NaN from either side. Equal ones share the gradient."""
    return elementwise("Min", a=a, b=b)


@replayed
def minimum_grad(grad_output: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Array, Array]:
    """Compute the gradients of :func:`minimum` with respect to `a` and `b`."""
    return _pair("Min", grad_output, a, b)


@replayed
def pow(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a ** b``: NaN for negative `a` and fractional `b`."""
    return elementwise("Pow", a=a, b=b)


@replayed
def pow_grad(grad_output: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Array, Array]:
    """Compute the gradients of :func:`pow` with respect to `a` and `b`."""
    return _pair("Pow", grad_output, a, b)


@replayed
def neg(x: npt.ArrayLike) -> Array:
    """Compute ``-x``. Its gradient is the negative one."""
    return elementwise("Neg", x=x)


@replayed
def sign(x: npt.ArrayLike) -> Array:
    """Compute -1, 0 or 1; NaN stays NaN. Its gradient is 0."""
    return elementwise("Sign", x=x)


@replayed
def abs(x: npt.ArrayLike) -> Array:
    """Compute ``|x|``. The gradient at 0 is 0."""
    return elementwise("Abs", x=x)


@replayed
def abs_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`abs`, given its input."""
    return elementwise_grad("Abs", grad_output, x=x)[0]


@replayed
def sqrt(x: npt.ArrayLike) -> Array:
    """Compute the square root."""
    return elementwise("Sqrt", x=x)


@replayed
def sqrt_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`sqrt`, given its input."""
    return elementwise_grad("Sqrt", grad_output, x=x)[0]


@replayed
def exp(x: npt.ArrayLike) -> Array:
    """Compute ``exp(x)``."""
    return elementwise("Exp", x=x)


@replayed
def exp_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`exp`, given its input."""
    return elementwise_grad("Exp", grad_output, x=x)[0]


@replayed
def log(x: npt.ArrayLike) -> Array:
    """Compute the natural logarithm."""
    return elementwise("Log", x=x)


@replayed
def log_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`log`, given its input."""
    return elementwise_grad("Log", grad_output, x=x)[0]


@replayed
def reciprocal(x: npt.ArrayLike) -> Array:
    """Compute ``1 / x``."""
    return elementwise("Reciprocal", x=x)


@replayed
def reciprocal_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`reciprocal`, given its input."""
    return elementwise_grad("Reciprocal", grad_output, x=x)[0]


@replayed
def erf(x: npt.ArrayLike) -> Array:
    """Compute the error function."""
    return elementwise("Erf", x=x)


@replayed
def erf_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`erf`, given its input."""
    return elementwise_grad("Erf", grad_output, x=x)[0]


@replayed
def expm1(x: npt.ArrayLike) -> Array:
    """Compute ``exp(x) - 1``, right near 0 too."""
    return elementwise("Expm1", x=x)


@replayed
def expm1_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`expm1`, given its input."""
    return elementwise_grad("Expm1", grad_output, x=x)[0]


@replayed
def log1p(x: npt.ArrayLike) -> Array:
    """Compute ``log(1 + x)``, right near 0 too."""
    return elementwise("Log1p", x=x)


@replayed
def log1p_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`log1p`, given its input."""
    return elementwise_grad("Log1p", grad_output, x=x)[0]


@replayed
def greater(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a > b``, an array of bool."""
    return elementwise("Greater", a=a, b=b)


@replayed
def greater_equal(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a >= b``, an array of bool."""
    return elementwise("GreaterOrEqual", a=a, b=b)


@replayed
def less(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a < b``, an array of bool."""
    return elementwise("Less", a=a, b=b)


@replayed
def less_equal(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a <= b``, an array of bool."""
    return elementwise("LessOrEqual", a=a, b=b)


@replayed
def equal(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a == b``, an array of bool."""
    return elementwise("Equal", a=a, b=b)


@replayed
def where(condition: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Take `a` where `condition`, an array of bool, holds, else `b`."""
    return elementwise("Where", condition=condition, a=a, b=b)


@replayed
def where_grad(
    grad_output: npt.ArrayLike, condition: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike
) -> tuple[Array, Array]:
    """Compute the gradients of :func:`where` with respect to `a` and `b`."""
    da, db = elementwise_grad("Where", grad_output, condition=condition, a=a, b=b)
    return da, db


def _pair(op: str, grad_output: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Array, Array]:
    da, db = elementwise_grad(op, grad_output, a=a, b=b)
    return da, db
