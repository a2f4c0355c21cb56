from __future__ import annotations

import numpy as np
import pytest
from check import check

from convlens.graph import GraphBuilder
from convlens.program import Entry
from convlens.transform import backward


@pytest.mark.parametrize("log_prob", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_and_its_gradient(reduction, log_prob):
    b = GraphBuilder()
    x, labels = b.input("x", "float32", ("N", 7)), b.input("labels", "int64", ("N",))
    logits = b.add("Tanh", [x])
    outputs = ["loss", "log_prob"] if log_prob else ["loss"]
    loss = b.add("SoftmaxCrossEntropyLoss", [logits, labels], {"reduction": reduction}, outputs=outputs)
    graph, grads = backward(b.build([loss]), loss, [x])
    graph = graph.subgraph((loss, grads[x]))
    program = check(graph, {"forward": Entry((x, labels), (loss,)), "backward": Entry(("seed",), (grads[x],))}, n=5)
    assert program.n_instructions <= 11


@pytest.mark.parametrize("shape", [("N", 5), ("N", 33), ("N", 5, 3, 2), ("N", 20, 2, 2)], ids=str)
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_softmax_and_its_gradient(op, shape):
    b = GraphBuilder()
    x = b.input("x", "float32", shape)
    y = b.add(op, [x], {"axis": 1})
    graph, grads = backward(b.build([y]), y, [x])
    check(graph.subgraph((y, grads[x])))


def test_logits_of_any_size_have_a_finite_loss():
    b = GraphBuilder()
    x, labels = b.input("x", "float32", ("N", 3)), b.input("labels", "int64", ("N",))
    loss = b.add("SoftmaxCrossEntropyLoss", [x, labels], {"reduction": "none"})
    inputs = {"x": np.array([[1e4, -1e4, 0], [-1e4, 1e4, 0]], np.float32), "labels": np.array([0, 0])}
    check(b.build([loss]), n=2, inputs=inputs)
