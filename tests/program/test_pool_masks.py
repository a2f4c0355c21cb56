from __future__ import annotations

import numpy as np
import pytest
from check import check

from convlens.graph import GraphBuilder
from convlens.program import Entry
from convlens.program._pool_masks import mask_before_pools
from convlens.transform import backward


def pooled(*, kernel=3, stride=2, shortcut=False):
    """A ReLU before a max pool, read by nothing else or by an addition too, and the gradient to the image."""
    b, rng = GraphBuilder(), np.random.default_rng(0)
    x = b.input("x", "float32", ("N", 3, 9, 11))
    y = b.add("Relu", [b.add("Sub", [x, b.constant(np.float32(0.3), "bar")])])
    top = b.add("MaxPool", [y], {"kernel_shape": (kernel, kernel), "strides": (stride, stride), "pads": (1, 1, 1, 1)})
    weight = b.constant(rng.standard_normal((2, 3, 1, 1)).astype(np.float32), "weight")
    top = b.add("ReduceMean", [b.add("Conv", [top, weight]), b.constant(np.array([2, 3]), "axes")])
    if shortcut:
        top = b.add("Add", [top, b.add("ReduceMean", [y, b.constant(np.array([1, 2, 3]), "all")])])
    graph, gradients = backward(b.build([top]), top, ["x"])
    return graph, {"forward": Entry(("x",), (top,)), "gradient": Entry(("seed",), (gradients["x"],))}


def joined(*, last=False):
    """Two ReLUs, or one and something else, side by side before a max pool."""
    b, rng = GraphBuilder(), np.random.default_rng(0)
    x = b.input("x", "float32", ("N", 16, 9, 11))
    ys = [b.add("Relu", [b.add("Sub", [x, b.constant(np.float32(0.3 * i), f"bar{i}")])]) for i in (1, 2)]
    y = b.add("Concat", [ys[0], x if last else ys[1]], {"axis": 1})
    top = b.add("MaxPool", [y], {"kernel_shape": (3, 3), "strides": (2, 2)})
    weight = b.constant(rng.standard_normal((2, 32, 1, 1)).astype(np.float32), "weight")
    top = b.add("ReduceMean", [b.add("Conv", [top, weight]), b.constant(np.array([2, 3]), "axes")])
    graph, gradients = backward(b.build([top]), top, ["x"])
    return graph, {"forward": Entry(("x",), (top,)), "gradient": Entry(("seed",), (gradients["x"],))}


def masked_sizes(graph):
    return [graph.types[node.outputs[0]].shape[2:] for node in graph.nodes if node.op == "Where"]


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (2, 2), (3, 3)])
def test_the_mask_of_a_relu_is_applied_to_the_pooled_gradient(kernel, stride):
    graph, entries = pooled(kernel=kernel, stride=stride)
    moved = mask_before_pools(graph, ())
    assert (9, 11) in masked_sizes(graph)
    assert (9, 11) not in masked_sizes(moved)
    assert len(masked_sizes(moved)) == len(masked_sizes(graph))
    check(graph, entries)  # the interpreter runs it as it was


def test_a_gradient_that_somebody_else_reads_or_adds_to_stays_as_it_is():
    graph, entries = pooled(shortcut=True)
    assert mask_before_pools(graph, ()) is graph
    check(graph, entries)
    graph, entries = pooled()
    spread = next(node.outputs[0] for node in graph.nodes if node.op == "MaxPoolGrad")
    assert mask_before_pools(graph, {spread}) is graph
    check(graph.subgraph((*graph.outputs, spread)), entries)  # which the entries leave alone


def test_masks_of_what_was_joined_are_one_before_the_pool():
    graph, entries = joined()
    before, after = masked_sizes(graph), masked_sizes(mask_before_pools(graph, ()))
    assert (before.count((9, 11)), after.count((9, 11))) == (2, 0)
    assert after.count((4, 5)) == before.count((4, 5)) + 1
    check(graph, entries)


def test_a_pool_of_which_a_part_has_no_mask_stays_as_it_is():
    graph, entries = joined(last=True)
    assert mask_before_pools(graph, ()) is graph
    check(graph, entries)
    graph, entries = joined()
    cut = next(node.outputs[0] for node in graph.nodes if node.op == "Slice")
    assert mask_before_pools(graph, {cut}) is graph
