"""Graphs and their builder."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from convlens import reference
from convlens.graph import GraphBuilder, Node, TensorType


def branches():
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 2, 3, 3))
    z = b.input("z", "float32", ("N", 2, 3, 3))
    w = b.constant(np.ones((2, 2, 1, 1), np.float32), "w")
    left = b.add("Conv", [x, w], name="left")
    right = b.add("Relu", [z], name="right")
    return b.build([b.add("Add", [left, right], name="sum")])


def test_subgraph_keeps_only_what_its_outputs_need():
    part = branches().subgraph(["right"])
    assert [node.name for node in part.nodes] == ["right"]
    assert list(part.inputs) == ["z"]
    assert not part.constants
    assert set(part.types) == {"z", "right"}
    part.validate()


def test_subgraph_keeps_the_types_of_outputs_that_nothing_reads():
    b = GraphBuilder()
    x, labels = b.input("x", "float32", ("N", 3)), b.input("labels", "int64", ("N",))
    b.add("SoftmaxCrossEntropyLoss", [x, labels], outputs=["loss", "log_prob"])
    b.build(["loss", "log_prob"]).subgraph(["loss"]).validate()


def test_subgraph_of_an_unknown_tensor_is_an_error():
    with pytest.raises(ValueError, match="output 'nothing' is not a tensor of the graph"):
        branches().subgraph(["nothing"])


def test_what_a_builder_made_is_valid():
    branches().validate()


def broken(**changes):
    return dataclasses.replace(branches(), **changes)


def test_validate_finds_a_node_that_reads_ahead():
    with pytest.raises(ValueError, match=r"node 'sum' \(Add\) reads 'left', which is not defined before it"):
        broken(nodes=tuple(reversed(branches().nodes))).validate()


def test_validate_finds_a_tensor_defined_twice():
    graph = branches()
    twice = (*graph.nodes, Node("Relu", ("x",), ("right",), name="again"))
    with pytest.raises(ValueError, match="tensor 'right' is defined twice"):
        broken(nodes=twice).validate()


def test_validate_finds_a_wrong_type():
    types = {**branches().types, "sum": TensorType("float32", ("N", 2, 3, 4))}
    with pytest.raises(ValueError, match=r"'sum' is float32\(N, 2, 3, 3\), but `types` says float32\(N, 2, 3, 4\)"):
        broken(types=types).validate()


def test_validate_finds_a_missing_output():
    with pytest.raises(ValueError, match="output 'gone' is not a tensor"):
        broken(outputs=("gone",)).validate()


def test_a_builder_refuses_undefined_and_doubly_defined_tensors():
    b = GraphBuilder()
    with pytest.raises(ValueError, match=r"node 'relu' \(Relu\) reads 'x', which is not defined before it"):
        b.add("Relu", ["x"])
    b.input("x", "float32", (3,))
    with pytest.raises(ValueError, match="tensor 'x' is defined twice"):
        b.constant(1.0, "x")


def test_fresh_names_never_collide():
    b = GraphBuilder()
    x = b.input("relu_1", "float32", (3,))
    names = [b.add("Relu", [x]) for _ in range(3)]
    assert len({*names, x}) == 4


def test_inlining_runs_a_graph_twice_over_the_same_weights():
    graph = branches()
    b = GraphBuilder(graph)
    base = b.input("base", "float32", ("N", 2, 3, 3))
    names = b.inline(graph, {"x": base, "z": base}, suffix="@baseline")
    assert names["sum"] == "sum@baseline"
    assert names["w"] == "w"
    both = b.build(["sum", names["sum"]])
    both.validate()
    rng = np.random.default_rng(0)
    x, z, base_value = rng.normal(size=(3, 2, 2, 3, 3)).astype(np.float32)
    results = reference.run(both, {"x": x, "z": z, "base": base_value})
    alone = reference.run(graph, {"x": base_value, "z": base_value})
    np.testing.assert_array_equal(results["sum@baseline"], alone["sum"])
    assert not np.array_equal(results["sum"], alone["sum"])


def test_inlining_without_an_input_names_it():
    with pytest.raises(ValueError, match="nothing for the input 'z'"):
        GraphBuilder(branches()).inline(branches(), {"x": "x"})


def test_producers_and_consumers():
    graph = branches()
    assert graph.producers()["sum"].op == "Add"
    assert [node.name for node in graph.consumers()["x"]] == ["left"]
