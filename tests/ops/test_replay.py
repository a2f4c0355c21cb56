"""Calls after the first of their shapes, which go straight to its Program: the same as the function in Python."""

from __future__ import annotations

import inspect
import threading

import numpy as np
import pytest

from convlens import ops
from convlens.ops import _call
from ops.calls import CALLS, FUNCTIONS

DTYPES = (np.float32, np.float64)
REPLAYED = [name for name in FUNCTIONS if "again" in inspect.getclosurevars(getattr(ops, name)).nonlocals]


def arguments(name, dtype, seed):
    """The right call with other numbers in its arrays."""
    rng = np.random.default_rng(seed)

    def other(value):
        if not isinstance(value, np.ndarray):
            return value
        shuffled = rng.permutation(value.reshape(-1)).reshape(value.shape)
        return shuffled.astype(dtype) if value.dtype.kind == "f" else shuffled

    return {key: other(value) for key, value in CALLS[name].items()}


def leaves(result):
    return list(result) if isinstance(result, (tuple, list)) else [result]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", REPLAYED)
def test_a_later_call_is_the_functions_own(name, dtype):
    function = getattr(ops, name)
    _call.kept.clear()
    for seed in range(3):
        given = arguments(name, dtype, seed)
        result, expected = function(**given), function.__wrapped__(**given)
        assert type(result) is type(expected)
        for made, wanted in zip(leaves(result), leaves(expected), strict=True):
            assert made.dtype == wanted.dtype
            assert made.shape == wanted.shape
            assert made.flags.writeable
            assert made.flags.c_contiguous
            assert made.tobytes() == wanted.tobytes()


def test_most_functions_skip_python():
    def replays(name):
        given = arguments(name, np.float32, 0)
        getattr(ops, name)(**given)
        return inspect.getclosurevars(getattr(ops, name)).nonlocals["again"]((), given) is not None

    usual = {**CALLS["max_pool2d"], "return_indices": False}
    of_python = {name for name in REPLAYED if not replays(name)}
    assert len(of_python) < 10
    assert not {"conv2d", "relu", "add", "linear", "avg_pool2d"} & of_python
    ops.max_pool2d(**usual)
    assert inspect.getclosurevars(ops.max_pool2d).nonlocals["again"]((), usual) is not None


def test_numbers_that_are_no_arrays_tell_calls_apart():
    x, weight = (np.random.default_rng(i).normal(size=shape) for i, shape in enumerate([(1, 2, 6, 6), (2, 2, 3, 3)]))
    for options in [{"stride": 1}, {"stride": (1, 2)}, {"stride": (2, 1)}, {"padding": 1}, {"padding": "same"}]:
        for _ in range(2):
            expected = ops.conv2d.__wrapped__(x, weight, **options)
            np.testing.assert_array_equal(ops.conv2d(x, weight, **options), expected)
    for number in (1, 2.0, -0.0, 3):
        for _ in range(2):
            np.testing.assert_array_equal(ops.add(x, number), x + number)


def test_an_array_of_options_is_read_every_time():
    x = np.ones((1, 1, 8, 8), np.float32)
    for stride in ([2, 2], [1, 1], [4, 2]):
        for _ in range(2):
            assert ops.max_pool2d(x, 2, stride=np.array(stride)).shape == ops.max_pool2d(x, 2, stride=stride).shape


def test_two_arguments_may_be_one_array():
    x, y = np.arange(4.0), np.full(4, 3.0)
    for a, b in [(x, x), (x, y), (y, x), (y, y)]:
        np.testing.assert_array_equal(ops.sub(a, b), a - b)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda x: x.astype(np.int32), TypeError),
        (lambda x: x.astype(np.uint8), TypeError),
        (lambda x: x[0], ValueError),
        (lambda x: x[:, :1], ValueError),
        (lambda x: x.astype(np.float64), TypeError),
    ],
)
def test_a_wrong_array_after_a_right_one_is_an_error(wrong, error):
    x, weight = np.ones((1, 2, 6, 6), np.float32), np.ones((3, 2, 3, 3), np.float32)
    for _ in range(3):
        ops.conv2d(x, weight)
    for _ in range(2):
        with pytest.raises(error):
            ops.conv2d(wrong(x), weight)


def test_labels_are_looked_at_every_time():
    logits = np.zeros((2, 3), np.float32)
    for _ in range(3):
        ops.cross_entropy(logits, np.array([0, 2]))
    with pytest.raises(ValueError, match="`labels` reaches"):
        ops.cross_entropy(logits, np.array([0, 3]))


def test_an_array_that_lies_otherwise_is_read_right():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    for _ in range(2):
        ops.relu(x)
    for other in (x[..., ::-1], np.asfortranarray(x), x.astype(x.dtype.newbyteorder())):
        np.testing.assert_array_equal(ops.relu(other), np.maximum(other, 0))


def test_results_are_new_memory():
    x = np.ones((1, 8), np.float32)
    results = [ops.relu(x) for _ in range(4)]
    assert len({made.__array_interface__["data"][0] for made in results}) == 4
    results[0][:] = 7
    np.testing.assert_array_equal(results[3], x)


def test_more_shapes_than_are_kept():
    for size in range(1, _call.KEPT + 20):
        assert ops.relu(np.ones((1, size), np.float32)).shape == (1, size)
    assert len(_call._replays) <= _call.KEPT


def test_threads_call_at_once():
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(1, 4, 9, 9)).astype(np.float32) for _ in range(6)]
    weight = rng.normal(size=(4, 4, 3, 3)).astype(np.float32)
    expected = [ops.conv2d(x, weight) for x in inputs]
    wrong = []

    def call(x, wanted):
        for _ in range(200):
            if ops.conv2d(x, weight).tobytes() != wanted.tobytes():
                wrong.append(x)

    threads = [threading.Thread(target=call, args=pair) for pair in zip(inputs, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
