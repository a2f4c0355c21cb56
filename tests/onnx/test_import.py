"""From files to networks."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest

pytest.importorskip("onnx.helper")

from onnx_models import model, node, random, reference

import convlens as cl
import onnx
from convlens import UnsupportedError
from onnx import TensorProto, helper, numpy_helper

X = random(3, 2, 6, 5)
WEIGHTS = {"w": random(4, 2, 3, 3, seed=1), "b": random(4, seed=2)}
CONV = node("Conv", "x w b", "features", "/stem/Conv", pads=[1, 1, 1, 1])
RELU = node("Relu", "features", "y", "/stem/Relu")


def _same(made, x=X, **options):
    net = cl.onnx.load(made, **options)
    got = net(x)
    np.testing.assert_allclose(got, reference(made, x)[0], rtol=1e-5, atol=1e-5)
    return net


# -- sources -----------------------------------------------------------------------------------------------------------


def test_path_bytes_and_model_are_the_same_network(tmp_path):
    made = model([CONV, RELU], weights=WEIGHTS)
    onnx.save(made, tmp_path / "net.onnx")
    nets = [
        cl.load(source)
        for source in (tmp_path / "net.onnx", str(tmp_path / "net.onnx"), made.SerializeToString(), made)
    ]
    results = [net(X) for net in nets]
    assert all(np.array_equal(results[0], other) for other in results[1:])


def test_load_reads_what_save_wrote(tmp_path):
    net = cl.load(model([CONV, RELU], weights=WEIGHTS))
    net.save(tmp_path / "net.npz")
    np.testing.assert_array_equal(cl.load(tmp_path / "net.npz")(X), net(X))
    with pytest.raises(ValueError, match="`outputs`, `input_shape` and `layout` are for ONNX files"):
        cl.load(tmp_path / "net.npz", input_shape=(2, 6, 5))


def test_other_sources_are_refused(tmp_path):
    with pytest.raises(TypeError, match=r"`source` is a int: give a path, bytes or an onnx.ModelProto"):
        cl.load(3)
    with pytest.raises(ValueError, match=r"must end in .onnx, .npz or .safetensors; a PyTorch checkpoint"):
        cl.load(tmp_path / "net.pth")


def test_missing_package_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'pip install "convlens\[onnx\]"'):
        cl.load(b"")


# -- names, weights ----------------------------------------------------------------------------------------------------


def test_names_survive():
    net = cl.load(model([CONV, RELU], weights=WEIGHTS))
    assert net.input_name == "x"
    assert [(layer.name, layer.tensor) for layer in net.layers()] == [("/stem/Conv", "features"), ("/stem/Relu", "y")]
    assert set(net.parameters) == {"w", "b"}
    assert net.find("stem/Conv") == "features"


def test_initialisers_may_be_listed_as_inputs():
    _same(model([CONV, RELU], weights=WEIGHTS, listed=True))


def test_constant_nodes_are_weights():
    weight = node("Constant", "", "w", value=numpy_helper.from_array(WEIGHTS["w"]))
    net = _same(model([weight, CONV, RELU], weights={"b": WEIGHTS["b"]}))
    assert set(net.parameters) == {"w", "b"}


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floating_point_weights_are_converted_and_said(dtype):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    made = model([CONV, RELU], weights={name: array.astype(dtype) for name, array in WEIGHTS.items()}, kind=kind)
    net = cl.load(made)
    assert net.dtype == "float32"
    assert f"{dtype} weights were converted to float32" in net.notes
    assert f"input 'x' is {dtype} in the file; it takes float32" in net.notes
    plain = cl.load(model([CONV, RELU], weights={n: a.astype(dtype).astype("float32") for n, a in WEIGHTS.items()}))
    np.testing.assert_array_equal(net(X), plain(X))


@pytest.mark.parametrize("raw", [True, False])
def test_bfloat16_weights_are_converted(raw):
    bits = (WEIGHTS["w"].view(np.uint32) >> 16).astype(np.uint16)
    data = bits.tobytes() if raw else bits.reshape(-1).tolist()
    stored = TensorProto(data_type=TensorProto.BFLOAT16, dims=bits.shape)
    if raw:
        stored.raw_data = data
    else:
        stored.int32_data.extend(data)
    net = cl.load(model([CONV, RELU], weights={"w": stored, "b": WEIGHTS["b"]}))
    np.testing.assert_array_equal(net.parameters["w"], (bits.astype(np.uint32) << 16).view(np.float32))


def test_notes_survive_copies():
    net = cl.load(model([CONV, RELU], ("b", 2, 6, 5), weights={n: a.astype("float64") for n, a in WEIGHTS.items()}))
    assert net.notes
    assert net.astype("float64").notes == pickle.loads(pickle.dumps(net)).notes == net.notes


def test_external_data_are_read_from_the_folder(tmp_path):
    made = model([CONV, RELU], weights=WEIGHTS)
    onnx.save(made, tmp_path / "net.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    np.testing.assert_array_equal(cl.load(tmp_path / "net.onnx")(X), cl.load(model([CONV, RELU], weights=WEIGHTS))(X))
    with pytest.raises(ValueError, match="load the model from its path, bytes have no folder"):
        cl.load((tmp_path / "net.onnx").read_bytes())


# -- shapes ------------------------------------------------------------------------------------------------------------


def test_batch_of_one_runs_any_number_of_images():
    shape = node("Reshape", "features shape", "flat")
    made = model([CONV, shape, node("Relu", "flat", "y")], (1, 2, 6, 5), weights=WEIGHTS | {"shape": np.array([1, -1])})
    net = cl.load(made)
    want = np.concatenate([reference(made, x[None])[0] for x in X])
    np.testing.assert_allclose(net(X), want, rtol=1e-5, atol=1e-5)


def test_batch_of_the_file_is_said():
    net = cl.load(model([CONV, RELU], (8, 2, 6, 5), weights=WEIGHTS))
    assert net.notes == ("the file is for batches of 8 images; the network takes any number",)
    assert net(X).shape == (3, 4, 6, 5)


def test_open_channels_need_a_shape():
    made = model([CONV, RELU], ("b", None, "height", None), weights=WEIGHTS)
    with pytest.raises(ValueError, match=r"input 'x' \(b, \?, height, \?\) has open sizes: give `input_shape`"):
        cl.load(made)
    assert cl.load(made, input_shape=(2, 6, 5))(X).shape == (3, 4, 6, 5)
    made = model([CONV, RELU], ("b", 2, "height", None), weights=WEIGHTS)
    with pytest.raises(ValueError, match=r"`input_shape` \(=\(3, 6, 5\)\) must fit 'x'"):
        cl.load(made, input_shape=(3, 6, 5))


@pytest.mark.parity
@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("op", ["Conv", "MaxPool", "AveragePool"])
def test_auto_pad(op, auto_pad):
    window = {"auto_pad": auto_pad, "strides": [2, 3], "kernel_shape": [3, 2] if op != "Conv" else [3, 3]}
    made = model([node(op, "x w" if op == "Conv" else "x", "y", **window)], weights={"w": WEIGHTS["w"]})
    runtime = pytest.importorskip("onnxruntime")
    want = runtime.InferenceSession(made.SerializeToString()).run(None, {"x": X})[0]  # the evaluator errs in SAME_LOWER
    np.testing.assert_allclose(cl.load(made)(X), want, rtol=1e-5, atol=1e-6)


def test_asymmetric_padding():
    _same(model([node("Conv", "x w b", "y", pads=[0, 2, 1, 0], strides=[2, 1])], weights=WEIGHTS))


def test_shape_arithmetic_is_folded():
    """view(x.size(0), 2, x.size(1) // 2, -1) and an interpolation by sizes, as PyTorch exports them."""
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n"),
        node("Gather", "s one", "c"),
        node("Div", "c two", "half"),
        *(node("Unsqueeze", f"{name} axes", f"{name}1") for name in ("n", "half")),
        node("Concat", "n1 pair half1 rest", "view", axis=0),
        node("Reshape", "x view", "grouped"),
        node("Transpose", "grouped", "swapped", perm=[0, 2, 1, 3]),
        node("Reshape", "swapped s", "back"),
        node("Slice", "s from to", "front"),
        node("Slice", "s to end", "sides"),
        node("Cast", "sides", "float", to=TensorProto.FLOAT),
        node("Mul", "float scale", "larger"),
        node("Floor", "larger", "whole"),
        node("Cast", "whole", "sizes", to=TensorProto.INT64),
        node("Concat", "front sizes", "target", axis=0),
        node(
            "Resize",
            "back - - target",
            "y",
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
    ]
    weights = {
        "zero": np.array(0),
        "one": np.array(1),
        "two": np.array(2),
        "axes": np.array([0]),
        "pair": np.array([2]),
        "rest": np.array([-1]),
        "from": np.array([0]),
        "to": np.array([2]),
        "end": np.array([4]),
        "scale": np.array(1.5, np.float32),
    }
    net = _same(model(nodes, ("b", 4, 6, 5), weights=weights), random(3, 4, 6, 5))
    assert [layer.operator for layer in net.layers()] == ["Reshape", "Transpose", "Reshape", "Resize"]


def test_conditions_on_shapes_are_folded():
    nodes = [
        node("ConstantOfShape", "four", "ones", value=numpy_helper.from_array(np.array([1]))),
        node("Shape", "x", "s"),
        node("Equal", "s minus", "open"),
        node("Where", "open ones s", "target"),
        node("ReduceMean", "x axes", "mean"),
        node("Expand", "mean target", "spread"),
        node("Add", "x spread", "y"),
    ]
    _same(model(nodes, weights={"four": np.array([4]), "minus": np.array([-1]), "axes": np.array([2, 3])}))


def test_mixing_images_is_refused():
    made = model([node("Reshape", "x shape", "y")], weights={"shape": np.array([-1, 5])})
    with pytest.raises(UnsupportedError, match=r"\(Reshape, opset 21\): `shape` \(=\[-1, 5\]\) of .* mixes images"):
        cl.load(made)
    made = model([node("Transpose", "x", "y", perm=[1, 0, 2, 3])])
    with pytest.raises(UnsupportedError, match="the batch N stays the first axis"):
        cl.load(made)


# -- outputs -----------------------------------------------------------------------------------------------------------


def test_several_outputs():
    made = model([CONV, RELU], weights=WEIGHTS, outputs=["y", "features"])
    results = cl.load(made)(X)
    assert list(results) == ["y", "features"]
    np.testing.assert_array_equal(results["y"], np.maximum(results["features"], 0))


def test_missing_operator_is_named_and_may_be_cut_off():
    made = model([CONV, RELU, node("NonZero", "y", "z", "odd")], weights=WEIGHTS, outputs=["z"])
    with pytest.raises(UnsupportedError) as caught:
        cl.load(made)
    assert str(caught.value).startswith(
        "node 'odd' (NonZero, opset 21): the operator is not supported; supported are Abs"
    )
    assert "Conv, ConvInteger, ConvTranspose" in str(caught.value)
    assert cl.load(made, outputs="y").output_name == "y"
    assert cl.load(made, outputs=["/stem/Conv"]).output_name == "features"


def test_unknown_output_is_an_error():
    with pytest.raises(
        ValueError, match="`outputs` holds 'logits', which is no tensor or node of the file; its outputs are 'y'"
    ):
        cl.load(model([CONV, RELU], weights=WEIGHTS), outputs="logits")


def test_second_input_is_asked_for_where_it_is_needed():
    made = model(
        [RELU, node("Add", "y z", "sum")], inputs={"z": ["b", 2, 6, 5], "features": ["b", 2, 6, 5]}, outputs=["sum"]
    )
    assert list(cl.load(made).graph.inputs) == ["features", "z"]
    assert cl.load(made, outputs="y").input_name == "features"


# -- versions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 18, 21, 22])
def test_versions_of_a_graph_are_one_network(opset):
    """Axes, bounds, pads and parts are attributes before the opset that made them inputs."""
    clip = node("Clip", "x", "c", min=-0.5, max=0.5) if opset < 11 else node("Clip", "x low high", "c")
    pad = node("Pad", "c", "p", pads=[0, 0, 1, 0, 0, 0, 0, 1]) if opset < 11 else node("Pad", "c pads", "p")
    cut = (
        node("Slice", "p", "s", axes=[2], starts=[1], ends=[9]) if opset < 10 else node("Slice", "p one nine axis", "s")
    )
    if opset < 13:
        moved = [node("Unsqueeze", "s", "u", axes=[1]), node("Squeeze", "u", "q", axes=[1])]
    else:
        moved = [node("Unsqueeze", "s one", "u"), node("Squeeze", "u one", "q")]
    mean = (
        node("ReduceMean", "q", "y", axes=[2], keepdims=0)
        if opset < 18
        else node("ReduceMean", "q axis", "y", keepdims=0)
    )
    weights = {
        "low": np.array(-0.5, np.float32),
        "high": np.array(0.5, np.float32),
        "pads": np.array([0, 0, 1, 0, 0, 0, 0, 1]),
        "one": np.array([1]),
        "nine": np.array([9]),
        "axis": np.array([2]),
    }
    net = cl.load(model([clip, pad, cut, *moved, mean], weights=weights, opset=opset))
    want = np.pad(X.clip(-0.5, 0.5), [(0, 0), (0, 0), (1, 0), (0, 1)])[:, :, 1:].mean(2)
    np.testing.assert_allclose(net(X), want, rtol=1e-5, atol=1e-6)


def test_softmax_before_opset_13_is_over_all_axes_behind():
    x = random(3, 2, 2, 3)
    flat = np.exp(x.reshape(3, -1))
    for opset, want in (
        (11, (flat / flat.sum(1, keepdims=True)).reshape(x.shape)),
        (13, np.exp(x) / np.exp(x).sum(1, keepdims=True)),
    ):
        net = cl.load(model([node("Softmax", "x", "y", axis=1)], x.shape, opset=opset))
        np.testing.assert_allclose(net(x), want, rtol=1e-5)


def test_group_normalization_has_one_scale_a_group_before_opset_21():
    x, scale, bias = random(2, 4, 3, 3), np.float32([2, 3]), np.float32([1, -1])
    old = model(
        [node("GroupNormalization", "x s b", "y", num_groups=2)], x.shape, weights={"s": scale, "b": bias}, opset=18
    )
    wide = {"s": np.repeat(scale, 2), "b": np.repeat(bias, 2)}
    new = model([node("GroupNormalization", "x s b", "y", num_groups=2)], x.shape, weights=wide, opset=21)
    np.testing.assert_array_equal(cl.load(old)(x), cl.load(new)(x))


@pytest.mark.parametrize(("opset", "text"), [(5, "opset 5; supported: 7 to"), (99, "opset 99; supported: 7 to")])
def test_other_opsets_are_refused(opset, text):
    with pytest.raises(UnsupportedError, match=text):
        cl.load(model([RELU], weights={}, inputs={"features": ["b", 2]}, opset=opset))


def test_other_domains_are_refused():
    made = model([helper.make_node("FusedConv", ["x"], ["y"], "fused", domain="com.microsoft")])
    with pytest.raises(UnsupportedError, match=r"node 'fused' .*the operators of 'com.microsoft' are not supported"):
        cl.load(made)


# -- operators ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"alpha": 0.5, "beta": 2.0}, {"transB": 1, "alpha": 3.0}])
@pytest.mark.parametrize("c", [(), (4,), (1, 4), (1,)])
def test_gemm(options, c):
    weights = {"w": random(4, 5) if options.get("transB") else random(5, 4), "c": np.asarray(random(*c), np.float32)}
    _same(model([node("Gemm", "x w c", "y", **options)], ("b", 5), weights=weights), random(3, 5))


@pytest.mark.parametrize("shape", [(3, 5), (3, 4, 5), (3, 4, 2, 5), (3, 2, 2, 2, 5)])
def test_matmul_by_weights(shape):
    made = model([node("MatMul", "x w", "y")], ("b", *shape[1:]), weights={"w": random(5, 7)})
    net = _same(made, random(*shape))
    operators = [layer.operator for layer in net.layers()]
    assert operators == ["Gemm"] if len(shape) == 2 else "Conv" in operators


def test_matmul_of_two_activations():
    nodes = [node("Transpose", "x", "t", perm=[0, 2, 1]), node("MatMul", "x t", "y")]
    net = _same(model(nodes, ("b", 4, 5)), random(3, 4, 5))
    assert [layer.operator for layer in net.layers()] == ["Transpose", "MatMul"]


def test_attention_with_one_query_for_all_heads():
    nodes = [
        *(node("Slice", "x s e a", "q"), node("Transpose", "x", "t", perm=[0, 1, 3, 2])),
        *(node("MatMul", "q t", "m"), node("Softmax", "m", "p", axis=-1), node("MatMul", "p x", "y")),
    ]
    weights = {"s": np.array([0]), "e": np.array([1]), "a": np.array([1])}
    _same(model(nodes, ("b", 3, 4, 5), weights=weights), random(2, 3, 4, 5))


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
def test_padding_by_the_image(mode):
    _same(model([node("Pad", "x pads", "y", mode=mode)], weights={"pads": np.array([0, 0, 2, 1, 0, 0, 1, 3])}))


def test_gather_of_known_channels():
    for indices in ([1, 0, 1, 1], [0, 1], [-1], 1, [[0, 1], [1, 0]]):
        _same(model([node("Gather", "x i", "y", axis=1)], weights={"i": np.array(indices)}))


@pytest.mark.parametrize("op", ["Resize", "Upsample"])
def test_old_resampling(op):
    scales = {"s": np.float32([1, 1, 2, 2])}
    made = model([node(op, "x s", "y", mode="nearest")], weights=scales, opset=10 if op == "Resize" else 9)
    np.testing.assert_array_equal(cl.load(made)(X), X.repeat(2, 2).repeat(2, 3))


def test_lrn():
    x = random(2, 7, 3, 4)
    net = cl.load(model([node("LRN", "x", "y", size=4, alpha=0.5, beta=0.75, bias=2.0)], ("b", 7, 3, 4)))
    squares = np.pad(x * x, [(0, 0), (1, 2), (0, 0), (0, 0)])
    sums = sum(squares[:, i : i + 7] for i in range(4))
    np.testing.assert_allclose(net(x), x / (2 + 0.5 / 4 * sums) ** 0.75, rtol=1e-5)


@pytest.mark.parametrize(
    "method", ["saliency", "input_x_gradient", "integrated_gradients", "guided_backprop", "grad_cam"]
)
def test_methods_explain_an_imported_network(method):
    nodes = [
        CONV,
        RELU,
        node("GlobalAveragePool", "y", "p"),
        node("Flatten", "p", "f"),
        node("Gemm", "f head", "logits"),
    ]
    made = model(
        [*nodes, node("Softmax", "logits", "prob")], weights=WEIGHTS | {"head": random(4, 3)}, outputs=["prob"]
    )
    net = cl.load(made)
    assert net.logits_name == "logits"
    options = {"layer": "stem/Relu"} if method == "grad_cam" else {}
    why = getattr(cl.explain, method)(net, X, 1, **options)
    assert why.output == "logits"
    assert np.abs(why.values).max() > 0


def test_a_network_that_ends_in_arg_max_is_explained_at_what_it_chooses_from():
    nodes = [
        *(node("Conv", "x w", "c", "conv"), node("GlobalAveragePool", "c", "p"), node("Flatten", "p", "f")),
        *(node("Softmax", "f", "s"), node("ArgMax", "s", "a", axis=1), node("Squeeze", "a axes", "y")),
    ]
    weights = {"w": random(4, 3, 3, 3), "axes": np.array([1])}
    net = cl.load(model(nodes, (1, 3, 8, 8), weights=weights))
    x = random(3, 3, 8, 8, seed=2)
    assert net(x).dtype == np.int64
    np.testing.assert_array_equal(net(x), net.activations(x, "s")["s"].argmax(axis=1))
    why = cl.explain.saliency(net, x)
    assert why.output == "f"
    np.testing.assert_array_equal(why.target, net(x))


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1, 1)])
def test_a_maximum_and_a_minimum_by_numbers_are_activations(shape):
    nodes = [node("Max", "zero x", "a"), node("Min", "a six", "b"), node("Max", "b low", "c"), node("Max", "c x", "y")]
    bounds = {"zero": np.zeros(shape), "six": np.full(shape, 0.6), "low": np.full(shape, 0.2)}
    net = _same(model(nodes, weights={name: value.astype(np.float32) for name, value in bounds.items()}))
    assert [layer.operator for layer in net.layers()] == ["Relu", "Clip", "Clip", "Max"]


# -- strides, as PyTorch's newer exporter writes them ------------------------------------------------------------------


def _strided(places):
    """Elements of a flattened (batch, 2, 2, 3) at 12 n + `places`."""
    nodes = [
        node("Reshape", "x row", "flat"),
        node("Shape", "x", "count", end=1),
        node("Squeeze", "count", "images"),
        node("Range", "zero images one", "numbers"),
        node("Mul", "numbers elements", "starts"),
        node("Unsqueeze", "starts axes", "columns"),
        node("Add", "columns places", "indices"),
        node("Gather", "flat indices", "z", "strided"),
        node("Relu", "z", "y"),
    ]
    weights = {"row": np.array([-1]), "one": np.array(1), "elements": np.array(12), "axes": np.array([1, 2])}
    return model(nodes, ("batch", 2, 2, 3), weights={**weights, "zero": np.array(0), "places": places})


@pytest.mark.parametrize(
    "places", [np.arange(12).reshape(1, 4, 3), np.arange(12).reshape(1, 3, 4)[:, ::-1], np.array([[[7, 1], [1, 4]]])]
)
def test_strides_take_each_images_own_elements(places):
    _same(_strided(places), random(3, 2, 2, 3))


@pytest.mark.parametrize("places", [np.array([[[12]]]), np.array([[[-1]]])])
def test_strides_into_other_images_are_refused(places):
    with pytest.raises(UnsupportedError, match="`indices` mix images"):
        cl.load(_strided(places))


def test_a_row_of_all_images_is_refused_elsewhere():
    made = model([node("Reshape", "x row", "flat"), node("Relu", "flat", "y")], weights={"row": np.array([-1])})
    with pytest.raises(UnsupportedError, match="'flat' has the elements of all images in one row"):
        cl.load(made)


@pytest.mark.parametrize("axes", [[0], [0, 2]])
def test_images_stay_the_first_axis_of_their_numbers(axes):
    made = _strided(np.array([[[1]]]))
    next(tensor for tensor in made.graph.initializer if tensor.name == "axes").CopyFrom(
        numpy_helper.from_array(np.array(axes), "axes")
    )
    with pytest.raises(UnsupportedError, match="moves or mixes images' numbers"):
        cl.load(made)


# -- module paths of the older exporter --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("/layer4/layer4.1/relu/Relu", "layer4.1.relu"),
        ("/features/features.12/features.12.2/Relu", "features.12.2"),
        ("/layer1/layer1.0/downsample/downsample.1/Relu", "layer1.0.downsample.1"),
        ("/block4/block4-5/f/f.0/Relu", "block4.block4-5.f.0"),
        ("/relu/Relu", "relu"),
    ],
)
def test_a_nodes_name_says_its_module(name, path):
    net = cl.load(model([node("Relu", "x", "y", name), node("Exp", "y", "z")], outputs=["z"]))
    assert net.find(path) == "y"
    assert path in net.paths
