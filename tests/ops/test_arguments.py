"""Every function of convlens.ops with each of its arguments wrong: an error that names something, never another one."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest

from convlens import UnsupportedError, ops
from ops.calls import CALLS, FUNCTIONS, WRONG_VALUES

#: What no argument that is an array may be; some functions take another rank, none another type.
WRONG_TYPES = {
    "integers": lambda a: a.astype(np.int32),
    "bytes": lambda a: a.astype(np.uint8),
    "half": lambda a: a.astype(np.float16),
    "complex": lambda a: a.astype(np.complex128),
    "objects": lambda a: a.astype(object),
    "text": lambda a: a.astype(str),
    "bool": lambda a: a.astype(bool),
    "nothing": lambda a: None,
    "a word": lambda a: "cat",
    "ragged": lambda a: [[1.0], [1.0, 2.0]],
    "a dict": lambda a: {"a": 1},
}
WRONG_SHAPES = {
    "fewer axes": lambda a: a[0],
    "more axes": lambda a: a[None],
    "seven axes": lambda a: a.reshape((1,) * (7 - a.ndim) + a.shape),
    "no channels": lambda a: a[:, :0] if a.ndim > 1 else a[:0],
    "no columns": lambda a: a[..., :0],
    "empty": lambda a: a[:0],
    "one number": lambda a: a.reshape(-1)[:1].reshape((1,) * a.ndim),
    "no axis": lambda a: a.reshape(-1)[0],
    "float32": lambda a: a.astype(np.float32),
}
SAME_VALUES = {
    "swapped bytes": lambda a: a.astype(a.dtype.newbyteorder()),
    "read only": lambda a: np.broadcast_to(a, a.shape),
    "every other": lambda a: np.repeat(a, 2, -1)[..., ::2],
    "Fortran order": np.asfortranarray,
    "lists": lambda a: a.tolist(),
}
#: Beside arrays: what takes any bool, any integers, or any type.
TAKES_OTHERS = {"flatten", "reshape"}


def arrays_of(name):
    return [p for p, value in CALLS[name].items() if isinstance(value, np.ndarray)]


def call(name, parameter, value):
    """The call with one argument replaced: None, or the error, which must be one of ours and say what it is about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            getattr(ops, name)(**{**CALLS[name], parameter: value})
        except (TypeError, ValueError, UnsupportedError) as error:
            found = error
        else:
            return None
    words = ("`", "supported", "must be") if isinstance(found, UnsupportedError) else ("`",)
    assert any(word in str(found) for word in words), f"{name}({parameter}={value!r}): {found}"
    return found


def test_every_function_has_a_call():
    assert set(CALLS) == set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arrays_of_another_type_are_refused_by_name(name):
    for parameter in arrays_of(name):
        own = CALLS[name][parameter].dtype.kind
        for what, change in WRONG_TYPES.items():
            if (
                name in TAKES_OTHERS
                or (what == "bool" and own == "b")
                or (own == "i" and what in ("integers", "bytes"))
            ):
                continue
            if what == "nothing" and "None" in str(inspect.signature(getattr(ops, name)).parameters[parameter]):
                continue
            error = call(name, parameter, change(CALLS[name][parameter]))
            assert error is not None, f"{name} took {what} for {parameter}"
            assert f"`{parameter}`" in str(error), f"{name}({parameter}: {what}): {error}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arrays_of_another_shape_work_or_are_named(name):
    for parameter in arrays_of(name):
        for change in WRONG_SHAPES.values():
            call(name, parameter, change(CALLS[name][parameter]))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_other_arguments_work_or_are_named(name):
    for parameter in inspect.signature(getattr(ops, name)).parameters:
        if not isinstance(CALLS[name].get(parameter), np.ndarray):
            for value in WRONG_VALUES:
                call(name, parameter, value)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_how_an_array_lies_in_memory_changes_nothing(name):
    right = getattr(ops, name)(**CALLS[name])
    for change in SAME_VALUES.values():
        given = {p: change(v) if isinstance(v, np.ndarray) else v for p, v in CALLS[name].items()}
        result = getattr(ops, name)(**given)
        pairs = zip(result, right, strict=True) if isinstance(right, (list, tuple)) else [(result, right)]
        for ours, expected in pairs:
            np.testing.assert_array_equal(ours, expected)
