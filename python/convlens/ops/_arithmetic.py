"""Arithmetic, comparisons and choice by NumPy's broadcasting, with PyTorch's names; and their gradients.

Operands are arrays of one dtype, float32 or float64, or numbers.
"""

from __future__ import annotations

import numpy.typing as npt

from ._broadcast import elementwise, elementwise_grad
from ._call import Array


def add(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a + b``."""
    return elementwise("Add", a=a, b=b)


def add_grad(grad_output: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Array, Array]:
    """Compute the gradients of :func:`add` with respect to `a` and `b`."""
    return _pair("Add", grad_output, a, b)


def sub(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a - b``."""
    return elementwise("Sub", a=a, b=b)


def sub_grad(grad_output: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Array, Array]:
    """Compute the gradients of :func:`sub` with respect to `a` and `b`."""
    return _pair("Sub", grad_output, a, b)


def mul(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a * b``."""
    return elementwise("Mul", a=a, b=b)


def mul_grad(grad_output: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Array, Array]:
    """Compute the gradients of :func:`mul` with respect to `a` and `b`."""
    return _pair("Mul", grad_output, a, b)


def div(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a / b``."""
    return elementwise("Div", a=a, b=b)


def div_grad(grad_output: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Array, Array]:
    """Compute the gradients of :func:`div` with respect to `a` and `b`."""
    return _pair("Div", grad_output, a, b)


def maximum(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Take the larger of two; NaN from either side. Equal ones share the gradient."""
    return elementwise("Max", a=a, b=b)


def maximum_grad(grad_output: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Array, Array]:
    """Compute the gradients of :func:`maximum` with respect to `a` and `b`."""
    return _pair("Max", grad_output, a, b)


def minimum(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Take the smaller of two; NaN from either side. Equal ones share the gradient."""
    return elementwise("Min", a=a, b=b)


def minimum_grad(grad_output: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Array, Array]:
    """Compute the gradients of :func:`minimum` with respect to `a` and `b`."""
    return _pair("Min", grad_output, a, b)


def pow(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a ** b``: NaN for negative `a` and fractional `b`."""
    return elementwise("Pow", a=a, b=b)


def pow_grad(grad_output: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Array, Array]:
    """Compute the gradients of :func:`pow` with respect to `a` and `b`."""
    return _pair("Pow", grad_output, a, b)


def neg(x: npt.ArrayLike) -> Array:
    """Compute ``-x``. Its gradient is the negative one."""
    return elementwise("Neg", x=x)


def sign(x: npt.ArrayLike) -> Array:
    """Compute -1, 0 or 1; NaN stays NaN. Its gradient is 0."""
    return elementwise("Sign", x=x)


def abs(x: npt.ArrayLike) -> Array:
    """Compute ``|x|``. The gradient at 0 is 0."""
    return elementwise("Abs", x=x)


def abs_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`abs`, given its input."""
    return elementwise_grad("Abs", grad_output, x=x)[0]


def sqrt(x: npt.ArrayLike) -> Array:
    """Compute the square root."""
    return elementwise("Sqrt", x=x)


def sqrt_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`sqrt`, given its input."""
    return elementwise_grad("Sqrt", grad_output, x=x)[0]


def exp(x: npt.ArrayLike) -> Array:
    """Compute ``exp(x)``."""
    return elementwise("Exp", x=x)


def exp_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`exp`, given its input."""
    return elementwise_grad("Exp", grad_output, x=x)[0]


def log(x: npt.ArrayLike) -> Array:
    """Compute the natural logarithm."""
    return elementwise("Log", x=x)


def log_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`log`, given its input."""
    return elementwise_grad("Log", grad_output, x=x)[0]


def reciprocal(x: npt.ArrayLike) -> Array:
    """Compute ``1 / x``."""
    return elementwise("Reciprocal", x=x)


def reciprocal_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`reciprocal`, given its input."""
    return elementwise_grad("Reciprocal", grad_output, x=x)[0]


def erf(x: npt.ArrayLike) -> Array:
    """Compute the error function."""
    return elementwise("Erf", x=x)


def erf_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`erf`, given its input."""
    return elementwise_grad("Erf", grad_output, x=x)[0]


def expm1(x: npt.ArrayLike) -> Array:
    """Compute ``exp(x) - 1``, right near 0 too."""
    return elementwise("Expm1", x=x)


def expm1_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`expm1`, given its input."""
    return elementwise_grad("Expm1", grad_output, x=x)[0]


def log1p(x: npt.ArrayLike) -> Array:
    """Compute ``log(1 + x)``, right near 0 too."""
    return elementwise("Log1p", x=x)


def log1p_grad(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Carry a gradient through :func:`log1p`, given its input."""
    return elementwise_grad("Log1p", grad_output, x=x)[0]


def greater(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a > b``, an array of bool."""
    return elementwise("Greater", a=a, b=b)


def greater_equal(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a >= b``, an array of bool."""
    return elementwise("GreaterOrEqual", a=a, b=b)


def less(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a < b``, an array of bool."""
    return elementwise("Less", a=a, b=b)


def less_equal(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a <= b``, an array of bool."""
    return elementwise("LessOrEqual", a=a, b=b)


def equal(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Compute ``a == b``, an array of bool."""
    return elementwise("Equal", a=a, b=b)


def where(condition: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Take `a` where `condition`, an array of bool, holds, else `b`."""
    return elementwise("Where", condition=condition, a=a, b=b)


def where_grad(
    grad_output: npt.ArrayLike, condition: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike
) -> tuple[Array, Array]:
    """Compute the gradients of :func:`where` with respect to `a` and `b`."""
    da, db = elementwise_grad("Where", grad_output, condition=condition, a=a, b=b)
    return da, db


def _pair(op: str, grad_output: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Array, Array]:
    da, db = elementwise_grad(op, grad_output, a=a, b=b)
    return da, db
