"""Simplifications change the graph, never its values."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import reference
from convlens.graph import GraphBuilder
from convlens.transform import backward, eliminate_common, fold_constants, prune


def sample():
    b = GraphBuilder()
    x = b.input("x", "float64", ("N", 3))
    w = b.constant(np.array([1.0, 2.0, 3.0]), "w")
    two = b.constant(np.array(2.0), "two")
    also_two = b.constant(np.array(2.0), "also_two")
    scaled = b.add("Mul", [w, two], name="scaled")
    first = b.add("Mul", [x, two], name="first")
    second = b.add("Mul", [x, also_two], name="second")
    return b.build([b.add("Add", [b.add("Add", [first, second], name="sum"), scaled], name="y")])


X = np.array([[1.0, -1.0, 0.5]])


def test_constant_expressions_are_computed_once():
    folded = fold_constants(sample())
    folded.validate()
    np.testing.assert_array_equal(folded.constants["scaled"], [2, 4, 6])
    assert [node.name for node in folded.nodes] == ["first", "second", "sum", "y"]
    assert "w" not in folded.constants
    np.testing.assert_array_equal(reference.run(folded, {"x": X})["y"], reference.run(sample(), {"x": X})["y"])


def test_kept_constants_are_not_folded():
    folded = fold_constants(sample(), keep=["w"])
    assert "scaled" in folded.producers()


def test_equal_expressions_are_computed_once():
    small = eliminate_common(sample())
    small.validate()
    assert [node.name for node in small.nodes] == ["scaled", "first", "sum", "y"]
    assert small.nodes[2].inputs == ("first", "first")
    assert set(small.constants) == {"w", "two"}
    np.testing.assert_array_equal(reference.run(small, {"x": X})["y"], reference.run(sample(), {"x": X})["y"])


def test_outputs_keep_their_names():
    graph = sample()
    b = GraphBuilder(graph)
    both = eliminate_common(b.build(["first", "second", "y"]))
    both.validate()
    assert both.outputs == ("first", "second", "y")
    results = reference.run(both, {"x": X})
    np.testing.assert_array_equal(results["first"], results["second"])


def test_equal_weights_stay_apart_for_they_may_be_rebound():
    b = GraphBuilder()
    x = b.input("x", "float64", ("N", 3))
    for name in ("bias1", "bias2"):
        x = b.add("Add", [x, b.constant(np.zeros(3), name)])
    assert set(eliminate_common(b.build([x])).constants) == {"bias1", "bias2"}


@pytest.mark.parametrize("attributes", [{"axis": 1}, {"axis": 2}])
def test_attributes_tell_nodes_apart(attributes):
    b = GraphBuilder()
    x = b.input("x", "float64", ("N", 3, 4))
    y = b.add("Sub", [b.add("Softmax", [x], {"axis": 1}), b.add("Softmax", [x], attributes)])
    assert len(eliminate_common(b.build([y])).nodes) == (2 if attributes == {"axis": 1} else 3)


def test_two_backward_halves_share_their_masks():
    b = GraphBuilder()
    x = b.input("x", "float64", ("N", 3))
    y = b.add("Relu", [x], name="y")
    graph, first = backward(b.build([y]), "y", ["x"], seed="one")
    graph, second = backward(graph, "y", ["x"], seed="other")
    small = eliminate_common(graph)
    small.validate()
    assert sum(node.op == "Greater" for node in small.nodes) == 1
    results = reference.run(small, {"x": X, "one": np.ones((1, 3)), "other": 2 * np.ones((1, 3))})
    np.testing.assert_array_equal(2 * results[first["x"]], results[second["x"]])


def test_pruning_drops_what_nothing_needs():
    small = prune(sample(), ["first"])
    assert [node.name for node in small.nodes] == ["first"]
    assert set(small.constants) == {"two"}
