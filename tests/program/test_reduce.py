from __future__ import annotations

import numpy as np
import pytest
from check import check

from convlens import UnsupportedError
from convlens.graph import GraphBuilder
from convlens.program import Entry, compile


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


def test_one_spatial_axis_is_unsupported():
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 3, 4, 5))
    y = b.add("ReduceSum", [x, b.constant(np.array([2]))], name="rows")
    with pytest.raises(UnsupportedError, match=r"node 'rows' \(ReduceSum\): axes .* supported: batch, channels"):
        compile(b.build([y]), {"run": Entry(("x",), (y,))})


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
