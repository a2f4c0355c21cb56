from __future__ import annotations

import numpy as np
import pytest
from check import check, instructions

from convlens import _core
from convlens.graph import GraphBuilder
from convlens.program import Entry, Program, Weights, _choose, compile
from convlens.transform import backward

# channels, height, width, out_channels, kernel, strides, pads (top, left, bottom, right), dilations, groups
SHAPES = {
    "1x1": (1, 1, 1, 1, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    "image": (3, 9, 8, 18, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "image-valid": (3, 9, 8, 4, (2, 2), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    "narrower-than-a-vector": (5, 6, 3, 7, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "odd": (17, 7, 5, 33, (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 1),
    "stride-beyond-kernel": (20, 11, 11, 20, (2, 2), (3, 3), (0, 0, 0, 0), (1, 1), 1),
    "asymmetric": (18, 7, 8, 12, (2, 4), (1, 2), (0, 2, 1, 1), (1, 1), 1),
    "depthwise": (20, 8, 8, 20, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 20),
    "grouped": (24, 6, 6, 12, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 3),
    "dilated": (16, 9, 9, 16, (3, 3), (1, 1), (2, 2, 2, 2), (2, 2), 1),
    "1x1-strided": (32, 8, 8, 16, (1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 1),
    "pointwise": (20, 9, 17, 40, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    "chains": (70, 3, 23, 40, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "chains-narrow": (140, 4, 7, 36, (3, 3), (2, 1), (1, 1, 1, 1), (1, 1), 1),
}


def conv_attributes(shape):
    _, _, _, _, kernel, strides, pads, dilations, group = shape
    return {"kernel_shape": kernel, "strides": strides, "pads": pads, "dilations": dilations, "group": group}


def conv_graph(shape, *, bias=True, given=False):
    """A convolution whose weight is a constant, or given at every call."""
    c, h, w, k, (r, s), *_, groups = shape
    rng = np.random.default_rng(3)
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", c, h, w))
    weight = (rng.standard_normal((k, c // groups, r, s)) / np.sqrt(c // groups * r * s)).astype(np.float32)
    operands = [x, b.input("w", "float32", weight.shape) if given else b.constant(weight, "w")]
    if bias:
        operands.append(b.input("b", "float32", (k,)) if given else b.constant(weight.reshape(-1)[:k].copy(), "b"))
    y = b.add("Conv", operands, conv_attributes(shape), name="y")
    return b, y


@pytest.mark.parametrize("given", [False, True], ids=["constant", "given"])
@pytest.mark.parametrize("name", SHAPES)
def test_convolution(name, given):
    b, y = conv_graph(SHAPES[name], given=given)
    check(b.build([y]))


@pytest.mark.parametrize(("direction", "channels"), [("fwd", (512, 32)), ("grad_input", (32, 512))])
def test_rounding_grows_with_a_chain_of_products_not_with_all_of_them(isa, direction, channels):
    """4608 products in 8 chains of 576: each addition rounds by half a unit of a random walk."""
    c, k = channels
    b, y = conv_graph((c, 2, 23, k, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1), bias=False)
    graph, inputs = b.build([y]), {"x": np.random.default_rng(0).standard_normal((1, c, 2, 23))}
    if direction == "grad_input":
        full, gradients = backward(graph, y, ["x"], seed="dy")
        graph, inputs = full.subgraph([gradients["x"]]), {"dy": np.random.default_rng(0).standard_normal((1, k, 2, 23))}
    found = {}
    for dtype in ("float32", "float64"):
        program = compile(graph, {"run": Entry(tuple(graph.inputs), graph.outputs)}, dtype=dtype)
        given = {name: inputs[name].astype("float32").astype(dtype) for name in graph.inputs}
        (found[dtype],) = program.run("run", given, Weights(graph.constants)).values()
    error = np.sqrt(np.mean((found["float32"] - found["float64"]) ** 2) / np.mean(found["float64"] ** 2))
    assert error < 2.0**-24 / np.sqrt(3) * np.sqrt(576 / 2 + 8 / 2)


@pytest.mark.parametrize(("name", "instructions"), [("image", 1), ("pointwise", 1), ("1x1-strided", 1)])
def test_a_layer_alone_is_computed_on_plain_tensors_when_blocks_cost_more(name, instructions):
    b, y = conv_graph(SHAPES[name])
    graph = b.build([y])
    program = compile(graph, {"run": Entry(("x",), (y,))})
    # An image with padding is copied once, with its halo.
    assert program.n_instructions == instructions + (name == "image")
    weights, x = Weights(graph.constants), np.ones((2, *SHAPES[name][:3]), np.float32)
    again, packed = Program.from_bytes(program.to_bytes(weights))
    np.testing.assert_array_equal(again.run("run", {"x": x}, packed)[y], program.run("run", {"x": x}, weights)[y])


@pytest.mark.parametrize(
    ("side", "by_few_rows", "by_others"),
    [(28, ["conv2d_plain"], ["conv2d"]), (7, ["conv2d_plain"], ["conv2d"]), (3, ["reorder", "conv2d"], ["conv2d"])],
)
def test_a_pointwise_layer_alone_reads_what_the_tiles_of_the_kernels_are_good_at(isa, side, by_few_rows, by_others):
    b, y = conv_graph((130, side, side, 128, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1))
    graph = b.build([y])
    assert instructions(check(graph), graph) == (by_few_rows if _core.info()["few_rows"] else by_others)


@pytest.mark.parametrize("activation", ["", "Relu"])
@pytest.mark.parametrize("name", ["1x1-strided", "odd", "asymmetric", "dilated"])
def test_what_goes_out_leaves_the_convolution_in_planes(name, activation):
    b, y = conv_graph(SHAPES[name])
    if activation:
        y = b.add(activation, [y])
    graph = b.build([y])
    ops = instructions(check(graph), graph)
    alone = name == "1x1-strided" and not activation and _core.info()["few_rows"]
    assert ops[-1] == ("conv2d_plain" if alone else "conv2d")
    assert ops.count("reorder") <= 1  # of what comes in


@pytest.mark.parametrize(
    ("stride", "side", "k", "ops", "by_few_rows"),
    [
        ((1, 1), 9, 100, ["conv2d"], ["conv2d_plain"]),
        ((2, 3), 9, 1700, ["conv2d", "strided_copy"], ["conv2d_plain", "strided_copy"]),
        ((2, 3), 9, 100, ["conv2d_grad_input_plain"], ["conv2d_grad_input_plain"]),
        ((2, 2), 30, 300, ["conv2d_grad_input_plain"], ["conv2d_plain", "strided_copy"]),
    ],
)
def test_gradient_of_a_pointwise_convolution_by_constants_transposes_little(isa, stride, side, k, ops, by_few_rows):
    """At every call, that is: what lies among zeros, and a weight of 2^16 numbers at the most, 2^13 by few rows."""
    b = GraphBuilder()
    c, h, w = 40, side, side + 5
    dy = b.input("dy", "float32", ("N", k, -(-h // stride[0]), -(-w // stride[1])))
    weight = b.constant(np.random.default_rng(2).standard_normal((k, c, 1, 1)).astype(np.float32))
    attributes = {"kernel_shape": (1, 1), "strides": stride, "input_shape": (c, h, w)}
    graph = b.build([b.add("ConvGradInput", [dy, weight], attributes)])
    assert instructions(check(graph), graph) == (by_few_rows if _core.info()["few_rows"] else ops)


@pytest.mark.parametrize(("memory", "copies"), [("low", 1), ("fast", 2)])
def test_weights_that_a_forward_pass_reads_are_packed_once_where_memory_is_low(memory, copies):
    b = GraphBuilder()
    x, dy = b.input("x", "float32", ("N", 40, 6, 7)), b.input("dy", "float32", ("N", 100, 6, 7))
    weight = b.constant(np.random.default_rng(2).standard_normal((100, 40, 1, 1)).astype(np.float32))
    y = b.add("Relu", [b.add("Conv", [b.add("Tanh", [x]), weight])])
    dx = b.add("ConvGradInput", [dy, weight], {"kernel_shape": (1, 1), "input_shape": (40, 6, 7)})
    program = check(b.build([y, dx]), memory=memory)
    assert len(program.weight_keys) == copies


@pytest.mark.parametrize("name", SHAPES)
def test_relu_residual_and_mask_join_the_convolution(name):
    b, y = conv_graph(SHAPES[name])
    kind = b.types[y]
    other = b.input("other", "float32", kind.shape)
    r = b.add("Relu", [b.add("Add", [other, y])])
    mask = b.add("Greater", [r, b.constant(np.float32(0))])
    seed = b.input("seed", "float32", kind.shape)
    g = b.add("Where", [mask, seed, b.constant(np.float32(0))])
    graph = b.build([r, g])
    entries = {"forward": Entry(("x", "other"), (r,)), "backward": Entry(("seed",), (g,))}
    program = check(graph, entries)
    # in: two reorders; conv; out: one; then seed in, where, out
    assert program.n_instructions <= 7


@pytest.mark.parametrize("name", ["image", "odd", "depthwise", "pointwise"])
def test_the_mask_of_a_clip_joins_the_convolution(name):
    b, y = conv_graph(SHAPES[name])
    low, high = b.constant(np.float32(-0.2)), b.constant(np.float32(0.7))
    r = b.add("Clip", [y, low, high])
    mask = b.add("And", [b.add("Greater", [r, low]), b.add("Greater", [high, r])])
    seed = b.input("seed", "float32", b.types[y].shape)
    g = b.add("Where", [mask, seed, b.constant(np.float32(0))])
    graph = b.build([r, g])
    program = check(graph, {"forward": Entry(("x",), (r,)), "backward": Entry(("seed",), (g,))})
    # in, conv, out; then seed in, where, out
    assert program.n_instructions <= 6


def test_a_side_of_a_clips_mask_that_others_read_is_computed():
    b, y = conv_graph(SHAPES["odd"])
    low, high = b.constant(np.float32(-0.2)), b.constant(np.float32(0.7))
    r = b.add("Clip", [y, low, high])
    above = b.add("Greater", [r, low])
    zero = b.constant(np.float32(0))
    check(b.build([b.add("Where", [m, r, zero]) for m in (above, b.add("And", [above, b.add("Greater", [high, r])]))]))


@pytest.mark.parametrize("name", SHAPES)
def test_batch_normalization_is_folded_into_the_weight(name):
    shape = SHAPES[name]
    k = shape[3]
    rng = np.random.default_rng(5)
    for bias in (False, True):
        b, y = conv_graph(shape, bias=bias)
        p = [b.constant((rng.random(k) + 0.5).astype(np.float32)) for _ in range(4)]
        y = b.add("BatchNormalization", [y, *p], {"epsilon": 1e-3})
        low, high = b.constant(np.float32(-0.1)), b.constant(np.float32(1.5))
        program = check(b.build([b.add("Clip", [y, low, high])]))
        assert program.n_instructions <= 3


def test_a_tensor_asked_for_ends_the_run():
    b, y = conv_graph(SHAPES["odd"])
    r = b.add("Relu", [y])
    check(b.build([y, r]))


def test_an_image_read_by_several_convolutions_has_the_largest_halo():
    rng = np.random.default_rng(0)
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 20, 9, 9))
    ys = []
    for r, pads in [(1, (0, 0, 0, 0)), (3, (1, 1, 1, 1)), (5, (4, 0, 0, 4)), (3, (0, 2, 2, 0))]:
        w = b.constant(rng.standard_normal((8, 20, r, r)).astype(np.float32))
        ys.append(b.add("Conv", [x, w], {"kernel_shape": (r, r), "pads": pads}))
    ys.append(b.add("MaxPool", [x], {"kernel_shape": (2, 2)}))
    ys.append(b.add("Tanh", [x]))
    check(b.build(ys))


# A convolution of a padded tensor: channels, groups, kernel, stride, its pads and the Pad's (top, left, bottom, right)
PADDED = {
    "same-strided": (20, 1, 3, 2, (0, 0, 0, 0), (0, 0, 1, 1)),
    "depthwise": (20, 20, 5, 2, (1, 0, 0, 1), (1, 1, 2, 2)),
    "dilated": (18, 1, 2, 1, (0, 0, 0, 0), (2, 1, 1, 2)),
}


def padded_graph(name, *, apart, value=0.0, extra=0, shared=False):
    """A Relu, zeros around it (a Pad, or the convolution's own padding) and a convolution: forward and gradient."""
    c, groups, r, stride, own, pads = PADDED[name]
    pads = (*pads[:3], pads[3] + extra)
    b = GraphBuilder()
    x = b.add("Relu", [b.input("x", "float32", ("N", c, 9, 8))])
    weight = np.random.default_rng(0).standard_normal((c, c // groups, r, r)).astype(np.float32)
    if apart:
        widths = np.array([0, 0, *pads[:2], 0, 0, *pads[2:]], np.int64)
        x = b.add("Pad", [x, b.constant(widths), b.constant(np.float32(value))])
    attributes = {"kernel_shape": (r, r), "strides": (stride, stride), "group": groups}
    attributes["pads"] = own if apart else tuple(int(a) for a in np.add(own, pads))
    attributes["dilations"] = (2, 2) if name == "dilated" else (1, 1)
    y = b.add("Relu", [b.add("Conv", [x, b.constant(weight)], attributes)], name="y")
    graph = b.build([y, b.add("Tanh", [x])] if shared else [y])
    full, gradients = backward(graph, y, ["x"], seed="dy")
    return graph, full.subgraph([gradients["x"]])


@pytest.mark.parametrize("name", PADDED)
def test_zeros_before_a_convolution_are_its_padding(name):
    for apart, own in zip(padded_graph(name, apart=True), padded_graph(name, apart=False), strict=True):
        assert instructions(check(apart), apart) == instructions(check(own), own)


@pytest.mark.parametrize("how", [{"value": 0.5}, {"extra": 3}, {"shared": True}], ids=str)
def test_other_padding_before_a_convolution_is_written_out(how):
    graph, _ = padded_graph("same-strided", apart=True, **how)
    ops = instructions(check(graph), graph)
    assert "reorder" in ops[1 : ops.index("conv2d")]  # the first brings in what is given


def test_one_program_serves_all_versions_of_the_weights():
    b, y = conv_graph(SHAPES["image"])
    graph = b.build([y])
    program = compile(graph, {"run": Entry(("x",), (y,))})
    x = np.ones((1, 3, 9, 8), np.float32)
    first = program.run("run", {"x": x}, Weights(graph.constants))[y]
    doubled = Weights({name: value * 2 for name, value in graph.constants.items()})
    np.testing.assert_array_equal(program.run("run", {"x": x}, doubled)[y], 2 * first)


@pytest.mark.parametrize("name", SHAPES)
def test_batch_and_threads_do_not_change_a_bit(name):
    b, y = conv_graph(SHAPES[name])
    graph = b.build([b.add("Relu", [y])])
    program = compile(graph, {"run": Entry(("x",), graph.outputs)})
    weights = Weights(graph.constants)
    x = np.random.default_rng(0).standard_normal((8, *graph.types["x"].per_image)).astype(np.float32)
    whole = program.run("run", {"x": x}, weights, threads=1)
    assert np.array_equal(*(r[graph.outputs[0]] for r in (whole, program.run("run", {"x": x}, weights, threads=2))))
    each = [program.run("run", {"x": x[i : i + 1]}, weights)[graph.outputs[0]] for i in range(8)]
    assert np.array_equal(whole[graph.outputs[0]], np.concatenate(each))


def test_weights_of_a_strided_gradient_in_another_order_are_refused(monkeypatch):
    def compiled():
        b = GraphBuilder()
        b.input("dy", "float32", ("N", 32, 5, 5))
        weight = b.constant(np.ones((32, 16, 3, 3), np.float32))
        x = b.add("ConvTranspose", ["dy", weight], {"strides": (2, 2), "pads": (1, 1, 1, 1)})
        y = b.add("Relu", [x])
        return compile(b.build([y]), {"forward": Entry(("dy",), (y,))})

    compiled()
    monkeypatch.setattr(_choose, "phases_of", lambda *_: ())
    with pytest.raises(ValueError, match="another order than 2"):
        compiled()
