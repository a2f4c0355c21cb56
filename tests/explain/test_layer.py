"""The automatic layer on the shapes of known architectures, and layers by name."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import explain, nn
from convlens.explain._layer import _between, _crossed_by_every_path, choose_layer, layer_before
from convlens.graph import GraphBuilder
from explain.networks import images, residual, small


def conv(channels, name, **more):
    return nn.Conv2d(out_channels=channels, kernel_size=3, padding="same", name=name, **more)


def alexnet():
    x = nn.Input((3, 32, 32))
    y = nn.MaxPool2d(kernel_size=2)(nn.ReLU(name="last")(conv(8, "b")(nn.ReLU()(conv(8, "a", stride=2)(x)))))
    y = nn.Linear(out_features=4)(nn.ReLU()(nn.Linear(out_features=16)(nn.Flatten()(y))))
    return nn.Network(inputs=x, outputs=y), "last"


def vgg():
    x = nn.Input((3, 32, 32))
    y = nn.MaxPool2d(kernel_size=2)(nn.ReLU()(conv(4, "a")(x)))
    y = nn.MaxPool2d(kernel_size=2)(nn.ReLU(name="relu5_3")(conv(8, "b")(y)))
    return nn.Network(inputs=x, outputs=nn.Linear(out_features=4)(nn.Flatten()(y))), "relu5_3"


def resnet():
    x = nn.Input((3, 32, 32))
    a = nn.ReLU()(conv(8, "a", stride=4)(x))
    b = nn.BatchNorm2d()(conv(8, "b")(nn.ReLU()(nn.BatchNorm2d()(conv(8, "c")(a)))))
    c = nn.ReLU(name="layer4.1.relu")(nn.Add()(a, b))
    y = nn.Linear(out_features=4)(nn.Flatten()(nn.GlobalAvgPool2d()(c)))
    return nn.Network(inputs=x, outputs=y), "layer4.1.relu"


def mobilenet():
    x = nn.Input((3, 32, 32))
    y = nn.ReLU(name="last")(nn.BatchNorm2d()(conv(8, "head", stride=4)(x)))
    y = nn.Linear(out_features=4)(nn.Flatten()(nn.GlobalAvgPool2d()(y)))
    return nn.Network(inputs=x, outputs=nn.Softmax()(y)), "last"


def squeezenet():
    """The classifier is a convolution: its map has a channel per class and is not the layer."""
    x = nn.Input((3, 32, 32))
    fire = nn.ReLU(name="fire9")(conv(8, "expand", stride=2)(x))
    y = nn.ReLU(name="per_class")(nn.Conv2d(out_channels=4, kernel_size=1, name="conv10")(fire))
    return nn.Network(inputs=x, outputs=nn.Flatten()(nn.GlobalAvgPool2d()(y))), "fire9"


def preactivation():
    """DenseNet's order: normalise and activate after the last sum."""
    x = nn.Input((3, 32, 32))
    a = conv(8, "a", stride=4)(x)
    b = nn.Add(name="sum")(a, conv(8, "b")(nn.ReLU()(nn.BatchNorm2d()(a))))
    y = nn.ReLU(name="norm5.relu")(nn.BatchNorm2d(name="norm5")(b))
    return nn.Network(inputs=x, outputs=nn.Linear(out_features=4)(nn.Flatten()(nn.GlobalAvgPool2d()(y)))), "norm5.relu"


def pooled_head_of_1x1_convolutions():
    x = nn.Input((3, 32, 32))
    y = nn.GlobalAvgPool2d()(nn.ReLU(name="last")(conv(8, "a", stride=4)(x)))
    return nn.Network(inputs=x, outputs=nn.Flatten()(nn.Conv2d(out_channels=4, kernel_size=1)(y))), "last"


def without_activation():
    x = nn.Input((3, 32, 32))
    y = nn.AvgPool2d(kernel_size=4)(nn.BatchNorm2d(name="norm")(conv(8, "a")(x)))
    return nn.Network(inputs=x, outputs=nn.Linear(out_features=4)(nn.Flatten()(y))), "norm"


def pooled_before_activation():
    x = nn.Input((3, 32, 32))
    y = nn.ReLU(name="last")(nn.MaxPool2d(kernel_size=2)(conv(8, "a")(x)))
    return nn.Network(inputs=x, outputs=nn.Linear(out_features=4)(nn.Flatten()(y))), "last"


def swish():
    """EfficientNet's activation: x times sigmoid(x); the product is crossed by every path, the sigmoid is not."""
    b = GraphBuilder()
    x = b.input("images", "float32", ("N", 3, 16, 16))
    y = b.add("Conv", [x, b.constant(np.ones((4, 3, 3, 3), np.float32))], {"kernel_shape": [3, 3]}, name="conv")
    y = b.add("Mul", [y, b.add("Sigmoid", [y], name="gate")], name="swish")
    y = b.add("Flatten", [b.add("GlobalAveragePool", [y], name="pool")], name="flat")
    y = b.add("Gemm", [y, b.constant(np.ones((4, 2), np.float32))], name="logits")
    return nn.Network(graph=b.build([y])), "swish"


def convnext():
    """Channels go last for the normalisation of the pooled features: one row of 4 is no image."""
    x = nn.Input((3, 32, 32))
    y = nn.GlobalAvgPool2d()(conv(4, "last", stride=4)(x))
    y = nn.Permute(dims=(0, 3, 1, 2))(nn.LayerNorm(normalized_shape=4)(nn.Permute(dims=(0, 2, 3, 1))(y)))
    return nn.Network(inputs=x, outputs=nn.Linear(out_features=4)(nn.Flatten()(y))), "last"


def channels_last_at_the_end():
    x = nn.Input((3, 32, 32))
    y = nn.Permute(dims=(0, 2, 3, 1))(nn.ReLU(name="last")(conv(4, "a", stride=4)(x)))
    return nn.Network(inputs=x, outputs=nn.Linear(out_features=4)(nn.Mean(axis=(1, 2))(y))), "last"


def reshaped_before_the_mean():
    x = nn.Input((3, 32, 32))
    y = nn.Reshape(shape=(4, 4, -1))(nn.ReLU(name="last")(conv(4, "a", stride=4)(x)))
    return nn.Network(inputs=x, outputs=nn.Linear(out_features=4)(nn.Mean(axis=(2, 3))(y))), "last"


@pytest.mark.parametrize(
    "make",
    [
        alexnet,
        convnext,
        channels_last_at_the_end,
        reshaped_before_the_mean,
        vgg,
        resnet,
        mobilenet,
        squeezenet,
        preactivation,
        pooled_head_of_1x1_convolutions,
        without_activation,
        pooled_before_activation,
        swish,
    ],
)
def test_the_automatic_layer_of_known_architectures(make):
    net, golden = make()
    why = explain.grad_cam(net, images(1, shape=net.input_shape), 1)
    assert why.layer == golden


def test_a_branch_is_not_chosen():
    # Neither the branch's tensors nor the sum before its activation.
    assert choose_layer(residual().graph, before="logits") == "relu1_3"


def test_what_every_path_crosses_leaves_out_both_sides_of_a_sum():
    x = nn.Input((1, 6, 6))
    a = conv(2, "a")(x)
    y = nn.Flatten(name="flat")(nn.Add(name="sum")(a, conv(2, "b")(a)))
    graph = nn.Network(inputs=x, outputs=nn.Linear(out_features=2, name="logits")(y)).graph
    tensors = _between(graph, "logits", "images")
    assert _crossed_by_every_path(graph, tensors, "logits", "images") == ["a", "sum", "flat"]


def test_without_a_spatial_layer_the_error_says_so():
    net = nn.Sequential(nn.Flatten(), nn.Linear(out_features=2), input_shape=(1, 4, 4))
    with pytest.raises(ValueError, match=r"`layer` \(=None\) cannot be chosen.*name one of net.layers"):
        explain.grad_cam(net, images(1, shape=(1, 4, 4)))


def test_a_layer_after_the_output_is_refused():
    with pytest.raises(ValueError, match="is not on the way from the images to 'relu1'"):
        layer_before(small(), "conv2", before="relu1")


def test_a_flat_layer_has_no_map():
    with pytest.raises(ValueError, match=r"Grad-CAM needs a layer with height and width"):
        explain.grad_cam(small(), images(1), layer="flatten1")


def test_a_layer_is_a_name():
    with pytest.raises(TypeError, match=r"`layer` \(=3\) must be a str"):
        explain.activations(small(), images(1), layer=3)


def test_a_glob_finds_the_layer_it_is_unique_for():
    assert explain.activations(small(), images(1), layer="*nv2").layer == "conv2"
