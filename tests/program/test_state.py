from __future__ import annotations

import numpy as np
import pytest
from check import close

from convlens import reference
from convlens.graph import GraphBuilder
from convlens.program import Entry, State, Weights, compile
from convlens.transform import backward

RNG = np.random.default_rng


def training_graph(kind: str, trans: int = 1):
    """A network of `kind` with momentum: the states, and what each becomes."""
    b = GraphBuilder()
    rate = b.input("rate", "float32", ())
    if kind == "linear":
        x = b.input("x", "float32", ("N", 3, 4, 2))
        states = {"w": (5, 24) if trans else (24, 5), "b": (5,)}
        for name, shape in states.items():
            b.input(name, "float32", shape)
        y = b.add("Gemm", [b.add("Flatten", [x]), "w", "b"], {"transB": trans})
    else:
        x = b.input("x", "float32", ("N", 3, 6, 5))
        states = {"conv": (18, 3, 3, 3), "cb": (18,), "w": (5, 18 * 6), "b": (5,)}
        for name, shape in states.items():
            b.input(name, "float32", shape)
        y = b.add("Conv", [x, "conv", "cb"], {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)})
        y = b.add("MaxPool", [b.add("Relu", [y])], {"kernel_shape": (2, 2), "strides": (2, 2)})
        y = b.add("Gemm", [b.add("Flatten", [y]), "w", "b"], {"transB": 1})
    labels = b.input("labels", "int64", ("N",))
    loss = b.add("SoftmaxCrossEntropyLoss", [y, labels], {"reduction": "mean"}, name="loss")
    graph, grads = backward(b.build([loss]), loss, list(states))
    b = GraphBuilder(graph)
    updates = {}
    tenth = b.constant(np.float32(0.9))
    for name, shape in dict(states).items():
        moment = b.input(f"{name}.moment", "float32", shape)
        states[moment] = shape
        updates[moment] = b.add("Add", [b.add("Mul", [moment, tenth]), grads[name]])
        updates[name] = b.add("Sub", [name, b.add("Mul", [updates[moment], rate])])
    return b.build([loss, y]), updates, states


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "trans"), [("linear", 1), ("linear", 0), ("conv", 1)])
def test_three_steps_agree_with_the_oracle(kind, trans, dtype):
    graph, updates, shapes = training_graph(kind, trans)
    inputs = ("x", "labels", "rate", "seed")
    program = compile(graph, {"step": Entry(inputs, graph.outputs)}, dtype=dtype, updates=updates)
    rng = RNG(0)
    values = {name: rng.standard_normal(shape).astype(dtype) * 0.3 for name, shape in shapes.items()}
    state = State(values)
    for step in range(3):
        n = 4 + step
        given = {
            "x": rng.standard_normal((n, *graph.types["x"].per_image)).astype(dtype),
            "labels": rng.integers(0, 5, n),
            "rate": np.array(0.1, dtype),
            "seed": np.array(1.0, dtype),
        }
        results = program.run("step", given, Weights(graph.constants), state)
        wide = {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in {**given, **values}.items()}
        expected = reference.run(graph, wide, [*results, *updates.values()], dtype="float64")
        for name, value in results.items():
            close(value, expected[name], dtype, name)
        values = {name: expected[tensor] for name, tensor in updates.items()}
        for name, value in state.arrays().items():
            close(value, values[name], dtype, name)


def test_an_update_needs_no_reorder():
    graph, updates, _ = training_graph("linear")
    program = compile(graph, {"step": Entry(("x", "labels", "rate", "seed"), ("loss",))}, updates=updates)
    # linear, loss, its mean, ones, their sum, share, gradient, two weight gradients, two updates; the loss goes out
    assert program.n_instructions <= 13


def test_a_state_read_after_its_update_was_computed_keeps_its_old_value_until_then():
    b = GraphBuilder()
    s, x = b.input("s", "float32", (6,)), b.input("x", "float32", ("N", 6))
    new = b.add("ReduceMean", [b.add("Add", [x, s]), b.constant(np.array([0]))], {"keepdims": 0})
    y = b.add("Mul", [b.add("Sub", [x, new]), s])  # needs the new value and the old one
    graph = b.build([y])
    program = compile(graph, {"step": Entry(("x",), (y,))}, updates={"s": new})
    state = State({"s": np.arange(6, dtype=np.float32)})
    value = RNG(0).standard_normal((3, 6)).astype(np.float32)
    results = program.run("step", {"x": value}, Weights(graph.constants), state)
    mean = (value + np.arange(6)).mean(0)
    close(results[y], (value - mean) * np.arange(6), "float32")
    close(state["s"], mean, "float32")


def test_padding_of_packed_weights_stays_zero():
    """An update that turns zeros into something else runs over the plain array instead."""
    b = GraphBuilder()
    w, x = b.input("w", "float32", (3, 5)), b.input("x", "float32", ("N", 5))
    y = b.add("Gemm", [x, w], {"transB": 1})
    graph = b.build([y])
    b = GraphBuilder(graph)
    new = b.add("Exp", [w])
    graph = b.build([y])
    program = compile(graph, {"step": Entry(("x",), (y,))}, updates={"w": new})
    value = RNG(0).standard_normal((3, 5)).astype(np.float32)
    state = State({"w": value})
    x = np.ones((2, 5), np.float32)
    for _ in range(2):
        result = program.run("step", {"x": x}, Weights(graph.constants), state)[y]
        close(result, x @ value.T, "float32")
        value = np.exp(value)
        close(state["w"], value, "float32")


def test_what_is_missing_is_named():
    graph, updates, _ = training_graph("linear")
    program = compile(graph, {"step": Entry(("x", "labels", "rate", "seed"), ("loss",))}, updates=updates)
    given = {
        "x": np.zeros((1, 3, 4, 2), np.float32),
        "labels": np.zeros(1, np.int64),
        "rate": np.float32(0.1).reshape(()),
        "seed": np.ones((), np.float32),
    }
    weights = Weights(graph.constants)
    with pytest.raises(ValueError, match=r"`state` is missing; this Program updates 'w.moment', 'w', 'b.moment', 'b'"):
        program.run("step", given, weights)
    with pytest.raises(ValueError, match=r"`state` lacks 'w.moment'"):
        program.run("step", given, weights, State({"w": np.zeros((5, 24), np.float32)}))
    with pytest.raises(ValueError, match=r"`state` 'w.*' has shape \(2,\); the Program was compiled for \(5, 24\)"):
        program.run("step", given, weights, State({n: np.zeros(2, np.float32) for n in updates}))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_running_sum_over_images_has_the_same_bits_however_they_are_cut(dtype):
    b = GraphBuilder()
    x, total = b.input("x", "float32", ("N", 3, 9, 7)), b.input("total", "float32", (4, 8, 6))
    weight = b.constant(RNG(0).standard_normal((4, 3, 2, 2)).astype(np.float32), "w")
    y = b.add("Relu", [b.add("Conv", [x, weight], {"kernel_shape": (2, 2)})])
    after = b.add("Add", [total, b.add("ReduceSum", [y, b.constant(np.array([0]))], {"keepdims": 0})])
    graph = b.build([after])
    program = compile(graph, {"add": Entry(("x",), ())}, dtype=dtype, updates={"total": after})
    images, first = RNG(1).standard_normal((7, 3, 9, 7)).astype(dtype), RNG(2).standard_normal((4, 8, 6)).astype(dtype)

    def summed(parts, threads):
        state, start = State({"total": first}), 0
        for n in parts:
            with program.workspace(n) as workspace:
                workspace.run("add", {"x": images[start : start + n]}, Weights(graph.constants), state, threads=threads)
            start += n
        return state["total"]

    whole = summed([7], 1)
    for parts in ([3, 4], [1] * 7, [0, 5, 2]):
        for threads in (1, 2, 3):
            assert np.array_equal(summed(parts, threads), whole)
    want = reference.run(graph, {"x": images, "total": first}, [after], dtype="float64")[after]
    assert np.abs(whole - want).max() <= 30 * np.finfo(dtype).eps * np.abs(want).max()
