from __future__ import annotations

import numpy as np
import pytest
from check import check, instructions, random_inputs, run_program

from convlens import UnsupportedError
from convlens.graph import GraphBuilder
from convlens.program import Entry, Weights, compile
from convlens.transform import backward


def ints(b, *values):
    return b.constant(np.array(values, np.int64))


def conv(b, x, k, r=1, seed=0):
    c = int(b.types[x].shape[1])
    w = np.random.default_rng(seed).standard_normal((k, c, r, r)) / np.sqrt(c * r * r)
    return b.add("Conv", [x, b.constant(w.astype(np.float32))], {"pads": (r // 2,) * 4})


SHAPES = [("N", 18), ("N", 18, 5), ("N", 18, 3, 4), ("N", 3, 2, 4, 5), ("N", 2, 3, 1, 4, 2), (3, 4, 5), (6,)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_concat_along_every_axis(shape):
    """Of inputs, of what instructions made, of the same tensor twice; read by an instruction and asked for."""
    b = GraphBuilder()
    x = b.input("x", "float32", shape)
    made, outs = b.add("Exp", [x]), []
    for axis in range(int(shape[0] == "N"), len(shape)):
        longer = b.input(f"y{axis}", "float32", (*shape[:axis], 7, *shape[axis + 1 :]))
        y = b.add("Concat", [x, longer, made, x], {"axis": axis})
        outs += [y, b.add("Neg", [y]), b.add("Concat", [made, longer], {"axis": axis - len(shape)})]
    check(b.build(outs))


def test_concat_of_more_inputs_than_an_instruction_has():
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 3, 2, 4, 2))
    parts = [b.add("Mul", [x, b.constant(np.float32(i))]) for i in range(40)]
    outs = [b.add("Concat", parts, {"axis": axis}) for axis in (1, 2, 4)]
    outs.append(b.add("Concat", [b.add("Flatten", [p]) for p in parts[:17]], {"axis": 1}))
    check(b.build(outs))


CUTS = [
    ("N", 18, 5, 4),
    [
        ((2,), (9,), (1,), (1,)),
        ((16,), (18,), (1,), (1,)),
        ((1,), (4,), (2,), (1,)),
        ((-3,), (2**63 - 1,), (3,), (1,)),
        ((1, 1), (4, 3), (2, 3), (1, 1)),
        ((0, 1), (2**31 - 1, 5), (0, 1), (1, 1)),
        ((0,), (99,), (1,), (2,)),
        ((1, 0), (99, 99), (2, 3), (2, 3)),
        ((-1,), (-99,), (3,), (-1,)),
        ((17, -1, 3), (3, -99, 0), (1, 2, 3), (-5, -1, -2)),
        ((0,), (18,), (1,), (1,)),
    ],
]


@pytest.mark.parametrize("cut", CUTS[1], ids=str)
def test_slices(cut):
    b = GraphBuilder()
    x = b.input("x", "float32", CUTS[0])
    made = b.add("MaxPool", [x], {"kernel_shape": (1, 1)})
    outs = [b.add("Slice", [t, *(ints(b, *values) for values in cut)]) for t in (x, made)]
    outs += [conv(b, y, 3, 3) if i % 2 else b.add("Relu", [y]) for i, y in enumerate(outs)]
    check(b.build(outs))


@pytest.mark.parametrize(
    ("shape", "axis", "start", "step"),
    [((18, 6), 2, 1, 2), ((3, 2, 4, 5), 3, 3, -1), ((3, 2, 4, 5), 1, 1, 1), ((40,), 1, 3, 1), ((40,), 1, 39, -3)],
    ids=str,
)
def test_slices_of_other_ranks(shape, axis, start, step):
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", *shape))
    operands = [ints(b, v) for v in (start, start + 4 * step if step > 0 else -(2**31), axis, step)]
    check(b.build([b.add("Slice", [x, *operands]), b.add("Slice", [b.add("Exp", [x]), *operands])]))


def test_split_is_a_slice_for_each_part():
    b = GraphBuilder()
    x = conv(b, b.input("x", "float32", ("N", 3, 4, 5)), 40)
    outs = ["a", "b", "c", "d", "e"]
    b.add("Split", [x, ints(b, 7, 16, 17)], {"axis": 1}, outputs=outs[:3])
    b.add("Split", [x], {"axis": 3, "num_outputs": 2}, outputs=outs[3:])
    check(b.build([*outs, b.add("Relu", ["b"]), b.add("Concat", ["c", "a", "b"], {"axis": 1})]))


@pytest.mark.parametrize("perm", [(0, 2, 1, 3), (0, 3, 2, 1), (0, 2, 3, 1), (0, 1, 3, 2), (0, 1, 2, 3)], ids=str)
def test_transpose(perm):
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 18, 3, 4))
    outs = [b.add("Transpose", [t], {"perm": perm}) for t in (x, conv(b, x, 17))]
    check(b.build([*outs, *(conv(b, y, 2, 3) for y in outs)]))


def test_transpose_of_other_ranks_and_of_axes_of_size_one():
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 2, 3, 4, 5, 2, 3))
    w, flat = b.input("w", "float32", (4, 5)), b.input("y", "float32", ("N", 7, 1, 6))
    outs = [b.add("Transpose", [x], {"perm": (0, 6, 2, 4, 3, 1, 5)}), b.add("Transpose", [w])]
    outs += [b.add("Transpose", [flat], {"perm": perm}) for perm in ((0, 2, 1, 3), (0, 3, 2, 1))]
    check(b.build([*outs, *(b.add("Neg", [y]) for y in outs)]))


def test_expand_squeeze_and_unsqueeze():
    b = GraphBuilder()
    x, row = b.input("x", "float32", ("N", 18, 1, 4)), b.input("row", "float32", (3, 1))
    outs = [b.add("Expand", [x, ints(b, 1, 18, 5, 4)]), b.add("Expand", [x, ints(b, 1)])]
    outs += [b.add("Expand", [row, ints(b, 2, 1, 4)]), b.add("Squeeze", [x, ints(b, 2)]), b.add("Squeeze", [x])]
    outs += [b.add("Unsqueeze", [x, ints(b, 1, -1)])]
    check(b.build([*outs, *(b.add("Exp", [y]) for y in outs)]))


@pytest.mark.parametrize("shape", [(6, 20), (6, 4, 5), (6, 2, 2, 5), (3, 2, 4, 5), (24, 5)], ids=str)
def test_reshapes_that_keep_the_channels_move_nothing(shape):
    """(6, 4, 5) as (6, 20) is no crop."""
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 6, 4, 5))
    outs = [b.add("Reshape", [t, ints(b, 0, *shape)]) for t in (x, conv(b, x, 6))]
    last = [b.add("ReduceMax", [y, ints(b, -1)]) for y in outs]
    check(b.build([*outs, *last, *(b.add("Sub", [y, m]) for y, m in zip(outs, last, strict=True))]))


def test_pads_of_any_axis():
    b = GraphBuilder()
    x, line = b.input("x", "float32", ("N", 3, 4, 5)), b.input("y", "float32", ("N", 3, 6))
    value = b.constant(np.float32(0.5))
    outs = [
        b.add("Pad", [x, ints(b, 0, 2, 1, -1, 0, 15, 0, 2), value]),
        b.add("Pad", [line, ints(b, 0, 1, 2, 0, 0, -3)]),
        b.add("Pad", [x, ints(b, -3, 5), value, ints(b, 1)]),
    ]
    check(b.build([*outs, conv(b, outs[0], 2, 3)]))


def shuffle(b, x, groups):
    _, c, h, w = b.types[x].shape
    y = b.add("Reshape", [x, ints(b, 0, groups, c // groups, h, w)])
    return b.add("Reshape", [b.add("Transpose", [y], {"perm": (0, 2, 1, 3, 4)}), ints(b, 0, c, h, w)])


def group_norm(b, x, groups):
    _, c, h, w = b.types[x].shape
    y = b.add("Reshape", [x, ints(b, 0, groups, c // groups, h, w)])
    axes = ints(b, 2, 3, 4)
    centred = b.add("Sub", [y, b.add("ReduceMean", [y, axes])])
    variance = b.add("ReduceMean", [b.add("Mul", [centred, centred]), axes])
    scaled = b.add("Div", [centred, b.add("Sqrt", [b.add("Add", [variance, b.constant(np.float32(1e-3))])])])
    return b.add("Reshape", [scaled, ints(b, 0, c, h, w)])


@pytest.mark.parametrize("groups", [2, 3])
def test_channel_shuffle_and_group_norm(groups):
    b = GraphBuilder()
    x = conv(b, b.input("x", "float32", ("N", 4, 5, 6)), 18, 3)
    for make in (shuffle, group_norm):
        x = conv(b, make(b, x, groups), 24, 3)
    check(b.build([x]))


# -- the same bits -----------------------------------------------------------------------------------------------------


def moves():
    """Every move once, between convolutions that look beyond the edges."""
    b = GraphBuilder()
    x = conv(b, b.input("images", "float32", ("N", 3, 7, 6)), 20, 3)
    y = b.add("Concat", [x, conv(b, x, 13, 3), b.add("Relu", [x])], {"axis": 1})
    y = conv(b, b.add("Slice", [y, ints(b, 9), ints(b, 45), ints(b, 1)]), 18, 3)
    y = b.add("Slice", [y, ints(b, 6, 1), ints(b, -99, 6), ints(b, 2, 3), ints(b, -2, 1)])
    y = b.add("Concat", [y, b.add("Neg", [y])], {"axis": 3})
    y = conv(b, shuffle(b, y, 3), 4, 3)
    mean = b.add("ReduceMean", [y, ints(b, 3)])
    return b.build([conv(b, b.add("Mul", [y, mean]), 5, 3), b.add("Softmax", [y], {"axis": 2})])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moves_have_the_same_bits_for_threads_and_batches(dtype):
    graph = moves()
    check(graph)
    entry = {"run": Entry(("images",), graph.outputs)}
    program, weights = compile(graph, entry, dtype=dtype), Weights(graph.constants)
    inputs = random_inputs(graph, 5, dtype)
    whole = run_program(program, entry, inputs, weights, 5, threads=1)
    for threads in (2, 3):
        again = run_program(program, entry, inputs, weights, 5, threads=threads)
        assert all(np.array_equal(whole[name], again[name]) for name in whole)
    for start, stop in ((0, 2), (2, 5), (0, 0)):
        part = run_program(program, entry, {"images": inputs["images"][start:stop]}, weights, stop - start)
        assert all(np.array_equal(whole[name][start:stop], part[name]) for name in whole)


# -- layout ------------------------------------------------------------------------------------------------------------


def dense_block(b, x):
    for i in range(4):
        y = conv(b, b.add("Relu", [conv(b, x, 32, seed=i)]), 16, 3, seed=i)
        x = b.add("Concat", [x, y], {"axis": 1})
    return x


def fire(b, x):
    s = b.add("Relu", [conv(b, x, 16)])
    return b.add("Concat", [b.add("Relu", [conv(b, s, 64)]), b.add("Relu", [conv(b, s, 64, 3)])], {"axis": 1})


def inception(b, x):
    pool = b.add("MaxPool", [x], {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)})
    branches = [conv(b, x, 24), conv(b, conv(b, x, 96), 40, 3), conv(b, conv(b, x, 16), 8, 5), conv(b, pool, 9)]
    return b.add("Concat", branches, {"axis": 1})


def unshuffle(b, x):
    """ShuffleNet's split, one half passed on."""
    c = int(b.types[x].shape[1])
    b.add("Split", [x, ints(b, c // 2, c - c // 2)], {"axis": 1}, outputs=[f"{x}a", f"{x}b"])
    return b.add("Concat", [f"{x}a", conv(b, f"{x}b", c - c // 2, 3)], {"axis": 1})


def shuffled_halves(b, x):
    """ShuffleNet's block: halves that begin and end within a block of channels."""
    return shuffle(b, unshuffle(b, x), 2)


@pytest.mark.parametrize("block", [dense_block, fire, inception, unshuffle, shuffled_halves])
def test_a_network_that_joins_channels_has_no_reorder(block):
    """Images are read plain by the first convolution; but for the last instruction, the result's, nothing is."""
    b = GraphBuilder()
    x = conv(b, b.input("images", "float32", ("N", 3, 9, 8)), 40, 1)
    for _ in range(2):
        x = block(b, x)
        x = b.add("AveragePool", [conv(b, x, 48)], {"kernel_shape": (2, 2)})
    graph = b.build([b.add("GlobalAveragePool", [block(b, x)])])
    program = check(graph)
    assert len(program.concatenations) >= 3
    assert {"reorder", "strided_copy"}.isdisjoint(instructions(program, graph)[:-1])


def test_what_is_no_number_is_named():
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 3, 4))
    mask = b.add("Greater", [x, b.constant(np.float32(0))])
    y = b.add("Transpose", [mask], {"perm": (0, 2, 1)}, name="turn")
    with pytest.raises(UnsupportedError, match=r"node 'turn' \(Transpose\): .* is bool.* supported: float32 and"):
        compile(b.build([y]), {"run": Entry(("x",), (y,))})


# -- backward ----------------------------------------------------------------------------------------------------------


def squeeze_and_excite(b, x):
    c = int(b.types[x].shape[1])
    gate = b.add("Sigmoid", [conv(b, b.add("Relu", [conv(b, b.add("GlobalAveragePool", [x]), 5)]), c)])
    return b.add("Mul", [gate, x])


def spatial_gate(b, x):
    """(N, 1, H, W) by (N, C, 1, 1) by (N, C, H, W), and over columns."""
    plane = b.add("ReduceMax", [x, ints(b, 1)])
    pixel = b.add("ReduceMean", [x, ints(b, 2, 3)])
    columns = b.add("ReduceMean", [x, ints(b, 2)])
    return b.add("Mul", [b.add("Mul", [plane, pixel]), b.add("Add", [x, columns])])


BLOCKS = [squeeze_and_excite, spatial_gate, dense_block, fire, inception, unshuffle, shuffled_halves]
BLOCKS += [lambda b, x: shuffle(b, x, 3), lambda b, x: group_norm(b, x, 3)]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: b.__name__.strip("<>"))
def test_gradients_of_blocks_agree_with_the_oracle(block):
    b = GraphBuilder()
    x = conv(b, b.input("images", "float32", ("N", 3, 6, 5)), 18, 3)
    y = b.add("GlobalAveragePool", [conv(b, block(b, x), 4, 3)])
    graph, found = backward(b.build([y]), y, ["images"])
    check(graph, {"all": Entry(("images", "seed"), (y, found["images"]))})
    check(graph, {"f": Entry(("images",), (y,)), "b": Entry(("seed",), (found["images"],))}, n=0)
    check(graph, {"f": Entry(("images",), (y,)), "b": Entry(("seed",), (found["images"],))})


def test_parameters_of_any_shape_are_trained():
    """A gradient is summed over what an operand was repeated along: an image's, a column's, a transposed one's."""
    b = GraphBuilder()
    x = b.input("images", "float32", ("N", 4, 3, 5))
    place, column = b.input("place", "float32", (1, 4, 3, 5)), b.input("column", "float32", (5,))
    turned = b.input("turned", "float32", (3, 4))
    rows = b.add("Reshape", [b.add("Transpose", [turned]), ints(b, 4, 3, 1)])
    y = b.add("Mul", [b.add("Mul", [b.add("Add", [x, place]), column]), rows])
    y = b.add("ReduceSum", [b.add("Tanh", [y])], {"keepdims": 0})
    one = b.constant(np.float32(1), "one")
    graph, found = backward(b.build([y]), y, ["place", "column", "turned"], seed=one)
    check(graph, {"all": Entry(tuple(graph.inputs), (y, *found.values()))})
