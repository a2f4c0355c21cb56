from __future__ import annotations

import numpy as np
import pytest
from check import check

from convlens import UnsupportedError
from convlens.graph import GraphBuilder
from convlens.program import Entry, Weights, compile
from convlens.transform import backward


def weights(b, shape, *, given, name="w", seed=1):
    value = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return b.input(name, "float32", shape) if given else b.constant(value, name)


@pytest.mark.parametrize("trans", [0, 1])
@pytest.mark.parametrize("features", [(1, 1), (7, 3), (16, 16), (40, 33)], ids=str)
def test_linear_with_its_input_gradient(features, trans):
    f, k = features
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", f))
    w = weights(b, (k, f) if trans else (f, k), given=False)
    y = b.add("Gemm", [x, w, weights(b, (k,), given=False, name="b")], {"transB": trans}, name="y")
    r = b.add("Relu", [y])
    graph, grads = backward(b.build([r]), r, [x])
    graph = graph.subgraph((r, grads[x]))
    check(graph, {"forward": Entry((x,), (r,)), "backward": Entry(("seed",), (grads[x],))})


@pytest.mark.parametrize("shape", [(3, 4, 5), (16, 2, 2), (33, 1, 1), (20, 3, 3)], ids=str)
def test_a_flatten_is_absorbed_by_the_weight_in_both_directions(shape):
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", *shape))
    pooled = b.add("Tanh", [b.add("MaxPool", [x], {"kernel_shape": (1, 1)})])
    flat = b.add("Flatten", [pooled])
    w = weights(b, (10, int(np.prod(shape))), given=False)
    y = b.add("Gemm", [flat, w], {"transB": 1}, name="y")
    graph, grads = backward(b.build([y]), y, [x])
    program = check(graph.subgraph((y, grads[x])), {"all": Entry((x, "seed"), (y, grads[x]))})
    # in, pool, tanh, linear; gradient of linear, of tanh, of the pool, out. No reorder between.
    assert program.n_instructions <= 8


@pytest.mark.parametrize("trans", [0, 1])
def test_weight_gradients(trans):
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 5, 3, 2))
    flat = b.add("Flatten", [x])
    w = weights(b, (4, 30) if trans else (30, 4), given=bool(trans))
    y = b.add("Gemm", [flat, w, weights(b, (4,), given=True, name="b")], {"transB": trans}, name="y")
    wrt = ["w", "b"] if trans else ["b"]
    graph, grads = backward(b.build([y]), y, wrt)
    graph = graph.subgraph((y, *(grads[name] for name in wrt)))
    check(graph)


def test_one_weight_in_two_products():
    b = GraphBuilder()
    x, z = b.input("x", "float32", ("N", 12)), b.input("z", "float32", ("N", 3, 2, 2))
    w = weights(b, (5, 12), given=False)
    ys = [b.add("Gemm", [t, w], {"transB": 1}) for t in (x, b.add("Flatten", [b.add("Relu", [z])]))]
    check(b.build([b.add("Add", ys)]))


def test_a_stack_of_layers_reads_the_callers_memory():
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 12))
    h = b.add("Relu", [b.add("Gemm", [x, weights(b, (20, 12), given=False)], {"transB": 1})])
    y = b.add("Gemm", [h, weights(b, (3, 20), given=False, name="v")], {"transB": 1})
    program = check(b.build([b.add("Softmax", [y], {"axis": 1})]))
    assert program.n_instructions == 3


def test_what_gemm_does_not_support_names_the_node():
    b = GraphBuilder()
    x, w = b.input("x", "float32", ("N", 12)), weights(b, (5, 12), given=False)
    y = b.add("Gemm", [x, w], {"transB": 1, "alpha": 0.5}, name="fc")
    with pytest.raises(UnsupportedError, match=r"node 'fc' \(Gemm\): alpha \(=0.5\) .* must be 1"):
        compile(b.build([y]), {"run": Entry(("x",), (y,))})


PRODUCTS = [
    ((), 3, 4, 5),
    ((2,), 7, 5, 9),
    ((3, 2), 16, 16, 16),
    ((4,), 49, 32, 49),
    ((2,), 1, 1, 1),
    ((1,), 20, 400, 33),
]


@pytest.mark.parametrize(("lead", "rows", "inner", "columns"), PRODUCTS, ids=str)
def test_a_product_of_two_activations_with_its_gradients(lead, rows, inner, columns):
    """Of what is given, and of what instructions made and read."""
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", *lead, rows, inner))
    y = b.input("y", "float32", ("N", *lead, inner, columns))
    z = b.add("MatMul", [x, y])
    made = b.add("Softmax", [b.add("MatMul", [b.add("Relu", [x]), b.add("Tanh", [y])])], {"axis": -1})
    graph, grads = backward(b.build([z, made]), made, [x, y], seed="seed")
    entries = {
        "forward": Entry((x, y), (z, made)),
        "backward": Entry(("seed",), (grads[x], grads[y])),
    }
    program = check(graph.subgraph((z, made, grads[x], grads[y])), entries)
    largest = max(np.prod([d for d in kind.shape if d != "N"]) for kind in graph.types.values())
    assert program.arena_bytes(2, 1) - program.arena_bytes(1, 1) < 16 * 8 * (largest + 64)  # no product of all by all


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("lead", "inner", "other"), [((), 37, 21), ((2,), 20, 7)], ids=str)
def test_a_product_with_vectors_that_a_layer_made(lead, inner, other, side):
    """One pixel of many channels lies in blocks; as a matrix of one column it is read as plain."""
    b = GraphBuilder()
    channels = int(np.prod(lead, dtype=int)) * inner
    x = b.input("x", "float32", ("N", 6))
    vector = b.add("Relu", [b.add("Gemm", [x, weights(b, (6, channels), given=False)])])
    left = side == "left"
    shape = (0, *lead, 1, inner) if left else (0, *lead, inner, 1)
    made = b.add("Reshape", [vector, b.constant(np.array(shape), "shape")])
    matrix = b.input("m", "float32", ("N", *lead, inner, other) if left else ("N", *lead, other, inner))
    y = b.add("MatMul", [made, matrix] if left else [matrix, made])
    graph, grads = backward(b.build([y]), y, [x, matrix], seed="seed")
    check(graph.subgraph((y, grads[x], grads[matrix])))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradient_of_a_class_is_its_row_of_the_weight_beside_any_other(dtype):
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 70))
    weight = np.random.default_rng(0).standard_normal((2500, 70)).astype(np.float32)
    y = b.add("Gemm", [x, b.constant(weight, "w")], {"transB": 1})
    graph, gradients = backward(b.build([y]), y, [x])
    entries = {"forward": Entry((x,), (y,)), "backward": Entry(("seed",), (gradients[x],))}
    program, weights = compile(graph, entries, dtype=dtype), Weights(graph.constants)

    def gradient(seed):
        with program.workspace(len(seed)) as workspace:
            workspace.run("forward", {x: np.zeros((len(seed), 70), dtype)}, weights)
            return workspace.run("backward", {"seed": seed}, weights)[gradients[x]]

    classes = [0, 15, 16, 1233, 2499]
    seeds = np.zeros((len(classes) + 2, 2500), dtype)
    seeds[np.arange(len(classes)), classes] = 1.0
    seeds[-1] = np.random.default_rng(1).standard_normal(2500)
    together = gradient(seeds)
    assert np.array_equal(together[: len(classes)], weight[classes].astype(dtype))
    assert not together[-2].any()
    for i, seed in enumerate(seeds):
        assert np.array_equal(gradient(seed[np.newaxis])[0], together[i])
