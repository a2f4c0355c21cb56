from __future__ import annotations

import itertools

import numpy as np
import pytest
from check import check

from convlens import reference
from convlens.graph import GraphBuilder
from convlens.program import Entry, Weights
from convlens.program import compile as compile_program


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [(0,), (1,), (2, 3), (0, 2, 3), (1, 2, 3), (0, 1, 2, 3)], ids=str)
@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMean", "ReduceMax"])
def test_reductions_of_images(op, axes, keepdims):
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 18, 3, 4))
    used = b.add("Relu", [b.add("MaxPool", [x], {"kernel_shape": (1, 1)})])
    outs = [b.add(op, [t, b.constant(np.array(axes))], {"keepdims": keepdims}) for t in (x, used)]
    check(b.build(outs))


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)], ids=str)
def test_reductions_of_vectors(axes):
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 18))
    check(b.build([b.add("ReduceMean", [x, b.constant(np.array(axes))], {"keepdims": 0})]))


def test_what_is_reduced_is_computed_with():
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 18, 3, 4))
    mean = b.add("ReduceMean", [x, b.constant(np.array([0, 2, 3]))])
    centred = b.add("Sub", [x, mean])
    variance = b.add("ReduceMean", [b.add("Mul", [centred, centred]), b.constant(np.array([0, 2, 3]))])
    deviation = b.add("Sqrt", [variance])
    plane = b.add("ReduceSum", [x, b.constant(np.array([1]))])
    check(b.build([b.add("Div", [centred, deviation]), b.add("Mul", [x, plane])]))


SHAPES = [
    ("N", 18),
    ("N", 3, 18),
    ("N", 18, 3, 4),
    ("N", 1, 3, 4),
    ("N", 3, 2, 4, 5),
    ("N", 2, 1, 3, 2, 2),
    (3, 4, 5),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2"])
def test_reductions_over_every_set_of_axes(op, shape):
    """Of what is given and of what an instruction made, and read by one afterwards."""
    b = GraphBuilder()
    x = b.input("x", "float32", shape)
    made = b.add("Exp", [x])
    outs = []
    for size in range(1, len(shape) + 1):
        for i, axes in enumerate(itertools.combinations(range(len(shape)), size)):
            if shape[0] == "N" and 0 in axes and op == "ReduceMean" and len(shape) > 5:
                continue
            y = b.add(op, [(x, made)[i % 2], b.constant(np.array(axes))], {"keepdims": i // 2 % 2})
            outs += [y, b.add("Neg", [y])]
    check(b.build(outs), dtypes=("float64",) if len(shape) > 5 else ("float32", "float64"))


def test_a_reduction_over_no_axis_is_what_it_reads():
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 3, 4))
    outs = [b.add(op, [x], {"noop_with_empty_axes": 1}) for op in ("ReduceSum", "ReduceMax")]
    outs += [b.add("ReduceL2", [x], {"noop_with_empty_axes": 1})]
    check(b.build([b.add("Neg", [y]) for y in outs]))


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_softmax_along_every_axis(op, axis):
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 5, 3, 18))
    outs = [b.add(op, [t], {"axis": axis}) for t in (x, b.add("Tanh", [x]))]
    check(b.build([*outs, b.add("Neg", [outs[0]])]))
    b = GraphBuilder()
    check(b.build([b.add(op, [b.input("x", "float32", ("N", 3, 2, 4, 2))], {"axis": axis + 1})]))


@pytest.mark.parametrize("op", ["Pad", "Resize"])
def test_pad_and_resize(op):
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 18, 3, 4))
    if op == "Pad":
        pads = b.constant(np.array([0, 0, 1, 2, 0, 0, 3, -1]))
        ys = [b.add("Pad", [t, pads, b.constant(np.float32(0.5))]) for t in (x, b.add("Relu", [x]))]
    else:
        sizes = b.constant(np.array([7, 9]))
        ys = [
            b.add("Resize", [x, "", "", sizes], {"mode": mode, "axes": (2, 3), "nearest_mode": nearest})
            for mode, nearest in [("linear", "round_prefer_floor"), ("nearest", "round_prefer_floor")]
        ]
    ys += [b.add("MaxPool", [y], {"kernel_shape": (2, 2)}) for y in ys]
    check(b.build(ys))


PLACES = [("N", 18), ("N", 5, 3, 4), ("N", 19, 7, 9), ("N", 2, 3, 2, 5), ("N", 1, 3), ("N", 3, 1, 1)]


@pytest.mark.parametrize("last", [0, 1], ids=["first", "last"])
@pytest.mark.parametrize("shape", PLACES, ids=str)
@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
def test_places_of_extrema_along_every_axis(op, shape, last):
    """Of ties the first or the last, of NaN too; of what is given and of what an instruction made."""
    b = GraphBuilder()
    x = b.input("x", "float32", shape)
    made = b.add("Relu", [b.add("Tanh", [x])])
    how = [
        {"axis": axis, "keepdims": keepdims, "select_last_index": last}
        for axis in (*range(1, len(shape)), -1)
        for keepdims in (0, 1)
    ]
    outs = [b.add(op, [t], attributes) for t in (x, made) for attributes in how]
    graph = b.build(outs)
    given = np.round(np.random.default_rng(0).normal(size=(3, *shape[1:])), 1).astype(np.float32)
    given[0].flat[:: max(1, given[0].size // 3)] = np.nan
    program = compile_program(graph, {"forward": Entry(inputs=("x",), outputs=graph.outputs)})
    ours, expected = program.run("forward", {"x": given}, Weights({})), reference.run(graph, {"x": given})
    for name in graph.outputs:
        assert ours[name].dtype == np.int64
        np.testing.assert_array_equal(ours[name], expected[name], err_msg=name)


def test_places_over_the_batch_or_computed_with_say_so():
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 3))
    with pytest.raises(ValueError, match=r"`axis` \(=0\) is the batch; images are not compared"):
        b.add("ArgMax", [x])
