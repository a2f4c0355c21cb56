"""Channels-last files, as tf2onnx writes Keras's models: the same maps as of their channels-first twins, turned."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest

pytest.importorskip("onnx.helper")

from onnx_models import model, node, random

import convlens as cl
import onnx
from convlens import explain
from convlens.cli import main
from onnx import numpy_helper

METHODS = explain.methods()
H, W, C = 12, 9, 3
FIRST, LAST = {"perm": [0, 3, 1, 2]}, {"perm": [0, 2, 3, 1]}
HEAD = 0.1 * random(6 * 6 * 4, 5, seed=4)
WEIGHTS = {
    "w": random(4, C, 3, 3),
    "b": random(4, seed=1),
    "v": random(6, 4, 3, 2, seed=2),
    "c": random(6, seed=3),
    "head": HEAD,
    "scale": random(6, seed=5),
    "axes": np.array([1, 2]),
    "b4": random(4, seed=1).reshape(4, 1, 1),
    "c4": random(6, seed=3).reshape(6, 1, 1),
    "scale4": random(6, seed=5).reshape(6, 1, 1),
    "axes4": np.array([2, 3]),
    "flat": np.array([-1, 6 * 6 * 4]),
    "head4": HEAD.reshape(6, 4, 6, 5).transpose(2, 0, 1, 3).reshape(-1, 5),
}
X = random(2, H, W, C, seed=6)
THREE = node("Conv", "f w3", "y")


def first():
    """The twin: channels first throughout."""
    nodes = [
        *(
            node("Conv", "x w", "conv1", pads=[1, 1, 1, 1]),
            node("Add", "conv1 b4", "bias1"),
            node("Relu", "bias1", "relu1"),
        ),
        node("MaxPool", "relu1", "pool", kernel_shape=[2, 2], strides=[2, 2]),
        *(
            node("Conv", "pool v", "conv2", pads=[1, 0, 1, 1]),
            node("Add", "conv2 c4", "bias2"),
            node("Relu", "bias2", "relu2"),
        ),
        *(
            node("ReduceMean", "relu2 axes4", "squeeze"),
            node("Sigmoid", "squeeze", "gate"),
            node("Mul", "gate scale4", "gated"),
        ),
        *(node("Mul", "relu2 gated", "excite"), node("Concat", "excite", "joined", axis=1)),
        *(node("Reshape", "joined flat", "f"), node("MatMul", "f head4", "y"), node("Softmax", "y", "p")),
    ]
    return model(nodes, ("batch", C, H, W), weights=WEIGHTS, outputs=["p"])


def leading():
    """One Transpose at the front, as tf2onnx leaves it where all others cancelled."""
    made = first()
    made.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("x", 1, ["batch", H, W, C]))
    for each in made.graph.node:
        for i, name in enumerate(each.input):
            each.input[i] = {"x": "x_first"}.get(name, name)
    made.graph.node.insert(0, node("Transpose", "x", "x_first", "turn", **FIRST))
    return made


def keras():
    """Every layer between two Transposes; the head reads channels last."""
    nodes = [
        *(node("Transpose", "x", "x1", **FIRST), node("Conv", "x1 w", "conv1", pads=[1, 1, 1, 1])),
        *(node("Transpose", "conv1", "t1", "t1", **LAST), node("Add", "t1 b", "bias1"), node("Relu", "bias1", "relu1")),
        node("Transpose", "relu1", "t2", "t2", **FIRST),
        node("MaxPool", "t2", "pool", kernel_shape=[2, 2], strides=[2, 2]),
        *(node("Transpose", "pool", "t3", "t3", **LAST), node("Transpose", "t3", "t4", "t4", **FIRST)),
        node("Conv", "t4 v", "conv2", pads=[1, 0, 1, 1]),
        *(node("Transpose", "conv2", "t5", "t5", **LAST), node("Add", "t5 c", "bias2"), node("Relu", "bias2", "relu2")),
        *(
            node("ReduceMean", "relu2 axes", "squeeze"),
            node("Sigmoid", "squeeze", "gate"),
            node("Mul", "gate scale", "gated"),
        ),
        *(node("Mul", "relu2 gated", "excite"), node("Concat", "excite", "joined", axis=3)),
        *(node("Reshape", "joined flat", "f"), node("MatMul", "f head", "y"), node("Softmax", "y", "p")),
    ]
    return model(nodes, ("batch", H, W, C), weights=WEIGHTS, outputs=["p"])


def call(name, net, x, target=None, **more):
    small = {"window": 3, "stride": 2} if name == "occlusion" else {}
    return METHODS[name].function(net, x, target, **{**METHODS[name].options, **small, **more})


# -- the layout --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [leading, keras])
def test_the_layout_is_inferred_shown_and_kept(make, tmp_path, capsys):
    net = cl.load(make())
    assert (net.layout, dict(net.layouts)) == ("NHWC", {"x": "NHWC"})
    assert f"x float32(N, {H}, {W}, {C}) NHWC" in repr(net)
    assert "input 'x' is NHWC: channels are last" in net.notes
    assert net.astype("float64").layout == pickle.loads(pickle.dumps(net)).layout == "NHWC"
    net.save(tmp_path / "net.npz")
    assert cl.load(tmp_path / "net.npz").layout == "NHWC"
    onnx.save(make(), tmp_path / "net.onnx")
    assert main(["info", str(tmp_path / "net.onnx")]) == 0
    out = capsys.readouterr().out
    assert "note: input 'x' is NHWC: channels are last" in out
    assert f"input x float32(N, {H}, {W}, {C}) NHWC" in out
    assert cl.load(first()).layout == "NCHW"


def test_the_layout_may_be_said():
    net = cl.load(leading(), layout="NCHW")
    assert net.layout == "NCHW"
    assert not any("channels are last" in note for note in net.notes)
    np.testing.assert_array_equal(net(X), cl.load(leading())(X))
    assert explain.occlusion(net, X, window=3).values.shape == (2, 1, W, C)
    assert cl.load(leading(), layout={"x": "NHWC"}).layout == "NHWC"
    for wrong, text in (
        ("NWHC", r'`layout` \(=\'NWHC\'\) must be "NCHW" or "NHWC"'),
        ({"z": "NHWC"}, "`layout` names 'z'; the inputs are 'x'"),
    ):
        with pytest.raises(ValueError, match=text):
            cl.load(leading(), layout=wrong)


@pytest.mark.parametrize(
    ("shape", "nodes", "layout"),
    [
        ((20, 20, 3), [node("Flatten", "x", "y")], "NHWC"),  # nothing but the sizes says it
        ((3, 20, 20), [node("Flatten", "x", "y")], "NCHW"),
        ((4, 4, 3), [node("Flatten", "x", "y")], "NCHW"),
        ((20, 1, 3), [node("Conv", "x w20", "y")], "NCHW"),  # a convolution reads axis 1
        ((8, 9, 1), [node("Reshape", "x to", "f"), node("Conv", "f w1", "y")], "NHWC"),  # one channel: a Reshape turns
        ((8, 9, 3), [node("Sub", "x mean", "m"), node("Transpose", "m", "f", **FIRST), THREE], "NHWC"),
        ((9, 2), [node("Transpose", "x", "f", perm=[0, 2, 1]), node("Conv", "f s", "y")], "NLC"),
        ((2, 9), [node("Conv", "x s", "y")], "NCL"),
        ((9,), [node("Relu", "x", "y")], ""),
    ],
)  # fmt: skip
def test_what_says_the_layout(shape, nodes, layout):
    weights = {
        "w20": random(2, 20, 1, 1),
        "w1": random(2, 1, 3, 3),
        "w3": random(2, 3, 3, 3),
        "s": random(2, 2, 3),
        "to": np.array([-1, 1, 8, 9]),
        "mean": random(3),
    }
    net = cl.load(model(nodes, ("batch", *shape), weights=weights))
    assert net.layout == layout
    assert net.input_shape == shape


# -- what is computed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [leading, keras])
def test_outputs_are_those_of_the_twin_and_of_the_evaluator(make):
    from onnx.reference import ReferenceEvaluator

    net, twin = cl.load(make()), cl.load(first())
    np.testing.assert_allclose(net(X), ReferenceEvaluator(make()).run(None, {"x": X})[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(net(X), twin(np.moveaxis(X, -1, 1)), rtol=1e-4, atol=1e-6)


def test_transposes_between_layers_are_cancelled():
    net, twin = cl.load(keras()), cl.load(first())
    assert [layer.operator for layer in net.layers()].count("Transpose") == 2  # the input's, and the head's
    assert any("'bias1', 'relu1', 'bias2' ... (" in note and "have channels first" in note for note in net.notes)
    ours, theirs = (n.activations(x, "relu2")["relu2"] for n, x in ((net, X), (twin, np.moveaxis(X, -1, 1))))
    np.testing.assert_array_equal(ours, theirs)
    fields = {layer.tensor: layer.receptive_field for layer in net.layers()}
    for layer in twin.layers():
        if layer.tensor in fields and layer.tensor not in ("joined", "f"):
            assert fields[layer.tensor] == layer.receptive_field, layer.tensor


def test_an_output_keeps_its_axes():
    nodes = [
        *(node("Transpose", "x", "f", **FIRST), node("Conv", "f w", "k"), node("Transpose", "k", "l", **LAST)),
        *(node("Sigmoid", "l", "mask"), node("Relu", "l", "r"), node("Transpose", "r", "back", **FIRST)),
        *(node("GlobalAveragePool", "back", "p"), node("Flatten", "p", "y")),
    ]
    made = model(nodes, ("batch", H, W, C), weights=WEIGHTS, outputs=["mask", "y", "r"])
    from onnx.reference import ReferenceEvaluator

    got = cl.load(made)(X)
    assert got["mask"].shape == got["r"].shape == (2, H - 2, W - 2, 4)
    for ours, theirs in zip(got.values(), ReferenceEvaluator(made).run(None, {"x": X}), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "kept"),
    [
        ([node("Pad", "l pads value", "m"), node("Slice", "m one seven two", "n")], 2),
        ([node("Softmax", "l", "m", axis=-1), node("PRelu", "m slope", "n")], 2),
        ([node("Split", "l", "p q", axis=3, num_outputs=2), node("Concat", "q p", "n", axis=-1)], 2),
        ([node("Clip", "l low high", "m"), node("Greater", "m low", "k"), node("Where", "k m low", "n")], 2),
        ([node("ReduceMax", "l chan", "m"), node("Mul", "l m", "n")], 2),
        ([node("LayerNormalization", "l gain", "m"), node("Relu", "m", "n")], 4),  # its axis stays the last
    ],
)
def test_what_lies_between_transposes_moves(nodes, kept):
    """However it is written out, the answer is the evaluator's."""
    body = [node("Transpose", "x", "f", **FIRST), node("Conv", "f w", "c"), node("Transpose", "c", "l", **LAST), *nodes]
    body += [node("Transpose", "n", "g", **FIRST), node("Conv", "g u", "y")]
    weights = {
        "w": WEIGHTS["w"], "u": random(2, 4, 1, 1), "pads": np.array([0, 1, 2, 0, 0, 0, 1, 0]), "slope": random(4),
        "value": np.float32(0.5), "one": np.array([1]), "seven": np.array([7]), "two": np.array([2]), "gain": random(4),
        "low": np.float32(-0.5), "high": np.float32(0.7), "chan": np.array([3]),
    }  # fmt: skip
    made = model(body, ("batch", H, W, C), weights=weights)
    from onnx.reference import ReferenceEvaluator

    net = cl.load(made)
    want = ReferenceEvaluator(made).run(None, {"x": X})[0]
    np.testing.assert_allclose(net(X), want, rtol=1e-4, atol=1e-5)
    assert [each.op for each in net.graph.nodes].count("Transpose") <= kept - 1


# -- explanations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("make", [leading, keras])
def test_every_method_gives_the_twins_map_turned(name, make):
    net, twin = (cl.load(made).astype(np.float64) for made in (make(), first()))
    x = X.astype(np.float64)
    ours, theirs = call(name, net, x, 3), call(name, twin, np.moveaxis(x, -1, 1), 3)
    values = theirs.values if METHODS[name].values == "layer" else np.moveaxis(theirs.values, 1, -1)
    assert ours.values.shape == values.shape
    assert np.abs(ours.values - values).max() <= 1e-12 * np.abs(values).max()
    assert (ours.layout, theirs.layout) == ("NHWC", "NCHW")
    assert ours.layer == theirs.layer
    np.testing.assert_allclose(ours.channels_first, theirs.values, rtol=0, atol=1e-12 * np.abs(values).max())
    if theirs.layer_values is not None:
        np.testing.assert_allclose(ours.layer_values, theirs.layer_values, rtol=1e-12)
    again = explain.Explanation(**ours.__dict__)
    assert again.describe()["layout"] == "NHWC"


def test_a_map_without_upsampling_has_the_inputs_axes_too():
    why = explain.grad_cam(cl.load(keras()), X, 1, upsample=None)
    assert why.values.shape == (2, 6, 4, 1)
    assert why.layer_values.shape == (2, 1, 6, 4)


def test_a_layer_whose_channels_are_last_has_a_map():
    """A layer before the Transpose, which stays as it is in the file."""
    nodes = [
        *(node("Mul", "x gain", "scaled"), node("Transpose", "scaled", "f", **FIRST), node("Conv", "f w", "c")),
        *(node("GlobalAveragePool", "c", "p"), node("Flatten", "p", "y")),
    ]
    gain = random(3)
    net = cl.load(model(nodes, ("batch", H, W, C), weights={"w": WEIGHTS["w"], "gain": gain})).astype(np.float64)
    x = X.astype(np.float64)
    why = explain.grad_cam(net, x, 1, layer="scaled", relu=False, upsample=None)
    gradient = explain.saliency(net, x, 1).values / gain.astype(np.float64)
    want = (gradient.mean(axis=(1, 2), keepdims=True) * x * gain).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(why.values, want, rtol=1e-9)


def test_gradients_are_central_differences():
    net = cl.load(keras(), outputs="y").astype(np.float64)
    x = X[:1].astype(np.float64)
    why = explain.saliency(net, x, 2)
    rng = np.random.default_rng(0)
    for _ in range(20):
        place = tuple(int(rng.integers(size)) for size in x.shape)
        moved = np.zeros_like(x)
        moved[place] = 1e-6
        slope = (net(x + moved) - net(x - moved))[0, 2] / 2e-6
        assert abs(slope - why.values[place]) <= 1e-7 * np.abs(why.values).max()


def test_evidence_is_found_where_it_is():
    net = cl.load(keras())
    for row, column in ((2, 7), (9, 1)):
        moved = X[:1].copy()
        moved[0, row, column] += 3
        change = np.abs(net.activations(moved, "conv1")["conv1"] - net.activations(X[:1], "conv1")["conv1"])[0].sum(0)
        assert np.unravel_index(change.argmax(), change.shape)[0] in range(row - 1, row + 2)
        assert np.unravel_index(change.argmax(), change.shape)[1] in range(column - 1, column + 2)


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_images_are_loaded_in_the_networks_axes():
    net = cl.load(keras())
    recipe = cl.image.Recipe(size=(H, W), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    pixels = np.random.default_rng(0).integers(0, 256, (H, W, 3), np.uint8)
    images, _, used = cl.image.load(pixels, recipe, layout=net.layout)
    usual, _, _ = cl.image.load(pixels, recipe)
    assert images.shape == (1, H, W, 3)
    assert images.flags.c_contiguous
    np.testing.assert_array_equal(images, np.moveaxis(usual, 1, -1))
    assert used.layout == "NHWC"
    assert "RGB last" in str(used)
    for level in (0.0, 1.0):
        np.testing.assert_array_equal(np.moveaxis(used.colour(level), -1, 0), recipe.colour(level))
    twin = cl.load(first())
    for baselines in ("black", "white", "mean", "blur"):
        ours = explain.integrated_gradients(net, images, 1, baselines=baselines, recipe=used, n_steps=4)
        theirs = explain.integrated_gradients(twin, usual, 1, baselines=baselines, recipe=recipe, n_steps=4)
        np.testing.assert_allclose(ours.channels_first, theirs.values, rtol=1e-3, atol=1e-5)
    # A recipe of the other layout names the same colour.
    mixed = explain.integrated_gradients(net, images, 1, baselines="black", recipe=recipe, n_steps=4)
    plain = explain.integrated_gradients(net, images, 1, baselines="black", recipe=used, n_steps=4)
    np.testing.assert_array_equal(mixed.values, plain.values)
    with pytest.raises(ValueError, match=r'`layout` \(=\'HWC\'\) must be "NCHW" or "NHWC"'):
        dataclasses.replace(recipe, layout="HWC")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda x: np.moveaxis(x, -1, 1), r"channels are first, move them with np.moveaxis\(images, 1, -1\)"),
        (lambda x: x[0], "the batch axis is missing"),
        (lambda x: np.moveaxis(x[0], -1, 0), "channels are first and the batch axis is missing"),
        (lambda x: x[..., :2], r"built for 3 channel\(s\), not 2"),
        (lambda x: x[:, :5], f"resize the images to {H} x {W}"),
    ],
)
def test_other_axes_are_named_with_their_remedy(change, text):
    with pytest.raises(ValueError, match=text):
        cl.load(keras())(change(X))


def test_maps_are_drawn(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    pytest.importorskip("PIL")
    from PIL import Image

    net = cl.load(keras())
    why = explain.saliency(net, X, 1)
    assert "ummed over 3 channels" in why[0].plot(X[0] - X.min()).caption
    onnx.save(keras(), tmp_path / "net.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    np.save(tmp_path / "x.npy", X)
    for given in ("x.png", "x.npy"):
        out = tmp_path / f"{given}.why.png"
        arguments = ["explain", str(tmp_path / "net.onnx"), str(tmp_path / given), "--out", str(out)]
        assert main([*arguments, "--method", "saliency,grad_cam,occlusion"]) == 0
        assert out.read_bytes().startswith(b"\x89PNG")
    assert "RGB last" in capsys.readouterr().out


# -- ONNX Runtime ------------------------------------------------------------------------------------------------------


@pytest.mark.parity
@pytest.mark.parametrize("make", [leading, keras])
def test_onnx_runtime_answers_the_same(make):
    runtime = pytest.importorskip("onnxruntime")
    want = runtime.InferenceSession(make().SerializeToString()).run(None, {"x": X})[0]
    np.testing.assert_allclose(cl.load(make())(X), want, rtol=1e-4, atol=1e-6)


def test_weights_of_the_file_survive():
    net = cl.load(keras())
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in keras().graph.initializer}
    for name in ("w", "v"):
        np.testing.assert_array_equal(net.parameters[name], stored[name])
