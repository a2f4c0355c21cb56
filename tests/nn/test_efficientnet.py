"""EfficientNet-Lite0: its layers and paddings, and what it answers beside PyTorch with the trained weights."""

from __future__ import annotations

import functools
from collections import Counter

import numpy as np
import pytest

from convlens import explain, nn
from lite0 import CATS, photograph, softmax, torch_module, trained

#: Input size, kernel, stride and channels of the depthwise convolutions, and what "same" pads (top, left, bottom,
#: right): odd totals put the extra row or column at the bottom and right.
DEPTHWISE = [
    (112, 3, 1, 32, (1, 1, 1, 1)),
    (112, 3, 2, 96, (0, 0, 1, 1)),
    (56, 3, 1, 144, (1, 1, 1, 1)),
    (56, 5, 2, 144, (1, 1, 2, 2)),
    (28, 5, 1, 240, (2, 2, 2, 2)),
    (28, 3, 2, 240, (0, 0, 1, 1)),
    (14, 3, 1, 480, (1, 1, 1, 1)),
    (14, 3, 1, 480, (1, 1, 1, 1)),
    (14, 5, 1, 480, (2, 2, 2, 2)),
    (14, 5, 1, 672, (2, 2, 2, 2)),
    (14, 5, 1, 672, (2, 2, 2, 2)),
    (14, 5, 2, 672, (1, 1, 2, 2)),
    (7, 5, 1, 1152, (2, 2, 2, 2)),
    (7, 5, 1, 1152, (2, 2, 2, 2)),
    (7, 5, 1, 1152, (2, 2, 2, 2)),
    (7, 3, 1, 1152, (1, 1, 1, 1)),
]
BLOCK_1 = [
    ("blocks.1.expand_conv", "Conv", (96, 112, 112)),
    ("blocks.1.bn0", "BatchNormalization", (96, 112, 112)),
    ("blocks.1.relu0", "Clip", (96, 112, 112)),
    ("blocks.1.depthwise_conv", "Conv", (96, 56, 56)),
    ("blocks.1.bn1", "BatchNormalization", (96, 56, 56)),
    ("blocks.1.relu1", "Clip", (96, 56, 56)),
    ("blocks.1.project_conv", "Conv", (24, 56, 56)),
    ("blocks.1.bn2", "BatchNormalization", (24, 56, 56)),
]


@functools.cache
def untrained():
    return nn.efficientnet_lite0()


def test_padding_of_every_depthwise_convolution_is_tensorflows():
    nodes = {node.name: node for node in untrained().graph.nodes}
    found = []
    for index in range(len(DEPTHWISE)):
        node = nodes[f"blocks.{index}.depthwise_conv"]
        kind = untrained().graph.types[node.inputs[0]]
        assert node.attributes["group"] == kind.shape[1]
        found.append(
            (
                kind.shape[2],
                node.attributes["kernel_shape"][0],
                node.attributes["strides"][0],
                kind.shape[1],
                tuple(node.attributes["pads"]),
            )
        )
    assert found == DEPTHWISE
    assert tuple(nodes["conv_stem"].attributes["pads"]) == (0, 0, 1, 1)


def test_names_operators_and_shapes_of_the_layers():
    layers = untrained().layers()
    described = [(layer.name, layer.operator, layer.shape[1:]) for layer in layers]
    assert described[:3] == [
        ("conv_stem", "Conv", (32, 112, 112)),
        ("bn0", "BatchNormalization", (32, 112, 112)),
        ("relu_stem", "Clip", (32, 112, 112)),
    ]
    start = described.index(BLOCK_1[0])
    assert described[start : start + len(BLOCK_1)] == BLOCK_1
    assert described[-6:] == [
        ("conv_head", "Conv", (1280, 7, 7)),
        ("bn1", "BatchNormalization", (1280, 7, 7)),
        ("relu_head", "Clip", (1280, 7, 7)),
        ("avg_pooling", "GlobalAveragePool", (1280, 1, 1)),
        ("features", "Flatten", (1280,)),
        ("fc", "Gemm", (1000,)),
    ]
    added = [layer.name for layer in layers if layer.operator == "Add"]
    assert added == [f"blocks.{i}.add" for i in (2, 4, 6, 7, 9, 10, 12, 13, 14)]
    count = Counter(layer.operator for layer in layers)
    one = ("GlobalAveragePool", "Flatten", "Gemm")
    assert count == {"Conv": 49, "BatchNormalization": 49, "Clip": 33, "Add": 9, **dict.fromkeys(one, 1)}


def test_batch_normalisation_is_as_trained():
    for node in untrained().graph.nodes:
        if node.op == "BatchNormalization":
            assert node.attributes["epsilon"] == 1e-3
            assert node.attributes["momentum"] == 0.99  # the share that stays
        if node.op == "Clip":
            assert [float(untrained().graph.constants[name]) for name in node.inputs[1:]] == [0.0, 6.0]


def test_the_head_and_the_input_may_have_other_sizes():
    net = nn.efficientnet_lite0(num_classes=3, input_shape=(1, 33, 50), seed=1)
    assert net(np.zeros((2, 1, 33, 50), np.float32)).shape == (2, 3)
    assert net.parameters["fc.weight"].shape == (3, 1280)
    with pytest.raises(ValueError, match=r"`num_classes` \(=0\)"):
        nn.efficientnet_lite0(num_classes=0)


def test_class_activation_maps_read_the_last_activation():
    why = explain.grad_cam(nn.efficientnet_lite0(input_shape=(3, 64, 64)), np.zeros((1, 3, 64, 64), np.float32), 0)
    assert why.layer == "relu_head"
    assert why.layer_values.shape == (1, 1, 2, 2)


def test_weights_must_fit():
    with pytest.raises(ValueError, match=r"`state_dict` does not fit the network: it lacks 'conv_stem.weight'"):
        nn.efficientnet_lite0({})
    with pytest.raises(FileNotFoundError):
        nn.efficientnet_lite0("missing.pth")


def test_the_cat_is_a_cat():
    images, _, _ = photograph("chelsea")
    probabilities = softmax(trained()(images))[0]
    assert probabilities.argmax() in CATS
    assert probabilities[list(CATS)].sum() > 0.8


def test_names_of_the_package_and_arrays_do_too():
    arrays = {f"_{name}": array for name, array in trained().parameters.items() if not name.startswith("blocks")}
    blocks = {
        "_" + ".".join([part, number, f"_{module}", kind]): array
        for name, array in trained().parameters.items()
        if name.startswith("blocks")
        for part, number, module, kind in [name.split(".")]
    }
    again = nn.efficientnet_lite0({**arrays, **blocks, "_bn0.num_batches_tracked": np.array(1)})
    assert all(np.array_equal(array, again.parameters[name]) for name, array in trained().parameters.items())


@pytest.mark.parity
def test_padding_is_the_packages():
    torch = pytest.importorskip("torch")
    nodes = {node.name: node for node in trained().graph.nodes if node.op == "Conv"}
    seen = 0
    for name, part in torch_module().named_modules():
        if isinstance(part, torch.nn.Conv2d):
            left, right, top, bottom = getattr(part.static_padding, "padding", (0, 0, 0, 0))
            own = nodes[name.replace("._", ".").removeprefix("_")]
            assert tuple(own.attributes["pads"]) == (top, left, bottom, right), name
            seen += 1
    assert seen == len(nodes) == 49


@pytest.mark.parity
@pytest.mark.parametrize("name", ["chelsea", "astronaut", "coffee"])
def test_probabilities_and_top_five_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    images, _, _ = photograph(name)
    ours = softmax(trained()(images))
    with torch.no_grad():
        theirs = softmax(torch_module()(torch.tensor(images)).numpy())
    assert np.abs(ours - theirs).max() <= 1e-3
    assert np.array_equal(np.argsort(-ours[0])[:5], np.argsort(-theirs[0])[:5])


@pytest.mark.parity
def test_every_layer_is_pytorchs_in_float64():
    torch = pytest.importorskip("torch")
    images, _, _ = photograph("chelsea")
    values, model = {}, torch_module(double=True)
    for name, part in model.named_modules():
        if isinstance(part, (torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.Linear)):
            own = name.replace("._", ".").removeprefix("_")
            part.register_forward_hook(lambda _, __, out, own=own: values.update({own: out.numpy()}))
    with torch.no_grad():
        model(torch.tensor(images, dtype=torch.float64))
    ours = trained(double=True).activations(images.astype(np.float64), values)
    assert len(ours) == 99
    for name, theirs in values.items():
        assert np.abs(ours[name] - theirs).max() <= 1e-8 * np.abs(theirs).max(), name
