from __future__ import annotations

import math

import numpy as np
import pytest
from check import check, run_program

from convlens.graph import GraphBuilder
from convlens.program import Entry, Weights, compile
from convlens.program._joined import joined

X = ("load", 0, (0,))


def test_a_product_with_the_sigmoid_is_silu():
    code = [X, ("sigmoid", 1, (0,)), ("mul", 2, (1, 0)), ("store", 3, (0, 2))]
    assert joined(code, [], 0) == [X, ("silu", 2, (0,)), ("store", 3, (0, 2))]


def test_a_sigmoid_that_others_read_stays():
    code = [X, ("sigmoid", 1, (0,)), ("mul", 2, (0, 1)), ("store", 3, (0, 2)), ("store", 4, (1, 1))]
    assert joined(code, [], 0) == code


def test_a_product_with_the_sigmoid_of_another_stays():
    code = [X, ("load", 1, (1,)), ("sigmoid", 2, (0,)), ("mul", 3, (1, 2)), ("store", 4, (0, 3))]
    assert joined(code, [], 0) == code


def _gelu(divided: bool, half_first: bool, scale: float, half: float):
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 5, 4, 3))
    number = [b.constant(np.array(value, np.float32)) for value in (scale, 1.0, half)]
    inner = b.add("Div" if divided else "Mul", [x, number[0]])
    share = b.add("Add", [number[1], b.add("Erf", [inner])])
    if half_first:
        return b.build([b.add("Mul", [b.add("Mul", [number[2], x]), share])])
    return b.build([b.add("Mul", [b.add("Mul", [x, share]), number[2]])])


def _words(graph) -> int:
    entry = Entry(tuple(graph.inputs), tuple(graph.outputs))
    program = compile(graph, {"run": entry}, dtype="float32")
    return len(program.to_bytes(Weights(graph.constants)))


@pytest.mark.parametrize("half_first", [False, True])
@pytest.mark.parametrize("divided", [False, True])
def test_gelu_written_out_is_one_operation(divided, half_first):
    graph = _gelu(divided, half_first, math.sqrt(2) if divided else math.sqrt(0.5), 0.5)
    check(graph)
    assert _words(graph) < _words(_gelu(divided, half_first, 1.5, 0.5))


@pytest.mark.parametrize(("scale", "half"), [(math.sqrt(2), 0.25), (1.0, 0.5)])
def test_other_numbers_are_no_gelu(scale, half):
    check(_gelu(True, False, scale, half))


def test_silu_has_the_bits_of_its_product():
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 3, 50, 50))
    s = b.add("Sigmoid", [x])
    y = b.add("Mul", [x, s])
    graph = b.build([y, s])
    inputs = {"x": np.random.default_rng(0).standard_normal((1, 3, 50, 50), np.float32) * 20}
    results = []
    for outputs in [(y,), (y, s)]:  # the second asks for what lies between
        entries = {"run": Entry(("x",), outputs)}
        program = compile(graph, entries, dtype="float32")
        results.append(run_program(program, entries, inputs, Weights({}), 1)[y])
    np.testing.assert_array_equal(results[0], results[1])
