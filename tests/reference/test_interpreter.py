"""The interpreter of graphs."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import ops, reference
from convlens.graph import OPERATORS, GraphBuilder
from convlens.reference import _run


def classifier():
    rng = np.random.default_rng(0)
    b = GraphBuilder()
    x = b.input("images", "float32", ("N", 2, 6, 5))
    w = b.constant(rng.normal(size=(4, 2, 3, 3)).astype(np.float32), "w")
    y = b.add("MaxPool", [b.add("Relu", [b.add("Conv", [x, w], name="conv")])], {"kernel_shape": (2, 1)}, name="pool")
    dense = b.constant(rng.normal(size=(3, 4 * 3 * 3)).astype(np.float32), "dense")
    return b.build([b.add("Gemm", [b.add("Flatten", [y]), dense], {"transB": 1}, name="logits")])


def images(n=2, dtype=np.float32):
    return np.random.default_rng(1).normal(size=(n, 2, 6, 5)).astype(dtype)


def test_every_function_of_ops_has_an_oracle_of_its_name():
    forward = {name for name in dir(ops) if not name.startswith("_") and "_grad" not in name}
    assert forward - {"get_num_threads", "set_num_threads"} <= set(dir(reference))


def test_every_operator_has_an_oracle():
    assert set(_run._TABLE) == set(OPERATORS)


def test_a_graph_is_its_operations_in_turn():
    graph, x = classifier(), images()
    pooled = reference.max_pool2d(reference.relu(reference.conv2d(x, graph.constants["w"])), (2, 1), stride=1)
    expected = reference.linear(reference.flatten(pooled), graph.constants["dense"])
    np.testing.assert_array_equal(reference.run(graph, {"images": x})["logits"], expected)


def test_inner_tensors_are_served_and_only_their_part_runs():
    results = reference.run(classifier(), {"images": images()}, ["pool", "conv"])
    assert {name: value.shape for name, value in results.items()} == {"pool": (2, 4, 3, 3), "conv": (2, 4, 4, 3)}


def test_float64_computes_everything_in_float64():
    narrow = reference.run(classifier(), {"images": images()})["logits"]
    wide = reference.run(classifier(), {"images": images()}, dtype="float64")["logits"]
    assert (narrow.dtype, wide.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(narrow, wide, rtol=1e-5)
    assert not np.array_equal(narrow, wide)


def test_no_images_give_no_rows():
    assert reference.run(classifier(), {"images": images(0)})["logits"].shape == (0, 3)


@pytest.mark.parametrize(
    ("inputs", "outputs", "text"),
    [
        ({}, None, r"input 'images' is missing; it is float32\(N, 2, 6, 5\)"),
        ({"image": images()}, None, r"`inputs` holds 'image'; the graph's inputs are images"),
        (
            {"images": images()[:, :1]},
            None,
            r"input 'images' has shape \(2, 1, 6, 5\); it must be float32\(N, 2, 6, 5\)",
        ),
        ({"images": images(dtype=np.float64)}, None, r"input 'images' has dtype float64; it must be float32"),
        ({"images": images()}, ["logit"], r"output 'logit' is not a tensor of the graph"),
    ],
)
def test_wrong_requests_are_named(inputs, outputs, text):
    with pytest.raises(ValueError, match=text):
        reference.run(classifier(), inputs, outputs)


def test_batched_inputs_must_agree_on_the_batch():
    b = GraphBuilder()
    x, y = (b.input(name, "float32", ("N", 2)) for name in "xy")
    graph = b.build([b.add("Add", [x, y], name="sum")])
    with pytest.raises(ValueError, match=r"input 'y' has shape \(3, 2\)"):
        reference.run(graph, {"x": np.zeros((2, 2), np.float32), "y": np.zeros((3, 2), np.float32)})


def one(op, operands, attributes=None):
    b = GraphBuilder()
    names = [b.constant(operand) if operand is not None else "" for operand in operands]
    b.input("unused", "float32", ("N",))
    graph = b.build([b.add(op, names, attributes or {}, name="y")])
    return reference.run(graph, {})["y"]


A = np.array([[-1.0, 0.0, 2.0]])
EYE = np.eye(2)


@pytest.mark.parametrize(
    ("op", "operands", "attributes", "expected"),
    [
        (
            "Gemm",
            [2 * EYE, np.array([[1.0, 2], [3, 4]]), np.array([1.0, 1])],
            {"alpha": 2.0, "beta": 3.0, "transB": 1},
            [[7, 15], [11, 19]],
        ),
        ("Gemm", [np.array([[1.0, 2], [3, 4]]), EYE], {"transA": 1}, [[1, 3], [2, 4]]),
        ("Clip", [A, None, np.array(1.0)], {}, [[-1, 0, 1]]),
        ("Sign", [A], {}, [[-1, 0, 1]]),
        ("Where", [A > 0, A, np.array(9.0)], {}, [[9, 9, 2]]),
        ("Div", [np.array([7, -7]), np.array([2, 2])], {}, [3, -3]),
        ("GreaterOrEqual", [A, np.array(0.0)], {}, [[False, True, True]]),
        ("ReduceMax", [A, np.array([1])], {}, [[2]]),
        ("ReduceMean", [A], {"keepdims": 0}, 1 / 3),
        ("ReduceSum", [A, np.array([0])], {"keepdims": 0}, [-1, 0, 2]),
        ("Reshape", [A, np.array([3, -1])], {}, [[-1], [0], [2]]),
        ("Pad", [A, np.array([0, 1, 0, -1]), np.array(5.0)], {}, [[5, -1, 0]]),
        ("Max", [A, np.array(0.5)], {}, [[0.5, 0.5, 2]]),
    ],
)
def test_operators_by_hand(op, operands, attributes, expected):
    np.testing.assert_array_equal(one(op, operands, attributes), np.array(expected))
