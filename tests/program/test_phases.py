"""Gradients of inputs of few channels: several pixels side by side as channels of one convolution."""

from __future__ import annotations

import numpy as np
import pytest
from check import check, instructions

from convlens.graph import GraphBuilder

# channels and size of the input, channels of dy, kernel, strides, pads (top, left, bottom, right)
SHAPES = {
    "stem": ((3, 16, 20), 8, (7, 7), (2, 2), (3, 3, 3, 3)),
    "mobile": ((3, 16, 14), 5, (3, 3), (2, 2), (1, 1, 1, 1)),
    "vgg": ((3, 12, 10), 20, (3, 3), (1, 1), (1, 1, 1, 1)),
    "digits": ((1, 12, 8), 4, (3, 3), (1, 1), (1, 1, 1, 1)),
    "patches": ((3, 16, 16), 4, (4, 4), (4, 4), (0, 0, 0, 0)),
    "odd": ((3, 9, 15), 5, (3, 3), (2, 2), (0, 0, 0, 0)),
    "alex": ((3, 31, 27), 4, (11, 11), (4, 4), (2, 2, 2, 2)),
    "asymmetric": ((2, 10, 13), 4, (5, 4), (1, 2), (2, 0, 1, 3)),
    "stride-beyond-kernel": ((1, 10, 9), 4, (2, 3), (3, 1), (0, 0, 0, 0)),
    "all-padding": ((1, 1, 3), 3, (5, 5), (1, 1), (4, 4, 4, 4)),
}


def gradient(name, scaled=False, alone=False):
    (c, *size), k, kernel, strides, pads = SHAPES[name]
    rng = np.random.default_rng(1)
    out = [(size[i] + pads[i] + pads[i + 2] - kernel[i]) // strides[i] + 1 for i in (0, 1)]
    b = GraphBuilder()
    dy = b.input("dy", "float32", ("N", k, *out))
    if not alone:
        dy = b.add("Tanh", [dy])
    w = b.constant(rng.standard_normal((k, c, *kernel)).astype(np.float32), "w")
    if scaled:
        dy = b.add("Mul", [dy, b.constant(rng.standard_normal((1, k, 1, 1)).astype(np.float32))])
    attributes = {"kernel_shape": kernel, "strides": strides, "pads": pads, "input_shape": (c, *size)}
    return b, b.add("ConvGradInput", [dy, w], attributes)


@pytest.mark.parametrize("scaled", [False, True], ids=["", "scaled"])
@pytest.mark.parametrize("name", SHAPES)
def test_gradient_is_a_convolution_and_a_copy(name, scaled):
    b, dx = gradient(name, scaled)
    graph = b.build([dx])
    ops = [op for op in instructions(check(graph), graph) if op not in ("reorder", "elementwise")]
    assert ops in (["conv2d", "strided_copy"], ["conv2d"])


def test_a_callers_arrays_keep_the_plain_kernel():
    b, dx = gradient("vgg", alone=True)
    graph = b.build([dx])
    assert instructions(check(graph), graph) == ["conv2d_grad_input_plain"]


def test_what_reads_the_gradient_may_be_anything():
    b, dx = gradient("stem")
    w = b.constant(np.random.default_rng(2).standard_normal((5, 3, 3, 3)).astype(np.float32))
    check(b.build([b.add("Conv", [b.add("Tanh", [dx]), w], {"kernel_shape": (3, 3)})]))


def test_a_scale_that_others_read_stays():
    b, dx = gradient("mobile", scaled=True)
    (product,) = (node.outputs[0] for node in b.build([dx]).nodes if node.op == "Mul")
    check(b.build([dx, product]))


@pytest.mark.parametrize("name", ["stem", "odd"])
def test_inputs_of_many_channels_keep_their_gradient(name):
    (_, *size), *rest = SHAPES[name]
    SHAPES["many"] = ((8, *size), *rest)
    try:
        b, dx = gradient("many")
    finally:
        del SHAPES["many"]
    graph = b.build([dx])
    assert any(op.startswith("conv2d_grad_input") for op in instructions(check(graph), graph))
