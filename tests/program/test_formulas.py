from __future__ import annotations

import numpy as np
import pytest
from check import check, random_inputs, run_program

from convlens.graph import GraphBuilder
from convlens.program import Entry, Weights, compile

UNARY = ["Relu", "Sigmoid", "Tanh", "Exp", "Abs", "Neg", "Sign"]
BINARY = ["Add", "Sub", "Mul", "Div", "Max", "Min"]
SHAPES = [("N", 3), ("N", 16), ("N", 5, 4, 3), ("N", 17, 2, 2), ("N", 1, 1, 1), ("N", 1, 6, 6)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("op", UNARY)
def test_unary_operators(op, shape):
    b = GraphBuilder()
    check(b.build([b.add(op, [b.input("x", "float32", shape)])]))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("op", BINARY)
def test_binary_operators(op, shape):
    b = GraphBuilder()
    check(b.build([b.add(op, [b.input("x", "float32", shape), b.input("y", "float32", shape)])]))


@pytest.mark.parametrize(
    "operand",
    [("N", 18, 1, 1), ("N", 1, 5, 4), ("N", 1, 1, 1), (18, 1, 1), (1, 18, 1, 1), (1, 1, 1, 1), (1,), ()],
    ids=str,
)
def test_operands_broadcast(operand):
    b = GraphBuilder()
    x, y = b.input("x", "float32", ("N", 18, 5, 4)), b.input("y", "float32", operand)
    check(b.build([b.add("Sub", [x, y]), b.add("Mul", [y, x])]))


@pytest.mark.parametrize("shape", [(18, 1, 1), (1, 18, 1, 1), (1, 1, 1, 1)], ids=str)
def test_constants_broadcast(shape):
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 18, 5, 4))
    value = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    check(b.build([b.add("Add", [x, b.constant(value)])]))


@pytest.mark.parametrize(
    ("shape", "operand"),
    [
        (("N", 18, 5, 4), ("N", 18, 1, 4)),
        (("N", 18, 5, 4), ("N", 1, 1, 4)),
        (("N", 18, 5, 4), (4,)),
        (("N", 18, 5, 4), (1, 18, 5, 4)),
        (("N", 18, 5, 4), (18, 5, 4)),
        (("N", 18, 5, 4), (5, 1)),
        (("N", 18, 1, 1), ("N", 1, 5, 4)),
        (("N", 18, 1, 1), (18, 5, 1)),
        (("N", 1, 5, 4), (1, 18, 1, 1)),
        (("N", 18, 6), (18, 1)),
        (("N", 18, 6), (1, 6)),
        (("N", 18, 6), ("N", 1, 6)),
        (("N", 3, 2, 4, 5), ("N", 3, 1, 1, 1)),
        (("N", 3, 2, 4, 5), ("N", 3, 2, 1, 1)),
        (("N", 3, 2, 4, 5), ("N", 1, 2, 4, 1)),
        (("N", 3, 2, 4, 5), (3, 2, 1, 1)),
        (("N", 3, 2, 1, 4, 5), ("N", 1, 2, 3, 1, 5)),
        ((4, 6), (4, 1)),
        ((4, 1), (1, 6)),
    ],
    ids=str,
)
def test_every_operand_that_numpy_broadcasts_does(shape, operand):
    """As an input, as a constant, and under a mask; before a convolution, too, where layouts differ."""
    b = GraphBuilder()
    x, y = b.input("x", "float32", shape), b.input("y", "float32", operand)
    outs = [b.add("Sub", [x, y]), b.add("Mul", [y, x])]
    small = b.add("Greater", [y, b.constant(np.float32(0))])
    outs.append(b.add("Where", [small, x, b.constant(np.float32(0.5))]))
    if "N" not in operand:
        value = np.random.default_rng(1).standard_normal(operand).astype(np.float32)
        outs += [b.add("Add", [x, b.constant(value)]), b.add("Div", [b.constant(value), b.add("Exp", [x])])]
    whole = [o for o in outs if len(shape) == 4 and shape[0] == "N"]
    for out in whole:
        channels = int(b.types[out].shape[1])
        weight = np.random.default_rng(2).standard_normal((3, channels, 1, 1)).astype(np.float32) / channels
        outs.append(b.add("Conv", [b.add("Add", [out, y]), b.constant(weight)]))
    check(b.build(outs))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_masks_are_kept_and_asked_for(shape):
    b = GraphBuilder()
    x, y = b.input("x", "float32", shape), b.input("y", "float32", shape)
    above, same = b.add("Greater", [x, y]), b.add("Equal", [x, x])
    either = b.add("Or", [above, b.add("Not", [same])])
    both = b.add("And", [above, b.add("GreaterOrEqual", [x, b.constant(np.float32(0))])])
    graph = b.build([above, either, both, b.add("Where", [both, x, b.add("Less", [y, x]) and y])])
    program = check(graph)
    assert program.n_instructions < 12


def test_masks_come_in_as_bool_arrays():
    b = GraphBuilder()
    mask, x = b.input("mask", "bool", ("N", 5, 3, 2)), b.input("x", "float32", ("N", 5, 3, 2))
    check(b.build([b.add("Where", [mask, x, b.constant(np.float32(2))])]))


def test_clip_takes_numbers_and_tensors():
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 4, 3, 3))
    low, high = b.constant(np.float32(-0.5)), b.input("high", "float32", ())
    check(b.build([b.add("Clip", [x, low, high]), b.add("Clip", [x, "", low]), b.add("Clip", [x, low])]))


def test_a_chain_becomes_one_instruction():
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 7))
    y = x
    for op in ["Tanh", "Exp", "Neg", "Sigmoid", "Abs"]:
        y = b.add(op, [y])
    program = check(b.build([y]))
    assert program.n_instructions == 1  # it reads and writes the caller's memory


def test_a_tensor_asked_for_inside_a_chain_is_stored_by_it():
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 6, 2, 2))
    middle = b.add("Tanh", [x])
    check(b.build([middle, b.add("Exp", [middle])]))


def test_more_operands_than_an_instruction_has_are_split():
    b = GraphBuilder()
    tensors = [b.input(f"x{i}", "float32", ("N", 9)) for i in range(40)]
    total = tensors[0]
    for tensor in tensors[1:]:
        total = b.add("Add", [total, tensor])
    check(b.build([total]))


def test_more_live_values_than_registers_are_split():
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 9))
    powers = [x]
    for _ in range(24):
        powers.append(b.add("Tanh", [powers[-1]]))
    total = powers[0]
    for p in powers[1:]:
        total = b.add("Add", [total, p])
    check(b.build([total]))


def test_a_diamond_through_another_instruction_is_not_contracted_into_a_circle():
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 6, 4, 4))
    a = b.add("Relu", [x])
    mean = b.add("GlobalAveragePool", [a])
    check(b.build([b.add("Mul", [b.add("Exp", [a]), mean]), b.add("Sub", [a, mean])]))


def test_a_flatten_between_element_wise_nodes_costs_nothing():
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 20, 3, 3))
    pooled = b.add("MaxPool", [x], {"kernel_shape": (2, 2)})
    flat = b.add("Flatten", [b.add("Relu", [pooled])])
    y = b.add("Tanh", [flat])
    program = check(b.build([y]))
    assert program.n_instructions == 4  # reorder in, pool, one element-wise, reorder out


def test_nan_and_infinity_pass_through():
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 4))
    graph = b.build([b.add("Relu", [x]), b.add("Max", [x, b.constant(np.float32(0))])])
    entries = {"run": Entry(("x",), graph.outputs)}
    value = np.array([[np.nan, -np.inf, np.inf, -1.0]], np.float32)
    for result in run_program(compile(graph, entries), entries, {"x": value}, Weights({}), 1).values():
        np.testing.assert_array_equal(result, [[np.nan, 0, np.inf, 0]])


@pytest.mark.parametrize("n", [0, 1, 2])
def test_any_number_of_images(n):
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 17, 2, 3))
    graph = b.build([b.add("Exp", [x]), b.add("ReduceSum", [x, b.constant(np.array([0, 2, 3]))], {"keepdims": 0})])
    check(graph, n=n)


def test_where_of_one_value_fills_whatever_the_mask_holds():
    b = GraphBuilder()
    x, v = b.input("x", "float32", ("N", 4, 3, 3)), b.input("v", "float32", ("N", 4, 1, 1))
    filled = b.add("Where", [b.add("Greater", [x, b.constant(np.float32(0))]), v, v])
    graph = b.build([filled])
    inputs = random_inputs(graph, 2, "float32")
    inputs["x"][:] = np.nan
    check(graph, n=2, inputs=inputs)
