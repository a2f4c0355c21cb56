from __future__ import annotations

import numpy as np
import pytest
from check import check, run_program

from convlens.graph import GraphBuilder
from convlens.program import Entry, Weights, compile
from convlens.program._joined import joined

X = ("load", 0, (0,))


def test_a_product_with_the_sigmoid_is_silu():
    code = [X, ("sigmoid", 1, (0,)), ("mul", 2, (1, 0)), ("store", 3, (0, 2))]
    assert joined(code) == [X, ("silu", 2, (0,)), ("store", 3, (0, 2))]


def test_a_sigmoid_that_others_read_stays():
    code = [X, ("sigmoid", 1, (0,)), ("mul", 2, (0, 1)), ("store", 3, (0, 2)), ("store", 4, (1, 1))]
    assert joined(code) == code


def test_a_product_with_the_sigmoid_of_another_stays():
    code = [X, ("load", 1, (1,)), ("sigmoid", 2, (0,)), ("mul", 3, (1, 2)), ("store", 4, (0, 3))]
    assert joined(code) == code


@pytest.mark.parametrize("written", ["0.5 (0.5 x)", "(x 0.5) 0.5", "two numbers"])
def test_products_with_numbers_alone_are_no_activation(written):
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 5, 4, 3))
    first, second = (b.constant(np.array(0.5, np.float32)) for _ in range(2))
    inner = b.add("Mul", [first, x] if written == "0.5 (0.5 x)" else [x, first])
    outer = {"0.5 (0.5 x)": [first, inner], "(x 0.5) 0.5": [inner, first], "two numbers": [second, inner]}[written]
    check(b.build([b.add("Mul", outer)]))


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
