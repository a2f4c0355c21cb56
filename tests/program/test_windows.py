"""Transposed convolutions, signals, global and adaptive pools, resizing: forwards and backwards, against the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from check import check, random_inputs, run_program

from convlens import UnsupportedError
from convlens.graph import GraphBuilder
from convlens.program import Entry, Weights, compile
from convlens.transform import backward, expand_adaptive_pool

CONV1 = {"strides": (2,), "pads": (2, 1), "dilations": (2,)}
# operator, shape of an image or signal, shape of the weight, attributes
CONVOLUTIONS = {
    "transposed": ("ConvTranspose", (18, 5, 4), (18, 7, 3, 2), {"strides": (2, 3), "output_padding": (1, 2)}),
    "cut": ("ConvTranspose", (3, 5, 4), (3, 20, 3, 3), {"strides": (2, 2), "pads": (0, 1, 1, 2)}),
    "stride-beyond-kernel": ("ConvTranspose", (5, 3, 3), (5, 17, 2, 2), {"strides": (3, 4), "output_padding": (2, 0)}),
    "dilated": ("ConvTranspose", (16, 4, 5), (16, 16, 3, 2), {"dilations": (2, 3), "pads": (1, 1, 1, 1)}),
    "grouped": ("ConvTranspose", (24, 4, 4), (24, 5, 3, 3), {"group": 3, "strides": (2, 2), "pads": (1, 1, 1, 1)}),
    "depthwise": ("ConvTranspose", (20, 4, 5), (20, 1, 4, 4), {"group": 20, "strides": (2, 2), "pads": (1, 1, 1, 1)}),
    "pixel": ("ConvTranspose", (40, 1, 1), (40, 9, 4, 4), {}),
    "pixels-below": ("Conv", (18, 5, 4), (20, 18, 1, 1), {"pads": (0, 1, 4, 6)}),
    "windows-below": ("Conv", (18, 5, 4), (20, 18, 3, 3), {"strides": (2, 1), "pads": (1, 0, 7, 9)}),
    "signal-transposed": ("ConvTranspose", (18, 9), (18, 4, 4), {"strides": (3,), "pads": (1, 0), "group": 1}),
    "signal": ("Conv", (18, 19), (5, 18, 4), CONV1),
    "signal-depthwise": ("Conv", (20, 12), (20, 1, 3), {"group": 20, "pads": (1, 1)}),
    "signal-of-few": ("Conv", (2, 30), (17, 2, 7), {"pads": (3, 3)}),
}
SIGNAL_POOL = {"kernel_shape": (3,), "strides": (2,), "pads": (1, 0), "ceil_mode": 1}
LINEAR = {"mode": "linear"}
# operator, shape, attributes; a pair is the output size of Resize, a triple with a 1 scales
PLAIN = {
    "max-signal": ("MaxPool", (18, 12), SIGNAL_POOL),
    "average-signal": ("AveragePool", (18, 12), {**SIGNAL_POOL, "count_include_pad": 1}),
    "global-average-signal": ("GlobalAveragePool", (18, 12), {}),
    "global-max-signal": ("GlobalMaxPool", (18, 600), {}),
    "global-max": ("GlobalMaxPool", (18, 5, 4), {}),
    "global-max-large": ("GlobalMaxPool", (3, 20, 30), {}),
}
RESIZES = {
    "up": ((18, 5, 4), (11, 8), LINEAR),
    "down": ((18, 11, 8), (5, 3), LINEAR),
    "corners": ((3, 5, 4), (9, 1), {**LINEAR, "coordinate_transformation_mode": "align_corners"}),
    "asymmetric": ((18, 5, 4), (9, 9), {**LINEAR, "coordinate_transformation_mode": "asymmetric"}),
    "pytorch": ((9, 5, 4), (1, 9), {**LINEAR, "coordinate_transformation_mode": "pytorch_half_pixel"}),
    "nearest": ((18, 5, 4), (9, 3), {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
    "nearest-ceil": ((2, 5, 4), (7, 11), {"nearest_mode": "ceil"}),
    "ratio": ((18, 5, 4), (2.3, 0.7), LINEAR),
    "cubic": ((18, 5, 4), (11, 3), {"mode": "cubic", "cubic_coeff_a": -0.5}),
    "cubic-inside": ((3, 5, 4), (2.3, 0.7), {"mode": "cubic", "exclude_outside": 1}),
    "cubic-antialias": ((18, 11, 9), (4, 12), {"mode": "cubic", "antialias": 1}),
    "linear-antialias": ((3, 11, 9), (4, 5), {**LINEAR, "antialias": 1, "exclude_outside": 1}),
    "linear-inside": ((18, 5, 4), (9, 9), {**LINEAR, "exclude_outside": 1}),
    "symmetric": ((18, 5, 4), (2.3, 0.7), {**LINEAR, "coordinate_transformation_mode": "half_pixel_symmetric"}),
    "not-larger": ((3, 5, 4), (7, 9), {**LINEAR, "keep_aspect_ratio_policy": "not_larger"}),
    "not-smaller": ((3, 5, 4), (7, 9), {"keep_aspect_ratio_policy": "not_smaller"}),
    "area": ((18, 7, 5), (3, 4), {"mode": "area"}),
    "area-up": ((5, 3, 4), (5, 4), {"mode": "area"}),
    "pixel-up": ((18, 1, 1), (3, 4), LINEAR),
    "to-pixel": ((18, 3, 4), (1, 1), LINEAR),
    "signal": ((18, 9), (20,), LINEAR),
    "signal-nearest": ((2, 9), (2.5,), {}),
}


def both_ways(b, y, wrt):
    graph, gradients = backward(b.build([y]), y, wrt)
    outputs = tuple(gradients.values())
    entries = {"forward": Entry(("x",), (y,)), "backward": Entry(("seed",), outputs)}
    return graph.subgraph((y, *outputs)), entries


@pytest.mark.parametrize("around", [False, True], ids=["alone", "in a network"])
@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_and_their_gradients(name, bias, around):
    op, shape, weight_shape, attributes = CONVOLUTIONS[name]
    rng, b = np.random.default_rng(0), GraphBuilder()
    x = b.input("x", "float64", ("N", *shape))
    w = b.constant(rng.normal(size=weight_shape), "w")
    channels = weight_shape[1] * attributes.get("group", 1) if op == "ConvTranspose" else weight_shape[0]
    operands = [b.add("Relu", [x]) if around else x, w]
    operands += [b.constant(rng.normal(size=channels), "b")] if bias else []
    y = b.add(op, operands, attributes)
    if around:  # a residual, and a reader that needs a halo
        y = b.add("Relu", [b.add("Add", [y, b.add("Tanh", [y])])])
    check(*both_ways(b, y, ["x", "w", *(["b"] if bias else [])]))


@pytest.mark.parametrize("name", PLAIN)
def test_pools_and_their_gradients(name):
    op, shape, attributes = PLAIN[name]
    b = GraphBuilder()
    x = b.input("x", "float64", ("N", *shape))
    check(*both_ways(b, b.add(op, [x], attributes), ["x"]))


@pytest.mark.parametrize("around", [False, True], ids=["alone", "in a network"])
@pytest.mark.parametrize("name", RESIZES)
def test_resizing_and_its_gradient(name, around):
    shape, size, attributes = RESIZES[name]
    b = GraphBuilder()
    x = b.input("x", "float64", ("N", *shape))
    scaled = any(isinstance(s, float) for s in size)
    to = b.constant(np.array(size))
    rank = len(shape) + 1
    h = b.add("Tanh", [x]) if around else x
    inputs = [h, "", to] if scaled else [h, "", "", to]
    y = b.add("Resize", inputs, {**attributes, "axes": tuple(range(2, rank))})
    if around and rank == 4:
        w = b.constant(np.random.default_rng(1).normal(size=(4, shape[0], 3, 3)), "w")
        y = b.add("Conv", [y, w], {"pads": (1, 1, 1, 1)})
    check(*both_ways(b, y, ["x"]))


@pytest.mark.parametrize("maximum", [False, True], ids=["average", "maximum"])
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        *[((18, 7, 5), (3, 4)), ((3, 8, 6), (4, 2)), ((18, 3, 2), (5, 3))],
        *[((2, 40, 36), (2, 1)), ((18, 11), (4,)), ((3, 6, 6), (1, 1))],
    ],
    ids=str,
)
def test_adaptive_pools_and_their_gradients(shape, size, maximum):
    b = GraphBuilder()
    x = b.input("x", "float64", ("N", *shape))
    check(*both_ways(b, expand_adaptive_pool(b, x, size, maximum=maximum), ["x"]))


def test_a_transposed_convolution_is_one_instruction_with_its_bias_and_residual():
    b = GraphBuilder()
    x, other = b.input("x", "float32", ("N", 16, 4, 4)), b.input("other", "float32", ("N", 16, 8, 8))
    w, bias = b.constant(np.ones((16, 16, 2, 2), np.float32)), b.constant(np.ones(16, np.float32))
    y = b.add("ConvTranspose", [x, w, bias], {"strides": (2, 2)})
    program = check(b.build([b.add("Add", [y, other])]))
    assert program.n_instructions == 4  # two reorders in, one out


def test_a_scale_between_a_convolution_and_a_transposed_one_is_taken_once():
    b = GraphBuilder()
    x, scale = b.input("x", "float64", ("N", 6, 7, 5)), b.constant(np.linspace(0.5, 1.5, 4).reshape(4, 1, 1))
    w, v = (
        b.constant(np.random.default_rng(i).normal(size=size)) for i, size in enumerate([(4, 6, 3, 3), (4, 3, 2, 2)])
    )
    scaled = b.add("Mul", [b.add("Conv", [x, w]), scale])
    check(*both_ways(b, b.add("ConvTranspose", [scaled, v], {"strides": (2, 2)}), ["x"]))


def test_threads_and_batch_do_not_change_a_bit():
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 18, 9, 7))
    w = b.constant(np.random.default_rng(0).normal(size=(18, 12, 3, 3)).astype(np.float32))
    h = b.add("ConvTranspose", [x, w], {"strides": (2, 2), "pads": (1, 1, 1, 1), "output_padding": (1, 0)})
    h = b.add("Resize", [h, "", "", b.constant(np.array([25, 30]))], {**LINEAR, "axes": (2, 3)})
    y = expand_adaptive_pool(b, expand_adaptive_pool(b, h, (7, 8), maximum=True), (3, 5), maximum=False, name="end")
    graph, entries = both_ways(b, y, ["x"])
    program, weights = compile(graph, entries), Weights(graph.constants)
    inputs = random_inputs(graph, 8, "float32")
    whole = run_program(program, entries, inputs, weights, 8, threads=1)
    for threads in (2, 3):
        for key, value in run_program(program, entries, inputs, weights, 8, threads=threads).items():
            assert np.array_equal(value, whole[key])
    for i in range(8):
        one = run_program(program, entries, {k: v[i : i + 1] for k, v in inputs.items()}, weights, 1)
        assert all(np.array_equal(value[0], whole[key][i]) for key, value in one.items())


def test_a_resize_too_large_for_an_instruction_says_so():
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 1, 2, 4))
    y = b.add("Resize", [x, "", "", b.constant(np.array([2, 40000]))], {"axes": (2, 3)}, name="up")
    with pytest.raises(UnsupportedError, match=r"node 'up' \(Resize\): its rows and columns take 120007 numbers"):
        compile(b.build([y]), {"run": Entry(("x",), (y,))})
