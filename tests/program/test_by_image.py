"""Images that go through the large maps of a network one by one, and through the rest together."""

from __future__ import annotations

import numpy as np
import pytest
from check import random_inputs, run_program
from test_networks import Net

from convlens.program import Entry, Weights, compile
from convlens.transform import GRADIENT, backward


def joined():
    """Large maps, read at once, by a concatenation, a residual and the caller, and small ones after them."""
    net = Net((3, 128, 128))
    first = net.add("Relu", net.conv(net.x, 24, 3, pad=1))
    second = net.add("Relu", net.conv(first, 24, 3, pad=1))
    both = net.b.add("Concat", [first, second], {"axis": 1})
    pooled = net.add("MaxPool", both, kernel_shape=(2, 2), strides=(2, 2))
    added = net.add("Add", net.conv(pooled, 48, 1), pooled)
    halved = net.add("AveragePool", net.add("Exp", net.add("Neg", added)), kernel_shape=(2, 2), strides=(2, 2))
    late = net.add("Add", net.conv(halved, 32, 3, stride=4, pad=1), net.conv(added, 32, 1, stride=8))
    logits = net.linear(net.add("GlobalAveragePool", late), 5)
    return net.b.build([logits, both, added])


def slope():
    """Its gradient: of each image masks and winners are kept from the large maps on."""
    graph = joined()
    logits = graph.outputs[0]
    made, gradients = backward(graph.subgraph([logits]), logits, ("images",), GRADIENT)
    return made.subgraph([gradients["images"]])


def stem():
    """What leaves the large maps takes the place of what enters them: too early, unless all images are read by then."""
    net = Net((3, 64, 64))
    large = net.add("Relu", net.conv(net.x, 64, 7, stride=2, pad=3))
    pooled = net.add("MaxPool", large, kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    late = net.add("Relu", net.add("Add", net.conv(pooled, 64, 3, pad=1), pooled))
    return net.b.build([net.linear(net.add("GlobalAveragePool", late), 5)])


def squeezed():
    """What a large map is multiplied by is a mean of it."""
    net = Net((3, 96, 96))
    large = net.add("Sigmoid", net.conv(net.x, 40, 3, pad=1))
    scaled = net.add("Mul", large, net.add("Sigmoid", net.conv(net.add("GlobalAveragePool", large), 40, 1)))
    return net.b.build([net.linear(net.add("GlobalAveragePool", net.conv(scaled, 24, 1)), 5)])


def apart():
    """Nothing lies in the arena."""
    net = Net((3, 128, 128))
    return net.b.build([net.add("Relu", net.x), net.add("Sigmoid", net.x)])


def one(graph):
    return graph, {"run": Entry(tuple(graph.inputs), graph.outputs)}


def two(graph):
    """Its answer and its gradient in entries of their own: in each, images pass the large maps one by one."""
    logits = graph.outputs[0]
    made, gradients = backward(graph.subgraph([logits]), logits, ("images",), GRADIENT)
    entries = {"forward": Entry(("images",), (logits,)), "gradient": Entry(("seed",), (gradients["images"],))}
    return made.subgraph([logits, gradients["images"]]), entries


def kept():
    """What the gradient reads is written where a map lay that images go on reading one by one."""
    net = Net((8, 40, 40))
    y = net.conv(net.conv(net.x, 64, 3, pad=1), 32, 3, pad=1)
    y = net.add("Sigmoid", net.conv(net.add("Sigmoid", y), 32, 3, pad=1))
    return two(net.b.build([net.linear(net.add("GlobalAveragePool", y), 5)]))


CASES = {
    "forward": one(joined()),
    "gradient": one(slope()),
    "stem": one(stem()),
    "squeezed": one(squeezed()),
    "apart": one(apart()),
    "entries": two(joined()),
    "kept": kept(),
}


@pytest.mark.parametrize(("graph", "entries"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_batch_has_the_bits_of_its_images(graph, entries, dtype):
    program, weights = compile(graph, entries, dtype=dtype), Weights(graph.constants)
    given = random_inputs(graph, 6, dtype)
    for n in (2, 3, 5, 6):  # on 1, 1, 2 and 3 threads: of five images one is left when two threads took theirs
        together = run_program(program, entries, {k: v[:n] for k, v in given.items()}, weights, n, threads=n // 2)
        for i in range(n):
            alone = run_program(program, entries, {k: v[i : i + 1] for k, v in given.items()}, weights, 1)
            for name, value in together.items():
                np.testing.assert_array_equal(value[i : i + 1], alone[name], err_msg=f"{name}, image {i} of {n}")
