"""Networks to ONNX files and back: what is kept, how it is written, whole networks, files that cannot be."""

from __future__ import annotations

import io
import os
import sys

import numpy as np
import pytest

pytest.importorskip("onnx.helper")

from onnx.reference import ReferenceEvaluator
from onnx_models import unchanged, valid

import convlens as cl
import onnx
from convlens import UnsupportedError, nn, reference
from convlens.transform import GRADIENT, backward
from nn.layers import DTYPES, LAYERS, USES
from onnx import TensorProto, numpy_helper


def noisy(net, seed=0):
    """The network with every parameter positive noise: statistics, scales and shifts that show."""
    rng = np.random.default_rng(seed)
    net.set_parameters({name: rng.uniform(0.2, 1.2, array.shape) for name, array in net.parameters.items()})
    return net


def digits():
    layers = [
        *(nn.Conv2d(out_channels=4, kernel_size=3, name="stem"), nn.BatchNorm2d(eps=1e-3)),
        *(nn.LeakyReLU(negative_slope=0.1), nn.MaxPool2d(kernel_size=2), nn.Hardtanh(min_val=0, max_val=3)),
        *(nn.Flatten(), nn.Dropout(p=0.3), nn.Linear(out_features=5, name="head"), nn.Softmax()),
    ]
    return noisy(nn.Sequential(*layers, input_shape=(2, 8, 7), seed=1))


def images(net, n=3):
    rng, kind = np.random.default_rng(2), net.graph.inputs[net.input_name]
    if kind.dtype == "int64":
        return rng.integers(0, 3, (n, *net.input_shape))
    return rng.standard_normal((n, *net.input_shape)).astype(kind.dtype)


def through_file(net):
    return cl.load(cl.onnx.to_model(net))


# -- what is kept ------------------------------------------------------------------------------------------------------


def test_network_comes_back_to_the_bit():
    net = digits()
    valid(cl.onnx.to_model(net))
    again = through_file(net)
    assert again(images(net)).tobytes() == net(images(net)).tobytes()
    assert [(layer.name, layer.tensor) for layer in again.layers()] == [(a.name, a.tensor) for a in net.layers()]
    assert set(again.parameters) == set(net.parameters)
    unchanged(again.graph, through_file(again).graph)


def test_what_onnx_cannot_hold_is_kept():
    """Doubles that are no float32 and the gradient at a bound: explanations in double are the same."""
    net = digits().astype("float64")
    again = through_file(digits()).astype("float64")
    x = images(net)
    maps = [np.asarray(cl.explain.integrated_gradients(of, x, 1, n_steps=4)) for of in (net, again)]
    assert maps[0].tobytes() == maps[1].tobytes()


def test_metadata_take_no_attribute_of_onnx_away():
    model = cl.onnx.to_model(digits())
    (node,) = (node for node in model.graph.node if node.op_type == "Flatten")
    node.metadata_props.add(key="convlens.attributes", value='{"axis":0,"gradient_at_bounds":1}')
    (found,) = (node for node in cl.load(model).graph.nodes if node.op == "Flatten")
    assert dict(found.attributes) == {}


def test_another_tool_that_changes_an_attribute_is_believed():
    model = cl.onnx.to_model(digits())
    (node,) = (node for node in model.graph.node if node.op_type == "LeakyRelu")
    node.attribute[0].f = 0.5
    (found,) = (node for node in cl.load(model).graph.nodes if node.op == "LeakyRelu")
    assert found.attributes["alpha"] == 0.5


@pytest.mark.parametrize(
    "text", ["{", "[1]", "7", '{"alpha":"x"}', '{"alpha":[1]}', '{"alpha":1e999}', '{"axis":1}', "[" * 9000]
)
def test_broken_metadata_change_nothing(text):
    model = cl.onnx.to_model(digits())
    want = cl.load(model).graph
    for proto in (model, *model.graph.node):
        for entry in proto.metadata_props:
            entry.value = text
    net = cl.load(model)
    assert [node.op for node in net.graph.nodes] == [node.op for node in want.nodes]
    (found,) = (node for node in net.graph.nodes if node.op == "LeakyRelu")
    assert found.attributes["alpha"] == np.float32(0.1)
    assert (net.notes, dict(net.paths)) == ((), {})


def test_notes_and_module_paths_are_kept():
    made = nn.Network(graph=digits().graph, notes=["weights were converted"], paths={"features.0": "stem"})
    model = cl.onnx.to_model(made)
    again = cl.load(model)
    assert (again.notes, dict(again.paths)) == (made.notes, dict(made.paths))
    assert again.find("features.0") == "stem"
    (entry,) = (entry for entry in model.metadata_props if entry.key == "convlens.paths")
    entry.value = '{"features.0":"gone","features.1":"stem","features.2":3}'
    assert dict(cl.load(model).paths) == {"features.1": "stem"}


def test_model_says_who_made_it_and_in_which_opset():
    model = cl.onnx.to_model(digits())
    assert (model.producer_name, model.producer_version) == ("convlens", cl.__version__)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 21)]
    assert model.ir_version == 10


def test_batch_is_a_symbol_and_shapes_are_told():
    graph = cl.onnx.to_model(digits()).graph
    dims = {
        info.name: [dim.dim_param or dim.dim_value for dim in info.type.tensor_type.shape.dim]
        for info in (*graph.input, *graph.value_info, *graph.output)
    }
    assert dims["images"] == ["N", 2, 8, 7]
    assert dims["stem"] == ["N", 4, 6, 5]
    assert dims["head"] == ["N", 5]


def test_constants_keep_their_types():
    builder = cl.graph.GraphBuilder()
    x = builder.input("x", "float32", ("N", 4))
    mask = builder.constant(np.array([True, False, True, True]), "mask")
    y = builder.add("Where", [mask, x, builder.constant(np.float32(0.5), "half")], name="y")
    z = builder.add("Reshape", [y, builder.constant(np.array([0, 2, 2]), "shape")], name="z")
    unread = builder.constant(np.zeros(7), "unread")
    model = valid(cl.onnx.to_model(builder.build([z])))
    kinds = {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in model.graph.initializer}
    types = {"mask": (TensorProto.BOOL, [4]), "half": (TensorProto.FLOAT, []), "shape": (TensorProto.INT64, [3])}
    assert kinds == types
    assert unread not in kinds


def test_double_network_is_written_in_double():
    net = digits().astype("float64")
    model = valid(cl.onnx.to_model(net))
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.DOUBLE
    stored = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    assert {array.dtype.name for array in stored} == {"float64"}
    (found,) = ReferenceEvaluator(model).run(None, {"images": images(net)})
    # alpha and epsilon are float32 in a file
    np.testing.assert_allclose(found, net(images(net)), rtol=1e-7, atol=1e-7)


# -- whole networks ----------------------------------------------------------------------------------------------------


def _layer(name):
    """A network of one layer."""
    arguments, shape = USES[name]
    x = nn.Input(shape, dtype=DTYPES.get(name, "float32"))
    layer = getattr(nn, name)(**arguments)
    takes = nn.Abs()(x) if name in ("Log", "Pow", "Sqrt") else x
    y = layer(takes, nn.Tanh()(x)) if layer.arity == 2 or layer.variadic else layer(takes)
    return noisy(nn.Network(inputs=x, outputs=y))


@pytest.mark.parametrize("name", LAYERS)
def test_layer_comes_back(name):
    net = _layer(name)
    model = valid(cl.onnx.to_model(net))
    again = cl.load(model)
    x, want = images(net), net(images(net))
    np.testing.assert_allclose(again(x), want, rtol=1e-5, atol=1e-5 * np.abs(want).max())
    assert again.output_name == net.output_name
    assert cl.onnx.to_model(again).SerializeToString() == cl.onnx.to_model(through_file(again)).SerializeToString()
    unchanged(again.graph, through_file(again).graph)


def _run(runtime, net, x, names=None):
    file = io.BytesIO()
    cl.onnx.export(net, file)
    return runtime.InferenceSession(file.getvalue()).run(names, {net.input_name: x})


@pytest.mark.parity
@pytest.mark.parametrize("name", [*LAYERS, "digits", "efficientnet_lite0"])
def test_network_runs_in_onnx_runtime(name):
    runtime = pytest.importorskip("onnxruntime")
    makers = {"digits": digits, "efficientnet_lite0": lambda: nn.efficientnet_lite0(weights=None)}
    net = makers.get(name, lambda: _layer(name))()
    for n in (1, 3) if net.input_shape != (3, 224, 224) else (2,):
        x = images(net, n)
        want = net(x)
        np.testing.assert_allclose(_run(runtime, net, x)[0], want, rtol=1e-4, atol=1e-5 * np.abs(want).max())


def test_several_outputs_keep_their_names_and_order():
    x = nn.Input((2, 4, 4))
    y = nn.Conv2d(out_channels=2, kernel_size=1, name="first")(x)
    net = nn.Network(inputs=x, outputs=[nn.ReLU(name="last")(y), y], seed=0)
    model = valid(cl.onnx.to_model(net))
    assert [info.name for info in model.graph.output] == ["last", "first"]
    again = cl.load(model)(images(net))
    assert all(np.array_equal(again[name], value) for name, value in net(images(net)).items())


def _saliency(net):
    graph, gradients = backward(net.graph, net.logits_name, [net.input_name], GRADIENT)
    return graph.subgraph([gradients[net.input_name]])


@pytest.mark.parity
@pytest.mark.parametrize("name", [*(name for name in LAYERS if name not in DTYPES), "digits"])
def test_backward_graph_runs_in_onnx_runtime(name):
    """An explanation in any runtime: the gradient of every layer."""
    runtime = pytest.importorskip("onnxruntime")
    net = digits() if name == "digits" else _layer(name)
    graph = _saliency(net)
    model = valid(cl.onnx.to_model(graph))
    x = images(net)
    seed = np.random.default_rng(3).standard_normal([3, *graph.types["seed"].shape[1:]]).astype(np.float32)
    given = {name: {"images": x, "seed": seed}[name] for name in graph.inputs}
    want = reference.run(graph, given)[graph.outputs[0]]
    session = runtime.InferenceSession(model.SerializeToString())
    (found,) = session.run(None, {info.name: given[info.name] for info in session.get_inputs()})
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5 * np.abs(want).max())


# -- files -------------------------------------------------------------------------------------------------------------


def test_path_open_file_and_model_are_the_same_bytes(tmp_path):
    net, file = digits(), io.BytesIO()
    cl.onnx.export(net, file)
    cl.onnx.export(net, tmp_path / "net.onnx")
    cl.onnx.export(net, str(tmp_path / "again.onnx"))
    data = cl.onnx.to_model(net).SerializeToString(deterministic=True)
    assert file.getvalue() == (tmp_path / "net.onnx").read_bytes() == (tmp_path / "again.onnx").read_bytes() == data
    assert sorted(os.listdir(tmp_path)) == ["again.onnx", "net.onnx"]


def test_weights_past_the_size_lie_beside_the_file(tmp_path):
    net = noisy(nn.Sequential(nn.Flatten(), nn.Linear(out_features=40), input_shape=(3, 8, 8)))
    path = tmp_path / "net.onnx"
    whole = len(cl.onnx.to_model(net).SerializeToString())
    cl.onnx.export(net, path, max_bytes=2 * whole)
    assert os.listdir(tmp_path) == ["net.onnx"]
    cl.onnx.export(net, path, max_bytes=whole - 1)
    assert sorted(os.listdir(tmp_path)) == ["net.onnx", "net.onnx.data"]
    assert path.stat().st_size < 2000
    assert (tmp_path / "net.onnx.data").stat().st_size == 40 * 192 * 4
    onnx.checker.check_model(str(path), full_check=True)
    assert onnx.load(path).graph.initializer[0].HasField("raw_data")
    assert cl.load(path)(images(net)).tobytes() == net(images(net)).tobytes()
    before = [(tmp_path / name).read_bytes() for name in sorted(os.listdir(tmp_path))]
    cl.onnx.export(cl.load(path), path, max_bytes=0)
    assert [(tmp_path / name).read_bytes() for name in sorted(os.listdir(tmp_path))] == before


@pytest.mark.parity
def test_onnx_runtime_reads_weights_beside_the_file(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    net = nn.efficientnet_lite0(weights=None)
    cl.onnx.export(net, tmp_path / "net.onnx", max_bytes=0)
    x = images(net, 1)
    session = runtime.InferenceSession(str(tmp_path / "net.onnx"))
    np.testing.assert_allclose(session.run(None, {net.input_name: x})[0], net(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("max_bytes", [1 << 31, 0])
def test_failed_export_leaves_the_old_files_and_nothing_else(tmp_path, monkeypatch, max_bytes):
    path = tmp_path / "net.onnx"
    net = noisy(nn.Sequential(nn.Flatten(), nn.Linear(out_features=9), input_shape=(1, 9, 9)))
    cl.onnx.export(net, path, max_bytes=min(max_bytes, (1 << 31) - 1))
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    assert len(before) == (1 if max_bytes else 2)
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        cl.onnx.export(noisy(net, seed=1), path, max_bytes=min(max_bytes, (1 << 31) - 1))
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before


def test_refused_operator_leaves_no_file(tmp_path):
    builder = cl.graph.GraphBuilder()
    graph = builder.build([builder.add("Neg", [builder.input("x", "uint8", ("N", 3))], name="minus")])
    with pytest.raises(UnsupportedError, match=r"node 'minus' \(Neg\)"):
        cl.onnx.export(graph, tmp_path / "net.onnx")
    assert os.listdir(tmp_path) == []


# -- wrong arguments ---------------------------------------------------------------------------------------------------


def test_wrong_arguments_are_named(tmp_path):
    net = digits()
    with pytest.raises(TypeError, match="`net` is a dict: give a Network or a Graph"):
        cl.onnx.export({}, tmp_path / "net.onnx")
    with pytest.raises(TypeError, match="`path` is a int: give a path or a binary file open for writing"):
        cl.onnx.export(net, 3)
    with pytest.raises(ValueError, match=r"net.npz'\) must end in .onnx; net.save writes .npz and .safetensors"):
        cl.onnx.export(net, tmp_path / "net.npz")
    for wrong in (-1, 1 << 31, 1.5, "2GB"):
        with pytest.raises(ValueError, match=r"`max_bytes` \(=.*\) must be a number from 0 to 2147483647"):
            cl.onnx.export(net, tmp_path / "net.onnx", max_bytes=wrong)
    with pytest.raises(ValueError, match=r"larger than `max_bytes` \(=10\), and an open file has no place"):
        cl.onnx.export(net, io.BytesIO(), max_bytes=10)
    assert os.listdir(tmp_path) == []


def test_missing_package_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "onnx.helper", None)
    monkeypatch.setitem(sys.modules, "onnx.defs", None)
    with pytest.raises(ImportError, match=r'pip install "convlens\[onnx\]"'):
        cl.onnx.export(digits(), tmp_path / "net.onnx")
