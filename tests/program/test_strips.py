"""Three convolutions of a block that go strip by strip have the bits of one after the other."""

from __future__ import annotations

import numpy as np
import pytest
from check import random_inputs, run_program
from test_networks import Net

from convlens import _core
from convlens.program import Entry, Weights, compile

# Kernel, stride, padding and dilation of the depthwise convolution; rows and columns of the image.
BLOCKS = {
    "k3": (3, 1, (1, 1, 1, 1), 1, (61, 40)),
    "k3 stride 2": (3, 2, (0, 1, 1, 0), 1, (62, 45)),
    "k5": (5, 1, (2, 2, 2, 2), 1, (49, 44)),
    "k5 stride 2": (5, 2, (1, 1, 2, 2), 1, (64, 40)),
    "k3 dilation 3": (3, 1, (3, 3, 3, 3), 3, (57, 40)),
    "k3 without padding": (3, 1, (0, 0, 0, 0), 1, (59, 48)),
    "k2 stride 4": (2, 4, (1, 0, 0, 0), 1, (90, 48)),
    "k1": (1, 1, (0, 0, 0, 0), 1, (40, 48)),
    "k1 within padding": (1, 1, (24, 0, 24, 0), 1, (9, 700)),
    "large": (3, 1, (1, 1, 1, 1), 1, (112, 112)),
    "after a strided 3 x 3": (3, 1, (1, 1, 1, 1), 1, (260, 120)),
}


def block(name, size=None):
    """One with a clip, one with a residual; what lies between the three, and the results."""
    k, stride, pads, dilation, usual = BLOCKS[name]
    net = Net((6, *(size or usual)))
    h, between, made = net.add("Relu", net.conv(net.x, 24, 1)), [], []
    for residual in (False, True):
        wide = 96 if name == "large" else 40
        first = {"stride": 2, "pad": 1} if name.startswith("after") else {}
        expanded = net.conv(h, wide, 3 if first else 1, **first)
        expanded = net.add("Clip", expanded, net.b.constant(np.float32(0)), net.b.constant(np.float32(6)))
        attributes = {"strides": (stride,) * 2, "pads": pads, "group": wide, "dilations": (dilation,) * 2}
        weights = [net.constant(wide, 1, k, k), net.constant(wide)]
        deep = net.b.add("Conv", [expanded, *weights], {"kernel_shape": (k, k), **attributes})
        deep = net.add("Relu", deep)
        h = net.conv(deep, 24, 1)
        if residual and net.b.types[h].shape == net.b.types[made[-1]].shape:
            h = net.add("Add", h, made[-1])
        between += [expanded, deep]
        made.append(h)
        if stride > 1:
            break
    # What lies beyond them is computed too.
    return net.b.build([net.conv(h, 8, 3, pad=1), *made]), between


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_strips_have_the_bits_of_one_after_the_other(name, dtype):
    graph, _ = block(name)
    entries = {"run": Entry(tuple(graph.inputs), graph.outputs[:1])}
    program, weights = compile(graph, entries, dtype=dtype), Weights(graph.constants)
    # After a strided one the first block's result lies where its input did.
    assert len(program.strips) == (2 if BLOCKS[name][1] == 1 and not name.startswith("after") else 1)
    assert sum(c.algorithm.endswith(", strip by strip") for c in program.convolutions) == 3 * len(program.strips)
    given = random_inputs(graph, 2, dtype)
    _core.set_strips(False)
    try:
        apart = run_program(program, entries, given, weights, 2, threads=2)
    finally:
        _core.set_strips(True)
    (output,) = apart
    for threads in (1, 2, 3, 5):
        for i in range(2):
            alone = {k: v[i : i + 1] for k, v in given.items()}
            made = run_program(program, entries, alone, weights, 1, threads=threads)
            np.testing.assert_array_equal(made[output], apart[output][i : i + 1], err_msg=f"{threads} threads")
        made = run_program(program, entries, given, weights, 2, threads=threads)
        np.testing.assert_array_equal(made[output], apart[output], err_msg=f"{threads} threads, two images")


def test_what_lies_between_is_made_where_it_is_asked_for():
    graph, between = block("k3")
    graph = graph.subgraph([graph.outputs[0]])
    for tensor in between[:2]:
        asked = compile(graph, {"run": Entry(tuple(graph.inputs), (graph.outputs[0], tensor))})
        assert len(asked.strips) == 1


def test_small_blocks_go_one_after_the_other():
    graph, _ = block("k3", size=(20, 20))
    assert compile(graph, {"run": Entry(tuple(graph.inputs), graph.outputs[:1])}).strips == ()
