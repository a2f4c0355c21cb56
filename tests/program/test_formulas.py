from __future__ import annotations

import numpy as np
import pytest
from check import check, instructions, random_inputs, run_program

from convlens.graph import GraphBuilder
from convlens.program import Entry, Weights, compile
from convlens.transform import backward, expand_dropout

UNARY = ["Relu", "Sigmoid", "Tanh", "Exp", "Abs", "Neg", "Sign", "Erf", "Expm1", "Round"]
ACTIVATIONS = ["LeakyRelu", "Elu", "Selu", "Softplus", "Mish", "HardSwish", "HardSigmoid", "Gelu", "Reciprocal"]
BINARY = ["Add", "Sub", "Mul", "Div", "Max", "Min"]
SHAPES = [("N", 3), ("N", 16), ("N", 5, 4, 3), ("N", 17, 2, 2), ("N", 1, 1, 1), ("N", 1, 6, 6)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("op", UNARY + ACTIVATIONS)
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


@pytest.mark.parametrize("op", ACTIVATIONS)
def test_an_activation_is_part_of_its_chain(op):
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 7))
    program = check(b.build([b.add("Neg", [b.add(op, [b.add("Exp", [x])])])]))
    assert program.n_instructions == 1


@pytest.mark.parametrize("op", ["LeakyRelu", "Elu", "Mish", "HardSwish"])
def test_an_activation_between_convolutions_is_one_instruction(op):
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 16, 6, 6))
    w = b.constant(np.random.default_rng(0).standard_normal((16, 16, 3, 3)).astype(np.float32))
    y = b.add("Conv", [b.add(op, [b.add("Conv", [x, w])]), w])
    plain = b.add("Conv", [b.add("Tanh", [b.add("Conv", [x, w])]), w])
    assert check(b.build([y])).n_instructions == check(b.build([plain])).n_instructions


@pytest.mark.parametrize("op", ["Relu", "Clip"])
def test_a_relu_or_clip_after_a_convolution_is_its_epilogue(op):
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 16, 6, 6))
    w = b.constant(np.random.default_rng(0).standard_normal((16, 16, 3, 3)).astype(np.float32))
    bounds = [b.constant(np.float32(v)) for v in (0, 6)] if op == "Clip" else []
    y = b.add(op, [b.add("Conv", [x, w]), *bounds])
    assert check(b.build([y])).n_instructions == check(b.build([b.add("Conv", [x, w])])).n_instructions


@pytest.mark.parametrize("slope", [(), (1,), (18, 1, 1), ("N", 18, 1, 1), ("N", 18, 5, 4)], ids=str)
def test_slopes_broadcast(slope):
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 18, 5, 4))
    if "N" in slope:
        check(b.build([b.add("PRelu", [x, b.input("slope", "float32", slope)])]))
        return
    value = np.random.default_rng(0).standard_normal(slope).astype(np.float32)
    check(b.build([b.add("PRelu", [x, b.constant(value)])]))


def test_an_activation_of_constants_is_computed_when_weights_are_packed():
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 3, 4, 4))
    w = b.constant(np.random.default_rng(0).standard_normal((5, 3, 2, 2)).astype(np.float32), "w")
    y = b.add("Conv", [x, b.add("Mish", [w])])
    assert check(b.build([y])).n_instructions == check(b.build([b.add("Conv", [x, w])])).n_instructions


def test_formulas_take_no_name_of_the_graphs():
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 3))
    y = b.add("Mish", [x], name="m")
    z = b.add("Exp", [y], outputs=["m/lowered"])
    check(b.build([b.add("Neg", [z], outputs=["m/lowered_1"])]))


NORMS = [
    ("LayerNormalization", (18, 5, 4), {"axis": 1}, (18, 5, 4)),
    ("LayerNormalization", (33,), {}, (33,)),
    ("LayerNormalization", (18, 5, 4), {"axis": 2}, None),
    ("LayerNormalization", (3, 5, 4), {"axis": 3}, None),
    ("InstanceNormalization", (18, 5, 4), {"epsilon": 0.01}, (18,)),
    ("InstanceNormalization", (3, 7), {}, (3,)),
    ("GroupNormalization", (18, 5, 4), {"num_groups": 3}, (18,)),
    ("GroupNormalization", (18, 5, 4), {"num_groups": 18}, (18,)),
    ("GroupNormalization", (12,), {"num_groups": 4}, (12,)),
]


@pytest.mark.parametrize(("op", "shape", "attributes", "vector"), NORMS, ids=str)
def test_normalisations_and_their_gradients(op, shape, attributes, vector):
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", *shape))
    rng = np.random.default_rng(0)
    vectors = [b.constant(rng.standard_normal(vector).astype(np.float32), name) for name in ("scale", "bias") if vector]
    y = b.add(op, [b.add("Abs", [x]), *vectors], attributes, name="y")
    graph, gradients = backward(b.build([y]), y, ["x", *vectors])
    check(graph.subgraph([y, *gradients.values()]))


def last(b, x):
    return b.add("Transpose", [x], {"perm": (0, 2, 3, 1)})


def first(b, x):
    return b.add("Transpose", [x], {"perm": (0, 3, 1, 2)})


def test_a_layer_norm_between_transposes_is_computed_where_the_channels_are():
    """ConvNeXt's; also where somebody reads channels last, and where another axis is normalised."""
    b, rng = GraphBuilder(), np.random.default_rng(0)
    x = b.input("x", "float32", ("N", 3, 6, 5))
    vectors = [b.constant(rng.standard_normal(18).astype(np.float32), name) for name in ("scale", "bias")]
    weight = b.constant(rng.standard_normal((18, 3, 3, 3)).astype(np.float32))
    y = last(b, b.add("Conv", [x, weight], {"pads": (1, 1, 1, 1)}))
    norm = b.add("LayerNormalization", [y, *vectors], {"axis": -1, "epsilon": 1e-3})
    pooled = b.add("GlobalAveragePool", [b.add("Relu", [first(b, norm)])])
    alone = b.build([pooled])
    program = check(alone)
    assert "strided_copy" not in instructions(program, alone)
    check(b.build([pooled, norm, first(b, b.add("LayerNormalization", [y, vectors[0]])), first(b, y)]))
    rows = b.constant(rng.standard_normal((5, 18)).astype(np.float32))
    check(b.build([first(b, b.add("LayerNormalization", [y, rows], {"axis": 2}))]))


@pytest.mark.parametrize("shape", [(33,), (18, 5, 4)], ids=str)
def test_dropout_after_a_flatten_reads_no_other_layout(shape):
    b = GraphBuilder()
    x, key = b.input("x", "float32", ("N", *shape)), b.input("key", "int64", (2,))
    y = b.add("Relu", [x])
    y = b.add("Flatten", [b.add("MaxPool", [y], {"kernel_shape": (2, 2)})]) if len(shape) > 1 else y
    y = expand_dropout(b, y, key, 0.4, node=3)
    graph, gradients = backward(b.build([y]), y, ["x"])
    check(graph.subgraph([y, gradients["x"]]))
