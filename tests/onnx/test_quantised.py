"""Quantised models: what ONNX Runtime answers, and explanations by a straight-through gradient."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx.helper")

from onnx_models import model, node
from quantised_models import by_hand, images, operator, pair, quantised

import convlens as cl
import onnx
from convlens import UnsupportedError, reference
from convlens.explain._registry import methods
from convlens.onnx import import_model
from convlens.program import Entry, Weights
from convlens.program import compile as compile_program
from onnx import TensorProto, helper

STRAIGHT = "a gradient passes straight through rounding"
FORMS = [(form, types, bool(pc)) for form in ("QDQ", "QOperator") for types in ("US", "SS", "UU") for pc in (0, 1)]
DYNAMIC = [("dynamic", types, False) for types in ("UU", "US")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("quantised")


def sessions(made, outputs, signed=False):
    """ONNX Runtime with inner tensors as outputs too; `signed`: the model's images are int8 as its weights.

    Without VNNI (AVX2) it adds pairs of uint8 by int8 products in 16 bits, which saturate, unless told not to.
    """
    runtime = pytest.importorskip("onnxruntime")
    more = onnx.ModelProto()
    more.CopyFrom(made)
    have = {output.name for output in made.graph.output}
    more.graph.output.extend([helper.make_empty_tensor_value_info(name) for name in outputs if name not in have])
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "0" if signed else "1")
    return runtime.InferenceSession(more.SerializeToString(), options, providers=["CPUExecutionProvider"])


def computed(made, x, outputs, dtype="float32"):
    """The tensors by a Program."""
    graph = import_model(made, outputs=outputs).graph
    program = compile_program(graph, {"run": Entry(("x",), tuple(outputs))}, dtype=dtype)
    return program.run("run", {"x": x.astype(dtype)}, Weights(graph.constants))


def compared(made, x, one_by_one=False, signed=False):
    """Off by how many steps each tensor of 8 bits is, and the answer relative to its largest number."""
    quantisers = ("QuantizeLinear", "DynamicQuantizeLinear", "QGemm")
    whole = [n.output[0] for n in made.graph.node if n.op_type in quantisers or n.op_type.startswith("QLinear")]
    outputs = [*whole, "y"]
    session = sessions(made, outputs, signed)
    batches = [x[i : i + 1] for i in range(len(x))] if one_by_one else [x]
    parts = [session.run(outputs, {"x": batch}) for batch in batches]
    wanted = dict(zip(outputs, (np.concatenate(part) for part in zip(*parts, strict=True)), strict=True))
    got = computed(made, x, outputs)
    steps = {name: np.abs(got[name] - wanted[name].astype(np.float32)) for name in whole}
    return steps, np.abs(got["y"] - wanted["y"]).max() / np.abs(wanted["y"]).max()


# -- beside ONNX Runtime -----------------------------------------------------------------------------------------------


@pytest.mark.parity
@pytest.mark.parametrize(("form", "types", "per_channel"), FORMS)
def test_whole_numbers_are_those_of_onnx_runtime(folder, form, types, per_channel):
    """Equal wherever ONNX Runtime computes in whole numbers.

    It does not in every QDQ file: two int8 operands it may multiply as floats, and halves, which means of few whole
    numbers often are, fall to either side by how its two layouts add up.
    """
    pytest.importorskip("onnxruntime")
    made = onnx.load_from_string(quantised(folder, form, types, per_channel))
    steps, off = compared(made, images(8), signed=types == "SS")
    assert len(steps) >= 10
    if form == "QOperator":
        assert max(difference.max() for difference in steps.values()) == 0
        assert off == 0
        return
    for name, difference in steps.items():
        exact = types != "SS" and not name.startswith(("ap_", "cat_", "gap_", "f_", "y_"))  # before the mean
        assert difference.max() <= (0 if exact else 2), name
    every = np.concatenate([difference.reshape(-1) for difference in steps.values()])
    assert np.mean(every > 0) <= 0.003
    assert off <= 0.02


@pytest.mark.parity
@pytest.mark.parametrize(("form", "types", "per_channel"), DYNAMIC)
def test_dynamic_ranges_are_those_of_onnx_runtime_for_one_image(folder, form, types, per_channel):
    pytest.importorskip("onnxruntime")
    made = onnx.load_from_string(quantised(folder, form, types, per_channel))
    steps, off = compared(made, images(4), one_by_one=True)
    assert len(steps) == 5
    assert max(difference.max() for difference in steps.values()) == 0
    assert off <= 1e-6
    assert any("range of its image" in note for note in cl.load(made).notes)


def convolution(channels, filters, offset, per_channel):
    """A QLinearConv whose sums grow with `channels` and `offset`."""
    rng = np.random.default_rng(0)
    count = filters if per_channel else 1
    w_scale = rng.uniform(0.001, 0.01, count).astype(np.float32).reshape((-1,) if per_channel else ())
    spread = 74 * 70 * 3 * np.sqrt(channels) / 40 + offset * 128 * channels * 9 / 200
    weights = {
        "xs": np.float32(0.0173),
        "xz": np.uint8(3),
        "w": np.clip(rng.integers(-128, 128, (filters, channels, 3, 3)) + offset, -128, 127).astype(np.int8),
        "ws": w_scale,
        "wz": np.zeros(w_scale.shape, np.int8),
        "ys": np.float32(0.0173 * w_scale.mean() * spread),
        "yz": np.uint8(0 if offset else 128),
        "b": rng.integers(-1000, 1000, filters).astype(np.int32),
    }
    x = rng.integers(0, 256, (2, channels, 14, 14)).astype(np.uint8)
    inputs = "x xs xz w ws wz ys yz b"
    return operator("QLinearConv", inputs, weights, ("N", channels, 14, 14), pads=[1] * 4), x


@pytest.mark.parity
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(("channels", "offset", "share"), [(32, 0, 0), (512, 100, 1e-3)], ids=["exact", "beyond"])
def test_sums_below_2_24_are_exact_and_larger_ones_are_a_step_off_at_most(channels, offset, share, per_channel):
    made, x = convolution(channels, 64, offset, per_channel)
    (want,) = sessions(made, []).run(None, {"x": x})
    got = computed(made, x.astype(np.float32), ["y"])["y"]
    assert np.mean((want == 0) | (want == 255)) < 0.5
    difference = np.abs(got - want)
    assert difference.max() <= (1 if share else 0)
    assert np.mean(difference > 0) <= share


RNG = np.random.default_rng(4)
U8 = RNG.integers(0, 256, (2, 4, 6, 5)).astype(np.uint8)
ROWS = RNG.integers(0, 256, (3, 8)).astype(np.uint8)
IN = {"xs": np.float32(0.0517), "xz": np.uint8(100)}
OUT = {"ys": np.float32(0.0439), "yz": np.uint8(90)}
SUMS = {"ys": np.float32(0.791), "yz": np.uint8(120)}
OTHER = {"b": RNG.integers(0, 256, (1, 4, 1, 1)).astype(np.uint8), "bs": np.float32(0.0323), "bz": np.uint8(7)}
MATRIX = {  # of 7 bits: of one zero point a column, ONNX Runtime's products saturate whatever it is told
    "w": RNG.integers(-64, 64, (8, 5)).astype(np.int8),
    "ws": RNG.uniform(0.01, 0.02, 5).astype(np.float32),
    "wz": np.zeros(5, np.int8),
}
MS = {"domain": "com.microsoft"}
OPERATORS = {
    "QLinearAdd": ("x xs xz b bs bz ys yz", {**IN, **OTHER, **OUT}, U8, MS),
    "QLinearMul": ("x xs xz b bs bz ys yz", {**IN, **OTHER, **OUT}, U8, MS),
    "QLinearSigmoid": ("x xs xz ys yz", {**IN, "ys": np.float32(1 / 256), "yz": np.uint8(0)}, U8, MS),
    "QLinearLeakyRelu": ("x xs xz ys yz", {**IN, **OUT}, U8, {**MS, "alpha": 0.1}),
    "QLinearSoftmax": (
        "x xs xz ys yz",
        {**IN, "ys": np.float32(1 / 256), "yz": np.uint8(0)},
        ROWS,
        {**MS, "axis": 1, "opset": 21},
    ),
    "QLinearGlobalAveragePool": ("x xs xz ys yz", {**IN, **OUT}, U8, MS),
    "QLinearAveragePool": ("x xs xz ys yz", {**IN, **OUT}, U8, {**MS, "kernel_shape": [3, 2], "pads": [1, 0, 1, 1]}),
    "QLinearConcat": (
        "ys yz x xs xz x bs bz",
        {**IN, **OUT, "bs": OTHER["bs"], "bz": OTHER["bz"]},
        U8,
        {**MS, "axis": 1},
    ),
    "QLinearMatMul": ("x xs xz w ws wz ys yz", {**IN, **MATRIX, **SUMS}, ROWS, {}),
    "QGemm": (
        "x xs xz w ws wz b ys yz",
        {**IN, **MATRIX, "b": np.arange(-2, 3, dtype=np.int32) * 5000, **SUMS},
        ROWS,
        MS,
    ),
    "MatMulInteger": ("x w xz", {"w": MATRIX["w"], "xz": IN["xz"]}, ROWS, {}),
    "ConvInteger": (
        "x w xz",
        {"w": RNG.integers(-127, 128, (6, 4, 3, 3)).astype(np.int8), "xz": IN["xz"]},
        U8,
        {"pads": [1] * 4},
    ),
}  # fmt: skip


@pytest.mark.parity
@pytest.mark.parametrize("op", OPERATORS)
def test_an_operator_between_quantised_tensors(op):
    inputs, weights, x, how = OPERATORS[op]
    made = operator(op, inputs, weights, ("N", *x.shape[1:]), **how)
    (want,) = sessions(made, []).run(None, {"x": x})
    got = computed(made, x.astype(np.float32), ["y"])["y"]
    assert len(np.unique(want)) > 5
    np.testing.assert_array_equal(got, want)


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["images", "matrices"])
def test_constants_of_whole_numbers_serve_every_operator(kind):
    """A transposed convolution, arithmetic and a slope; a product of matrices per column."""
    rng = np.random.default_rng(0)
    weights = {
        "s": np.float32(0.05),
        "z": np.uint8(128),
        "ws": np.float32(0.01),
        "wz": np.int8(0),
        "w.q": rng.integers(-127, 128, (3, 4, 2, 2)).astype(np.int8),
        "b": rng.integers(0, 256, (4, 1, 1)).astype(np.uint8),
    }
    nodes = [
        *pair("x", "xr", "s", "z"),
        node("DequantizeLinear", "w.q ws wz", "w"),
        node("ConvTranspose", "xr w", "c", strides=[2, 2]),
        *pair("c", "h", "s", "z"),
        node("DequantizeLinear", "b s z", "br"),
        node("Add", "h br", "sum"),
        node("Mul", "br sum", "product"),
        node("PRelu", "product br", "y"),
    ]
    shape = (3, 5, 4)
    if kind == "images":
        made = model(nodes, ("N", *shape), weights=weights, opset=17)
    else:
        weights |= {"w.q": rng.integers(-127, 128, (4, 7)).astype(np.int8), "wz": np.zeros(7, np.int8)}
        weights["ws"] = rng.uniform(0.005, 0.02, 7).astype(np.float32)
        product = [node("DequantizeLinear", "w.q ws wz", "w", axis=1), node("MatMul", "xr w", "c")]
        made = model([*nodes[:2], *product, *pair("c", "y", "s", "z")], ("N", *shape), weights=weights, opset=17)
    x = rng.normal(0, 2, (2, *shape)).astype(np.float32)
    (want,) = sessions(made, []).run(["y"], {"x": x})
    np.testing.assert_allclose(cl.load(made)(x), want, rtol=1e-6, atol=1e-6)


# -- without ONNX Runtime ----------------------------------------------------------------------------------------------


def slowly(weights, x):
    """The model of :func:`by_hand` in whole numbers of 64 bits: its quantised tensors and its answer."""
    number = {name: np.asarray(value, np.float64) for name, value in weights.items()}

    def quantise(v, of):
        return np.clip(np.rint(v / number[f"{of}.scale"]) + number[f"{of}.zero"], 0, 255)

    xq = quantise(x.astype(np.float64), "x")
    steps, w = (xq - number["x.zero"]).astype(np.int64), weights["w.q"].astype(np.int64)
    padded = np.pad(steps, [(0, 0), (0, 0), (1, 1), (1, 1)])
    sums = np.zeros((len(x), 4, 4, 3), np.int64) + weights["b.q"].astype(np.int64)[:, None, None]
    for r in range(3):
        for s in range(3):
            sums += np.einsum("kc,nchw->nkhw", w[:, :, r, s], padded[:, :, r : r + 7 : 2, s : s + 5 : 2])
    real = sums * (number["x.scale"] * number["w.scale"])[:, None, None]
    hq = quantise(real, "h")
    h = (hq - number["h.zero"]) * number["h.scale"]
    pq = quantise(h.mean((2, 3)), "p")
    fc = (number["fc.q"] - number["fc.zero"]) * number["fc.scale"]
    y = (pq - number["p.zero"]) * number["p.scale"] @ fc.T
    return {"xr.q": xq, "h.q": hq, "p.q": pq[:, :, None, None], "y": y}, sums


@pytest.mark.parametrize("relu", [False, True], ids=["saturation", "relu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_written_by_hand_answers_in_whole_numbers(dtype, relu):
    made, weights = by_hand(relu=relu)
    x = np.random.default_rng(2).normal(0, 3, (5, 3, 8, 6)).astype(np.float32)
    want, _ = slowly(weights, x)
    got = computed(made, x, ["xr.q", "h.q", "p.q", "y"], dtype)
    assert 0.2 < np.mean(want["h.q"] == 0) < 0.8
    assert np.mean(want["h.q"] == 255) < 0.2
    for name in ("xr.q", "h.q", "p.q"):
        np.testing.assert_array_equal(got[name], want[name])
    np.testing.assert_allclose(got["y"], want["y"], rtol=1e-5, atol=1e-5)


def test_results_have_the_same_bits_for_any_batch():
    net = cl.load(by_hand()[0])
    x = np.random.default_rng(2).normal(0, 3, (5, 3, 8, 6)).astype(np.float32)
    np.testing.assert_array_equal(net(x), np.concatenate([net(image[None]) for image in x]))
    np.testing.assert_array_equal(
        np.asarray(cl.explain.saliency(net, x, target=1)),
        np.concatenate([np.asarray(cl.explain.saliency(net, image[None], target=1)) for image in x]),
    )


def gradient(weights, x, target):
    """The straight-through gradient of :func:`by_hand`, as PyTorch's fake quantisation has it, in NumPy."""
    number = {name: np.asarray(value, np.float64) for name, value in weights.items()}

    def inside(v, of):
        steps = np.rint(v / number[f"{of}.scale"]) + number[f"{of}.zero"]
        return (steps >= 0) & (steps <= 255)

    _, sums = slowly(weights, x)
    conv = sums * (number["x.scale"] * number["w.scale"])[:, None, None]
    h = np.clip(np.rint(conv / number["h.scale"]) + number["h.zero"], 0, 255) - number["h.zero"]
    mean = (h * number["h.scale"]).mean((2, 3))
    fc = (number["fc.q"] - number["fc.zero"]) * number["fc.scale"]
    g = fc[target] * inside(mean, "p")
    g = np.broadcast_to(g[:, :, None, None] / 12, conv.shape) * inside(conv, "h")
    w = number["w.q"] * number["w.scale"][:, None, None, None]
    return reference.conv2d_grad_input(g, w, x.shape, stride=2, padding=1) * inside(x.astype(np.float64), "x")


def test_a_gradient_is_straight_through_and_saturation_is_the_relu():
    made, weights = by_hand()
    net = cl.load(made).astype(np.float64)
    x = np.random.default_rng(2).normal(0, 3, (5, 3, 8, 6))
    why = cl.explain.saliency(net, x, target=3)
    want = gradient(weights, x, 3)
    assert np.abs(want).max() > 0
    assert np.abs(np.asarray(why) - want).max() <= 1e-8 * np.abs(want).max()
    assert any(note.startswith(STRAIGHT) for note in why.notes)
    # Between half a step below 0 and 0 the ReLU alone stops a gradient; saturation does below that.
    with_relu = np.asarray(cl.explain.saliency(cl.load(by_hand(relu=True)[0]).astype(np.float64), x, target=3))
    alike = np.isclose(with_relu, want, atol=1e-12).mean()
    assert alike > 0.9


@pytest.mark.parity
def test_an_answer_that_saturates_is_said_to_have_no_map():
    nodes = [node("GlobalAveragePool", "x", "p"), node("Flatten", "p", "f"), *pair("f", "y", "s", "z")]
    grid = {"s": np.float32(0.01), "z": np.uint8(0)}
    net = cl.load(model(nodes, ("N", 3, 4, 4), weights=grid, opset=17))
    x = np.ones((3, 3, 4, 4), np.float32)
    x[1] = 9  # above 255 steps of 0.01
    why = cl.explain.saliency(net, x, 0)
    assert [bool(values.any()) for values in why.values] == [True, False, True]
    assert why.notes[-1].startswith("zero everywhere for 1 image(s): a quantised value that saturates")
    assert not any("zero everywhere" in note for note in cl.explain.saliency(net, x[::2], 0).notes)


def test_a_gradient_is_that_of_fake_quantisation_in_pytorch():
    torch = pytest.importorskip("torch")
    made, weights = by_hand()
    t = {name: torch.tensor(np.asarray(value, np.float64)) for name, value in weights.items()}

    def fake(v, of):
        return torch.fake_quantize_per_tensor_affine(v, float(t[f"{of}.scale"]), int(t[f"{of}.zero"]), 0, 255)

    x = torch.tensor(np.random.default_rng(2).normal(0, 3, (5, 3, 8, 6)), requires_grad=True)
    w = t["w.q"] * t["w.scale"][:, None, None, None]
    c = torch.nn.functional.conv2d(fake(x, "x"), w, t["b.q"] * t["b.scale"], stride=2, padding=1)
    p = fake(fake(c, "h").mean((2, 3)), "p")
    y = p @ ((t["fc.q"] - t["fc.zero"]) * t["fc.scale"]).T
    y[:, 3].sum().backward()
    net = cl.load(made).astype(np.float64)
    given = x.detach().numpy()
    np.testing.assert_allclose(net(given), y.detach().numpy(), atol=1e-8 * float(y.detach().abs().max()))
    ours, theirs = np.asarray(cl.explain.saliency(net, given, target=3)), x.grad.numpy()
    assert np.abs(ours - theirs).max() <= 1e-8 * np.abs(theirs).max()


@pytest.mark.parametrize("method", sorted(methods()))
def test_every_method_explains_a_quantised_model(method):
    net = cl.load(by_hand()[0])
    x = np.random.default_rng(2).normal(0, 3, (2, 3, 8, 6)).astype(np.float32)
    why = getattr(cl.explain, method)(net, x, **({} if method == "activations" else {"target": 1}))
    values = np.asarray(why)
    assert values.shape[0] == 2
    assert np.all(np.isfinite(values))
    assert np.any(values)
    assert any(note.startswith(STRAIGHT) for note in why.notes) == (method not in ("activations", "occlusion", "rise"))
    if method in ("guided_backprop", "deconvnet"):
        assert any("a ReLU that saturation stands for" in note for note in why.notes)


def test_the_layer_is_real_and_before_the_last_pool():
    assert cl.explain.grad_cam(cl.load(by_hand()[0]), np.ones((1, 3, 8, 6), np.float32), target=0).layer == "h"
    made, weights = by_hand()
    nodes = [
        *made.graph.node[:7],
        node("MaxPool", "h", "m", "pool", kernel_shape=[2, 2]),
        *pair("m", "mr", "h.scale", "h.zero"),
        node("Flatten", "mr", "f", "flatten"),
        node("Gemm", "f v", "y", "classes"),
    ]
    stored = {**weights, "v": np.ones((4 * 3 * 2, 5), np.float32)}
    net = cl.load(model(nodes, ("batch", 3, 8, 6), weights=stored, opset=17))
    assert cl.explain.grad_cam(net, np.ones((1, 3, 8, 6), np.float32), target=0).layer == "h"


def test_the_layer_of_pooled_whole_numbers_is_before_the_pool():
    weights = {
        "xs": np.float32(0.1),
        "xz": np.int8(3),
        "ws": np.float32(0.02),
        "wz": np.int8(0),
        "ys": np.float32(0.2),
        "yz": np.int8(-128),
        "w": RNG.integers(-127, 128, (4, 2, 3, 3)).astype(np.int8),
        "v": np.ones((8, 5), np.float32),
    }
    nodes = [
        node("QuantizeLinear", "x xs xz", "q"),
        node("QLinearConv", "q xs xz w ws wz ys yz", "c", "conv"),
        node("MaxPool", "c", "p", "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("DequantizeLinear", "p ys yz", "r"),
        node("Flatten", "r", "f"),
        node("Gemm", "f v", "y"),
    ]
    net = cl.load(model(nodes, ("batch", 2, 6, 4), weights=weights))
    x = np.random.default_rng(0).normal(0, 5, (3, 2, 6, 4)).astype(np.float32)
    kept = net.activations(x, ["c", "c.dequantised", "p"])
    np.testing.assert_array_equal(kept["p"], reference.max_pool2d(kept["c"], 2))
    np.testing.assert_allclose(kept["c.dequantised"], (kept["c"] + 128) * np.float32(0.2), rtol=1e-6)
    assert cl.explain.grad_cam(net, x, target=0).layer == "c.dequantised"


def test_logits_are_explained_behind_a_quantised_softmax():
    more = {"s.scale": np.float32(1 / 256), "s.zero": np.uint8(0)}
    tail = (node("Softmax", "y", "s", "softmax", axis=1), *pair("s", "out", "s.scale", "s.zero"))
    made, weights = by_hand(tail=tail)
    whole = model(list(made.graph.node), ("batch", 3, 8, 6), weights={**weights, **more}, outputs=["out"], opset=17)
    net = cl.load(whole)
    why = cl.explain.saliency(net, np.ones((1, 3, 8, 6), np.float32), target=0)
    assert (net.logits_name, why.output) == ("y", "y")


def test_weights_that_are_quantised_within_the_file_are_whole_numbers_too():
    made, weights = by_hand()
    real = ((weights["w.q"] * weights["w.scale"][:, None, None, None]) + np.float32(1e-4)).astype(np.float32)
    nodes = [n for n in made.graph.node if n.output[0] != "w"]
    nodes[2:2] = pair("real", "w", "w.scale", "w.zero", axis=0)
    stored = {name: value for name, value in {**weights, "real": real}.items() if name != "w.q"}
    both = model(nodes, ("batch", 3, 8, 6), weights=stored, opset=17)
    x = np.random.default_rng(2).normal(0, 3, (2, 3, 8, 6)).astype(np.float32)
    np.testing.assert_array_equal(cl.load(both)(x), cl.load(made)(x))


def test_what_is_quantised_is_not_learned():
    net = cl.load(by_hand()[0])
    assert {"w.whole", "b.whole", "fc.whole"} <= set(net.parameters)
    assert not net.trainable
    with pytest.raises(
        ValueError, match="nothing to learn; what is quantised is not learned: train the network it was"
    ):
        cl.train.fit(net, np.ones((2, 3, 8, 6), np.float32), np.array([0, 1]), epochs=1, batch_size=2)


def test_names_of_the_file_survive():
    net = cl.load(by_hand()[0])
    assert [net.find(name) for name in ("conv", "h.quantize", "h.dequantize")] == ["c", "h.q", "h"]
    kept = net.activations(np.ones((1, 3, 8, 6), np.float32), ["h.q", "h"])
    np.testing.assert_array_equal(kept["h.q"], np.clip(np.rint(kept["h.q"]), 0, 255))
    np.testing.assert_allclose(kept["h"], kept["h.q"] * 3 / 128)


# -- files that are wrong or ask for more ------------------------------------------------------------------------------


def changed(name, value):
    made, weights = by_hand()
    assert name in weights
    return model(list(made.graph.node), ("batch", 3, 8, 6), weights={**weights, name: value}, opset=17)


@pytest.mark.parametrize(
    ("name", "value", "error", "text"),
    [
        ("x.scale", np.float32(0), ValueError, r"`y_scale` \('x.scale'\) must be positive and finite"),
        ("x.scale", np.float32("nan"), ValueError, "must be positive and finite"),
        ("h.scale", np.float32(-1), ValueError, "must be positive and finite"),
        ("w.scale", np.array([1, np.inf, 1, 1], np.float32), ValueError, r"`x_scale` \('w.scale'\) must be positive"),
        ("w.scale", np.ones(3, np.float32), ValueError, "have 3 and 4 numbers; axis 0 has 4"),
        ("w.zero", np.zeros(3, np.int8), ValueError, "have 4 and 3 numbers; axis 0 has 4"),
        ("x.zero", np.zeros(2, np.uint8), ValueError, "`y_zero_point` has 2 numbers, `y_scale` 1; they must agree"),
        ("w.scale", np.ones((4, 3, 1, 3), np.float32), UnsupportedError, "is one a block"),
        ("x.zero", np.uint16(3), UnsupportedError, "it quantises to uint16; supported: uint8 and int8"),
        ("h.zero", np.int16(3), UnsupportedError, "it quantises to int16; supported: uint8 and int8"),
        ("w.q", np.ones((4, 3, 3, 3), np.int16), UnsupportedError, "its input is int16; supported: uint8, int8"),
    ],
)
def test_a_wrong_grid_is_named(name, value, error, text):
    with pytest.raises(error, match=text):
        cl.load(changed(name, value))


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.FLOAT8E4M3FN])
def test_other_types_are_named(kind):
    made, _ = by_hand()
    packed = helper.make_tensor("w.q", kind, [4, 3, 3, 3], np.zeros(108).tolist())
    kept = [t for t in made.graph.initializer if t.name != "w.q"]
    del made.graph.initializer[:]
    made.graph.initializer.extend([*kept, packed])
    with pytest.raises(UnsupportedError, match=r"has elements of type (INT4|FLOAT8E4M3FN); supported: float32"):
        cl.load(made)


def test_a_missing_zero_point_is_0_of_uint8():
    nodes = [
        node("QuantizeLinear", "x s", "q"),
        node("DequantizeLinear", "q s", "h"),
        node("Relu", "h", "y"),
    ]
    net = cl.load(model(nodes, ("N", 2, 2, 3), weights={"s": np.float32(0.5)}))
    x = np.array([-9, 0.2, 0.3, 1, 126, 500, *[0] * 6], np.float32).reshape(1, 2, 2, 3)
    assert net(x).reshape(-1)[:6].tolist() == [0, 0, 0.5, 1, 126, 127.5]


def test_operators_of_another_domain_are_named():
    made = operator("QLinearWhat", "x", {}, ("N", 3), domain="com.microsoft")
    with pytest.raises(UnsupportedError, match=r"the operators of 'com.microsoft' are not supported, but for .*QGemm"):
        cl.load(made)
    stranger = operator("Relu", "x", {}, ("N", 3), domain="my.own", kind=TensorProto.FLOAT)
    with pytest.raises(UnsupportedError, match=r"the operators of .my.own. are not supported; ONNX.s own are"):
        cl.load(stranger)


def test_channels_last_is_named():
    made = operator("QLinearAveragePool", "x xs xz ys yz", {**IN, **OUT}, ("N", 4, 4, 2), **MS, channels_last=1)
    with pytest.raises(UnsupportedError, match="`channels_last` \\(=1\\) is not supported"):
        cl.load(made)
