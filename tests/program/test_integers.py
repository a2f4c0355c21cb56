"""Quantised layers: whole numbers stay exact from the first product to the rounding."""

from __future__ import annotations

import numpy as np
import pytest
from check import check

from convlens import reference
from convlens.graph import GraphBuilder
from convlens.program import Entry, Weights, compile
from convlens.transform import backward

RANGE = {"low": 0, "high": 255}
X_SCALE, X_ZERO, Y_SCALE, Y_ZERO = np.float32(0.0371), np.float32(101), np.float32(0.0983), np.float32(17)

# Attributes, shapes of x (without the batch) and of the weight; how the scale of the weight lies.
LAYERS = {
    "few channels": ("Conv", {"pads": (1, 1, 1, 1)}, (3, 9, 7), (8, 3, 3, 3)),
    "many channels": ("Conv", {"strides": (2, 1)}, (40, 6, 9), (33, 40, 3, 2)),
    "depthwise": ("Conv", {"group": 20, "pads": (1, 1, 1, 1)}, (20, 8, 8), (20, 1, 3, 3)),
    "groups": ("Conv", {"group": 3, "dilations": (2, 1)}, (12, 8, 8), (18, 4, 3, 3)),
    "pointwise": ("Conv", {}, (64, 5, 5), (48, 64, 1, 1)),
    "signals": ("Conv", {"pads": (1, 1)}, (5, 30), (6, 5, 3)),
    "rows": ("Gemm", {"transB": 1}, (70,), (10, 70)),
    "columns": ("Gemm", {}, (70,), (70, 10)),
}


def layer(name, per_channel, bias=True):
    """Quantize(layer(Dequantize(x), Dequantize(w), Dequantize(b))), with x given as whole numbers; and its arrays."""
    op, attributes, shape, w_shape = LAYERS[name]
    rng = np.random.default_rng(3)
    out = 1 if name == "columns" else 0
    k = w_shape[out]
    w = rng.integers(-127, 128, w_shape).astype(np.float32)
    scale = rng.uniform(0.001, 0.003, k if per_channel else 1).astype(np.float32)
    along = [1] * len(w_shape)
    along[out] = -1
    w_scale = scale.reshape(along if per_channel else ())
    b = rng.integers(-9000, 9000, k).astype(np.float32)
    g = GraphBuilder()
    q = g.input("q", "float32", ("N", *shape))
    zero = g.constant(np.float32(0), "zero")
    x = g.add("Dequantize", [q, g.constant(X_SCALE, "xs"), g.constant(X_ZERO, "xz")], name="x")
    operands = [x, g.add("Dequantize", [g.constant(w, "w"), g.constant(w_scale, "ws"), zero], name="weight")]
    if bias:
        steps = (X_SCALE * scale).astype(np.float32)
        operands.append(
            g.add("Dequantize", [g.constant(b, "b"), g.constant(steps if per_channel else steps[0]), zero], name="bias")
        )
    y = g.add(op, operands, attributes, name="y")
    g.add("Quantize", [y, g.constant(Y_SCALE, "ys"), g.constant(Y_ZERO, "yz")], RANGE, name="out")
    x_whole = rng.integers(0, 256, (3, *shape)).astype(np.float32)
    return g, x_whole, w, scale, b if bias else np.zeros(k, np.float32)


def slowly(name, q, w, scale, bias):
    """Sums in whole numbers of 64 bits, times one float32, rounded."""
    op, attributes, _, _ = LAYERS[name]
    steps = q.astype(np.float64) - X_ZERO
    if op == "Gemm":
        sums = steps @ (w.T if attributes else w).astype(np.float64)
    else:
        b = GraphBuilder()
        names = [b.input("x", "float64", ("N", *q.shape[1:])), b.constant(w.astype(np.float64))]
        sums = reference.run(b.build([b.add("Conv", names, attributes, name="s")]), {"x": steps})["s"]
    sums = (sums + bias.reshape((-1,) + (1,) * (q.ndim - 2))).astype(np.int64)
    assert np.abs(sums).max() < 2**24
    factor = ((X_SCALE * scale) / Y_SCALE).reshape((-1,) + (1,) * (q.ndim - 2))
    assert factor.dtype == np.float32
    return np.clip(np.rint(sums.astype(np.float32) * factor) + Y_ZERO, 0, 255), sums


def run(graph, x, outputs, dtype="float32"):
    program = compile(graph, {"run": Entry(("q",), outputs)}, dtype=dtype)
    return program.run("run", {"q": x.astype(dtype)}, Weights(graph.constants))


@pytest.mark.parametrize("per_channel", [False, True], ids=["one scale", "one a channel"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_quantised_layer_is_exact(name, per_channel, isa):
    g, x, w, scale, bias = layer(name, per_channel)
    want, _ = slowly(name, x, w, scale, bias)
    assert np.mean((want > 0) & (want < 255)) > 0.3
    np.testing.assert_array_equal(run(g.build(["out"]), x, ("out",))["out"], want)


@pytest.mark.parametrize("per_channel", [False, True], ids=["one scale", "one a channel"])
def test_numbers_next_to_a_half_are_rounded_as_one_product_is(per_channel):
    """Of millions of elements some lie within a rounding of a half: a second rounding would move them by a step."""
    rng, y_scale = np.random.default_rng(5), np.float32(0.00147)
    w = rng.integers(-127, 128, (96, 8, 1, 1)).astype(np.float32)
    scale = rng.uniform(0.004, 0.006, 9999).astype(np.float32)
    once = (X_SCALE.astype(np.float64) * scale / y_scale).astype(np.float32)
    scale = scale[once != X_SCALE * scale / y_scale][: 96 if per_channel else 1]  # where rounding the product counts
    g = GraphBuilder()
    q, zero = g.input("q", "float32", ("N", 8, 160, 160)), g.constant(np.float32(0))
    x = g.add("Dequantize", [q, g.constant(X_SCALE), g.constant(X_ZERO)])
    w_scale = g.constant(scale.reshape((-1, 1, 1, 1) if per_channel else ()))
    y = g.add("Conv", [x, g.add("Dequantize", [g.constant(w), w_scale, zero])])
    g.add("Quantize", [y, g.constant(y_scale), g.constant(Y_ZERO)], {"low": -(2**15), "high": 2**15}, name="out")
    images = rng.integers(0, 256, (2, 8, 160, 160)).astype(np.float32)
    sums = np.einsum("kc,nchw->nkhw", w[:, :, 0, 0].astype(np.float64), images - X_ZERO).astype(np.float32)
    factor = (X_SCALE * scale / y_scale).reshape(-1, 1, 1)
    exact = sums.astype(np.float64) * factor
    assert np.mean(np.abs(exact - np.floor(exact) - 0.5) < 3e-5) > 1e-5
    got = run(g.build(["out"]), images, ("out",))["out"]
    np.testing.assert_array_equal(got, np.clip(np.rint(sums * factor) + Y_ZERO, -(2**15), 2**15))


@pytest.mark.parametrize("name", ["many channels", "rows"])
def test_the_real_tensor_may_be_asked_for_beside_it(name):
    g, x, w, scale, bias = layer(name, True)
    want, sums = slowly(name, x, w, scale, bias)
    got = run(g.build(["out"]), x, ("y", "out"))
    np.testing.assert_array_equal(got["out"], want)
    real = sums * (X_SCALE.astype(np.float64) * scale).reshape((-1,) + (1,) * (x.ndim - 2))
    np.testing.assert_allclose(got["y"], real, rtol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_without_a_bias_and_in_double_it_is_the_oracle(name):
    g, x, *_ = layer(name, True, bias=False)
    check(g.build(["out", "y"]), inputs={"q": x}, dtypes=("float64",))


@pytest.mark.parametrize("name", ["few channels", "rows"])
def test_masks_of_the_gradient_see_the_same_whole_numbers(name):
    g, x, w, scale, bias = layer(name, False)
    want, _ = slowly(name, x, w, scale, bias)
    out = g.add("Dequantize", ["out", "ys", "yz"], name="real")
    full, found = backward(g.build([out]), out, ["q"])
    entries = {"forward": Entry(("q",), (out, "out")), "backward": Entry(("seed",), (found["q"],))}
    program = compile(full, entries)
    with program.workspace(3) as workspace:
        forward = workspace.run("forward", {"q": x}, Weights(full.constants))
        seed = np.ones_like(forward[out])
        got = workspace.run("backward", {"seed": seed}, Weights(full.constants))[found["q"]]
    np.testing.assert_array_equal(forward["out"], want)
    double = reference.run(full, {"q": x, "seed": seed}, [found["q"]], dtype="float64")[found["q"]]
    np.testing.assert_allclose(got, double, atol=1e-5 * np.abs(double).max())


def test_what_moves_elements_moves_whole_numbers():
    g = GraphBuilder()
    q = g.input("q", "float32", ("N", 4, 6, 6))
    x = g.add("Dequantize", [q, g.constant(X_SCALE), g.constant(X_ZERO)])
    pooled = g.add("MaxPool", [x], {"kernel_shape": (2, 2), "strides": (2, 2)})
    rng = np.random.default_rng(0)
    w = rng.integers(-127, 128, (36, 5)).astype(np.float32)
    weight = g.add("Dequantize", [g.constant(w), g.constant(np.float32(0.002)), g.constant(np.float32(3))])
    y = g.add("Gemm", [g.add("Flatten", [pooled]), weight])
    g.add("Quantize", [y, g.constant(Y_SCALE), g.constant(Y_ZERO)], RANGE, name="out")
    images = rng.integers(0, 256, (5, 4, 6, 6)).astype(np.float32)
    sums = (images.reshape(5, 4, 3, 2, 3, 2).max((3, 5)).reshape(5, 36) - X_ZERO) @ (w - 3)
    want = np.clip(np.rint(sums * (X_SCALE * np.float32(0.002) / Y_SCALE)) + Y_ZERO, 0, 255)
    np.testing.assert_array_equal(run(g.build(["out"]), images, ("out",))["out"], want)


@pytest.mark.parametrize(("op", "attributes", "shape"), [("Conv", {}, (4, 4, 2, 2)), ("Gemm", {"transB": 1}, (4, 4))])
def test_a_scale_of_each_input_channel_is_none_of_each_output_channel(op, attributes, shape):
    g, rng = GraphBuilder(), np.random.default_rng(0)
    q = g.input("q", "float32", ("N", 4, 3, 3) if op == "Conv" else ("N", 4))
    x = g.add("Dequantize", [q, g.constant(X_SCALE), g.constant(X_ZERO)])
    scale = np.array([0.001, 0.01, 0.1, 1], np.float32).reshape(-1, *(1,) * (len(shape) - 2))
    w = g.constant(rng.integers(-127, 128, shape).astype(np.float32))
    y = g.add(op, [x, g.add("Dequantize", [w, g.constant(scale), g.constant(np.float32(0))])], attributes)
    g.add("Quantize", [y, g.constant(np.float32(5)), g.constant(Y_ZERO)], RANGE, name="out")
    images = rng.integers(0, 256, (3, *g.types[q].shape[1:])).astype(np.float32)
    graph = g.build(["out"])
    want = reference.run(graph, {"q": images}, dtype="float64")["out"]
    np.testing.assert_array_equal(run(graph, images, ("out",))["out"], want)


def test_other_grids_are_the_oracle():
    """A scale of each image, a layer of real weights, and a grid of a tensor nobody multiplies."""
    g = GraphBuilder()
    x = g.input("x", "float32", ("N", 3, 5, 4))
    scale = g.add("StopGradient", [g.input("scale", "float32", ("N", 1, 1, 1))])
    step = g.add("Add", [g.add("Mul", [scale, scale]), g.constant(np.float32(0.01))])
    zero = g.constant(np.float32(5))
    q = g.add("Quantize", [x, step, zero], {"low": -128, "high": 127})
    real = g.add("Dequantize", [q, step, zero], name="real")
    weight = g.constant(np.random.default_rng(0).standard_normal((4, 3, 2, 2)).astype(np.float32))
    y = g.add("Conv", [real, weight])
    channels = [g.constant(np.array(v, np.float32).reshape(-1, 1, 1)) for v in ([0.5, 0.1, 0.25, 1], [0, 3, -7, 1])]
    last = g.add("Quantize", [y, *channels], {"low": -8, "high": 7})
    check(g.build([real, last]), dtypes=("float64",))


def test_rounding_is_to_even_everywhere(isa):
    g = GraphBuilder()
    g.add("Round", [g.input("q", "float32", ("N", 16))], name="y")
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997, 2**22 + 0.5, 2**22 + 1.5, -(2**22) - 0.5, 2**24, 3e9])
    x = np.concatenate([x, [-0.0, np.inf, -np.inf, np.nan]]).reshape(1, 16)
    for dtype in ("float32", "float64"):
        got = run(g.build(["y"]), x, ("y",), dtype)["y"]
        np.testing.assert_array_equal(got, np.rint(x.astype(dtype)))
        np.testing.assert_array_equal(np.signbit(got[0, :15]), np.signbit(np.rint(x[0, :15])))
