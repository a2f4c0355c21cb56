from __future__ import annotations

import threading

import pytest

from convlens.explain._side_by_side import side_by_side


@pytest.mark.parametrize("workers", [1, 3])
def test_results_are_in_order(workers):
    assert list(side_by_side(lambda value: 2 * value, range(20), workers)) == list(range(0, 40, 2))


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_is_raised_where_its_result_would_be(workers):
    made = side_by_side(lambda value: 1 // (3 - value), range(20), workers)
    assert [next(made) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(made)


def test_closing_begins_no_further_call():
    begun, gate = [], threading.Event()

    def call(value):
        begun.append(value)
        assert value == 0 or gate.wait(10)

    made = side_by_side(call, range(100), workers=2)
    next(made)
    threading.Timer(0.05, gate.set).start()
    made.close()
    assert len(begun) <= 3
