"""Layers: their arguments, shapes and errors."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import nn


@pytest.mark.parametrize(
    ("wrong", "form"),
    [
        (lambda: nn.Conv2d(32, 3), "Conv2d(out_channels=32, kernel_size=3)"),
        (lambda: nn.Conv2d(1, 32, 3), "Conv2d(out_channels=32, kernel_size=3)"),
        (lambda: nn.Conv2d(32, kernel_size=5, padding=2), "Conv2d(out_channels=32, kernel_size=5, padding=2)"),
        (lambda: nn.Conv2d(32), "Conv2d(out_channels=32, kernel_size=...)"),
        (lambda: nn.Conv1d(32, 3), "Conv1d(out_channels=32, kernel_size=3)"),
        (lambda: nn.ConvTranspose2d(8, 16, 2, 2), "ConvTranspose2d(out_channels=16, kernel_size=2, stride=2)"),
        (lambda: nn.AdaptiveAvgPool2d(7), "AdaptiveAvgPool2d(output_size=7)"),
        (lambda: nn.Upsample(None, 2), "Upsample(size=None, scale_factor=2)"),
        (lambda: nn.MaxPool1d(2), "MaxPool1d(kernel_size=2)"),
        (lambda: nn.MaxPool2d(2), "MaxPool2d(kernel_size=2)"),
        (lambda: nn.AvgPool2d(3, 2), "AvgPool2d(kernel_size=3, stride=2)"),
        (lambda: nn.Linear(10), "Linear(out_features=10)"),
        (lambda: nn.Linear(100, 10), "Linear(out_features=10)"),
        (lambda: nn.BatchNorm2d(32), "BatchNorm2d()"),
        (lambda: nn.ReLU(True), "ReLU()"),
        (lambda: nn.LeakyReLU(0.2), "LeakyReLU(negative_slope=0.2)"),
        (lambda: nn.LayerNorm(5), "LayerNorm(normalized_shape=5)"),
        (lambda: nn.GroupNorm(2, 6), "GroupNorm(num_groups=2, num_channels=6)"),
        (lambda: nn.InstanceNorm2d(6), "InstanceNorm2d()"),
        (lambda: nn.Dropout(0.3), "Dropout(p=0.3)"),
        (lambda: nn.ZeroPad2d(1), "ZeroPad2d(padding=1)"),
        (lambda: nn.Reshape((2, 3)), "Reshape(shape=(2, 3))"),
        (lambda: nn.Concat(1), "Concat(axis=1)"),
        (lambda: nn.Slice(0, 4), "Slice(start=0, stop=4)"),
        (lambda: nn.Permute((0, 2, 1)), "Permute(dims=(0, 2, 1))"),
        (lambda: nn.ChannelShuffle(2), "ChannelShuffle(groups=2)"),
        (lambda: nn.Mean((2, 3)), "Mean(axis=(2, 3))"),
    ],
)
def test_positional_size_is_a_type_error_that_shows_the_keyword_form(wrong, form):
    with pytest.raises(TypeError) as error:
        wrong()
    assert str(error.value).endswith(f"write {form}")


@pytest.mark.parametrize(
    ("layer", "shape", "result"),
    [
        (nn.Conv2d(out_channels=5, kernel_size=3), (3, 20, 36), (5, 18, 34)),
        (nn.Conv2d(out_channels=5, kernel_size=(3, 5), padding="same"), (3, 20, 36), (5, 20, 36)),
        (nn.Conv2d(out_channels=5, kernel_size=4, stride=3, padding="same"), (3, 20, 36), (5, 7, 12)),
        (nn.Conv2d(out_channels=5, kernel_size=3, padding="valid"), (3, 20, 36), (5, 18, 34)),
        (nn.Conv2d(out_channels=5, kernel_size=3, padding=(0, 1)), (3, 20, 36), (5, 18, 36)),
        (nn.Conv2d(out_channels=5, kernel_size=3, padding=((1, 2), (0, 0))), (3, 20, 36), (5, 21, 34)),
        (nn.Conv2d(out_channels=5, kernel_size=3, padding=(1, 0, 2, 0)), (3, 20, 36), (5, 21, 34)),
        (nn.Conv2d(out_channels=6, kernel_size=3, dilation=2, groups=3), (3, 20, 36), (6, 16, 32)),
        (nn.MaxPool2d(kernel_size=2), (3, 21, 36), (3, 10, 18)),
        (nn.MaxPool2d(kernel_size=2, ceil_mode=True), (3, 21, 36), (3, 11, 18)),
        (nn.MaxPool2d(kernel_size=3, stride=1, padding=1), (3, 20, 36), (3, 20, 36)),
        (nn.AvgPool2d(kernel_size=(2, 3)), (3, 20, 36), (3, 10, 12)),
        (nn.GlobalAvgPool2d(), (3, 20, 36), (3, 1, 1)),
        (nn.GlobalMaxPool2d(), (3, 20, 36), (3, 1, 1)),
        (nn.GlobalAvgPool1d(), (3, 20), (3, 1)),
        (nn.GlobalMaxPool1d(), (3, 20), (3, 1)),
        (nn.AdaptiveAvgPool2d(output_size=7), (3, 20, 36), (3, 7, 7)),
        (nn.AdaptiveMaxPool2d(output_size=(5, 40)), (3, 20, 36), (3, 5, 40)),
        (nn.AdaptiveAvgPool1d(output_size=4), (3, 20), (3, 4)),
        (nn.AdaptiveMaxPool1d(output_size=7), (3, 20), (3, 7)),
        (nn.ConvTranspose2d(out_channels=6, kernel_size=2, stride=2), (3, 20, 36), (6, 40, 72)),
        (
            nn.ConvTranspose2d(out_channels=6, kernel_size=(3, 4), padding=(1, 0, 0, 2), groups=3),
            (3, 20, 36),
            (6, 21, 37),
        ),
        (nn.ConvTranspose1d(out_channels=6, kernel_size=4, stride=2, padding=(1, 0)), (3, 20), (6, 41)),
        (nn.Conv1d(out_channels=6, kernel_size=4, stride=3, padding="same"), (3, 20), (6, 7)),
        (nn.Conv1d(out_channels=6, kernel_size=3, dilation=2, padding=(0, 4), groups=3), (3, 20), (6, 20)),
        (nn.MaxPool1d(kernel_size=3, stride=2, padding=1, ceil_mode=True), (3, 20), (3, 11)),
        (nn.AvgPool1d(kernel_size=3), (3, 20), (3, 6)),
        (nn.BatchNorm1d(), (3, 20), (3, 20)),
        (nn.BatchNorm1d(), (7,), (7,)),
        (nn.Upsample(scale_factor=(2, 0.5), mode="bilinear", align_corners=True), (3, 20, 36), (3, 40, 18)),
        (nn.Upsample(size=7), (3, 20), (3, 7)),
        (nn.Flatten(), (3, 4, 5), (60,)),
        (nn.Reshape(shape=(4, -1)), (3, 4, 5), (4, 15)),
        (nn.ZeroPad2d(padding=(1, 2)), (3, 4, 5), (3, 6, 9)),
        (nn.Pad(padding=((1, 0), (0, 2)), value=-1), (3, 4, 5), (3, 5, 7)),
        (nn.BatchNorm2d(), (3, 4, 5), (3, 4, 5)),
        (nn.Concat(axis=-1), (3, 4, 5), (3, 4, 5)),
        (nn.Slice(start=1), (3, 4, 5), (2, 4, 5)),
        (nn.Slice(stop=-1, step=2, axis=3), (3, 4, 5), (3, 4, 2)),
        (nn.Slice(start=None, step=-1, axis=2), (3, 4, 5), (3, 4, 5)),
        (nn.Permute(dims=(0, 2, 3, 1)), (3, 4, 5), (4, 5, 3)),
        (nn.ChannelShuffle(groups=3), (6, 4, 5), (6, 4, 5)),
        (nn.Mean(), (3, 4, 5), (3,)),
        (nn.Mean(axis=-1, keepdims=True), (3, 4, 5), (3, 4, 1)),
        (nn.Softmax(), (7,), (7,)),
        (nn.Tanh(), (3, 4, 5), (3, 4, 5)),
        (nn.ReLU6(), (3, 4, 5), (3, 4, 5)),
        (nn.Hardtanh(min_val=-2, max_val=3), (7,), (7,)),
        *[(layer(), (3, 4, 5), (3, 4, 5)) for layer in (nn.ELU, nn.GELU, nn.Hardsigmoid, nn.Hardswish, nn.LeakyReLU)],
        *[(layer(), (3, 4, 5), (3, 4, 5)) for layer in (nn.Mish, nn.PReLU, nn.SELU, nn.SiLU, nn.Softplus, nn.Dropout)],
        (nn.PReLU(num_parameters=3), (3, 4, 5), (3, 4, 5)),
        (nn.PReLU(num_parameters=7), (7,), (7,)),
        (nn.LayerNorm(normalized_shape=(4, 5)), (3, 4, 5), (3, 4, 5)),
        (nn.LayerNorm(normalized_shape=7), (7,), (7,)),
        (nn.InstanceNorm2d(), (3, 4, 5), (3, 4, 5)),
        (nn.GroupNorm(num_groups=2), (6, 4, 5), (6, 4, 5)),
    ],
    ids=repr,
)
def test_shape(layer, shape, result):
    assert layer(nn.Input(shape)).shape == ("N", *result)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("size", [9, 10, 11])
def test_same_padding_divides_the_size_by_the_stride(kernel, stride, dilation, size):
    layer = nn.Conv2d(out_channels=1, kernel_size=kernel, stride=stride, dilation=dilation, padding="same")
    assert layer(nn.Input((1, size, size + 1))).shape[2:] == (-(-size // stride), -(-(size + 1) // stride))


def test_same_padding_puts_the_odd_row_at_the_bottom():
    net = nn.Sequential(nn.Conv2d(out_channels=1, kernel_size=2, padding="same"), input_shape=(1, 4, 4))
    assert net.graph.nodes[0].attributes["pads"] == (0, 0, 1, 1)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda x: nn.Conv2d(out_channels=0, kernel_size=3), "`out_channels` \\(=0\\) must be an int of at least 1"),
        (lambda x: nn.Conv2d(out_channels=3, kernel_size=(1, 2, 3)), "`kernel_size` .* pair \\(height, width\\)"),
        (lambda x: nn.Conv2d(out_channels=3, kernel_size=3, padding="full"), '"same", "valid"'),
        (lambda x: nn.Conv2d(out_channels=3, kernel_size=3, padding=-1), "`padding` \\(=-1\\)"),
        (lambda x: nn.Conv2d(out_channels=3, kernel_size=3, padding=(1, 2, 3)), "top, left, bottom, right"),
        (lambda x: nn.Conv2d(out_channels=3, kernel_size=3, groups=2), "`out_channels` \\(=3\\) must be divisible"),
        (lambda x: nn.Conv2d(out_channels=4, kernel_size=3, groups=2)(x), "channels \\(=3\\) must be divisible"),
        (
            lambda x: nn.Conv2d(out_channels=4, kernel_size=3, in_channels=1)(x),
            "`in_channels` \\(=1\\) must equal .*=3",
        ),
        (lambda x: nn.Conv2d(out_channels=4, kernel_size=3, init="he"), "`init` \\(='he'\\) must be one of"),
        (lambda x: nn.Conv2d(out_channels=4, kernel_size=9)(x), "must fit the padded input's height \\(=8\\)"),
        (lambda x: nn.Conv2d(out_channels=4, kernel_size=5, dilation=2)(x), "reaching 9 with its dilation"),
        (lambda x: nn.MaxPool2d(kernel_size=2, padding=2)(x), "`padding` \\(=2\\) must be smaller than the window"),
        (lambda x: nn.Linear(out_features=4)(x), "put Flatten\\(\\) before it"),
        (
            lambda x: nn.Linear(out_features=4, in_features=3)(nn.Flatten()(x)),
            "`in_features` \\(=3\\) must equal .*=240",
        ),
        (lambda x: nn.Conv2d(out_channels=4, kernel_size=3)(nn.Flatten()(x)), "needs images of shape \\(N, C, H, W\\)"),
        (lambda x: nn.Reshape(shape=(7, 7))(x), "must hold the 240 elements"),
        (lambda x: nn.Reshape(shape=(-1, -1)), "at most one of them -1"),
        (lambda x: nn.Add()(x, nn.ReLU()(nn.Flatten()(x))), "Add needs two tensors of one shape"),
        (
            lambda x: nn.ConvTranspose2d(out_channels=4, kernel_size=3, output_padding=1)(x),
            "ConvTranspose2d on \\(N, 3, 8, 10\\): `output_padding` \\(=1 of height\\) .* `stride`",
        ),
        (lambda x: nn.ConvTranspose2d(out_channels=4, kernel_size=3, padding="same"), "`padding` .* must be numbers"),
        (
            lambda x: nn.Conv1d(out_channels=4, kernel_size=3)(x),
            "Conv1d needs signals \\(N, C, L\\), not .*shape=\\(C, L\\)",
        ),
        (
            lambda x: nn.Conv1d(out_channels=4, kernel_size=(1, 3)),
            "`kernel_size` .* must be an int: a signal has one axis",
        ),
        (lambda x: nn.Conv1d(out_channels=4, kernel_size=3, padding=(1, 2, 3)), "must be an int, \\(left, right\\)"),
        (lambda x: nn.Conv1d(out_channels=4, kernel_size=9)(nn.Input((3, 8))), "padded input's length \\(=8\\)"),
        (lambda x: nn.AdaptiveAvgPool2d(output_size=0), "`output_size` \\(=0\\) must be an int of at least 1"),
        (lambda x: nn.BatchNorm1d()(x), "BatchNorm1d needs signals .*: use BatchNorm2d"),
        (lambda x: nn.Upsample(), "one of `size` and `scale_factor` must be given"),
        (lambda x: nn.Upsample(size=4, mode="linear")(x), "`mode` \\(='linear'\\) is for signals"),
        (
            lambda x: nn.Concat()(x, nn.MaxPool2d(kernel_size=2)(x)),
            "differ along `axis` .* match sizes",
        ),
        (lambda x: nn.Concat(axis=4)(x, x), "`axis` \\(=4\\) must be an axis of .* other than the batch, 1 to 3"),
        (lambda x: nn.Slice(start=5)(x), "leave nothing of the 3 of axis 1"),
        (lambda x: nn.Slice(start=0, step=0), "`step` \\(=0\\) must not be 0"),
        (lambda x: nn.Permute(dims=(1, 0)), "the batch first, such as \\(0, 2, 3, 1\\)"),
        (lambda x: nn.Permute(dims=(0, 2, 1))(x), "must hold the 4 axes of"),
        (lambda x: nn.ChannelShuffle(groups=2)(x), "`groups` \\(=2\\) must divide the 3 channels"),
        (lambda x: nn.Mean(axis=0)(x), "`axis` \\(=0\\) must be an axis of .* other than the batch"),
        (lambda x: nn.Mean(axis=(1, -3))(x), "names an axis of .* twice"),
        (lambda x: nn.BatchNorm2d(eps=0), "`eps` \\(=0.0\\) must be above 0"),
        (lambda x: nn.Hardtanh(min_val=1), "`min_val` \\(=1.0\\) must be below `max_val` \\(=1.0\\)"),
        (
            lambda x: nn.PReLU(num_parameters=4)(x),
            "`num_parameters` \\(=4\\) must be 1 or the channels of the input .*3",
        ),
        (lambda x: nn.GELU(approximate="fast"), "`approximate` \\(='fast'\\) must be 'none' or 'tanh'"),
        (lambda x: nn.LayerNorm(normalized_shape=(8, 9))(x), "`normalized_shape` \\(=\\(8, 9\\)\\) must be the last"),
        (lambda x: nn.GroupNorm(num_groups=2)(x), "`channels` \\(=3\\) must be divisible by `num_groups` \\(=2\\)"),
        (lambda x: nn.InstanceNorm2d(eps=0), "`eps` \\(=0.0\\) must be above 0"),
        (lambda x: nn.Dropout(p=1.5), "`p` \\(=1.5\\) must be a number between 0 and 1"),
        (lambda x: nn.Mul()(x, nn.ReLU()(nn.Flatten()(x))), "do not broadcast"),
        (lambda x: nn.BatchNorm2d(momentum=2), "`momentum` \\(=2\\) must be a number between 0 and 1"),
        (
            lambda x: nn.Sequential(nn.ReLU(name="a"), nn.ReLU(name="a"), input_shape=(1, 2, 2)),
            "'a'.* used by two layers",
        ),
        (lambda x: nn.Network(inputs=x, outputs=nn.Add()(x, nn.Input((3, 8, 10)))), "that is not among `inputs`"),
    ],
)
def test_wrong_value_is_named_with_its_remedy(wrong, text):
    with pytest.raises(ValueError, match=text):
        wrong(nn.Input((3, 8, 10)))


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda: nn.Conv2d(out_channels=1.5, kernel_size=3), "`out_channels` \\(=1.5\\) must be an int"),
        (lambda: nn.ReLU()(np.zeros((1, 1, 4, 4))), "to run arrays, build an nn.Sequential"),
        (lambda: nn.Add()(nn.Input((1, 4, 4))), "Add takes 2 tensor\\(s\\), not 1"),
        (lambda: nn.Concat()(), "Concat takes at least one tensor, not 0"),
        (lambda: nn.Sequential([nn.ReLU()], input_shape=(1, 4, 4)), "unpack the list with \\*"),
        (lambda: nn.Sequential(nn.ReLU, input_shape=(1, 4, 4)), "build it with \\(\\)"),
        (lambda: nn.Sequential(input_shape=(1, 4, 4)), "at least one layer"),
        (lambda: nn.Input(28), "shape of one image"),
        (lambda: nn.Network(), "needs `inputs` and `outputs`"),
        (lambda: nn.ReLU(name=""), "`name`"),
    ],
)
def test_wrong_type_is_named_with_its_remedy(wrong, text):
    with pytest.raises(TypeError, match=text):
        wrong()


def test_layer_called_twice_shares_its_parameters():
    conv = nn.Conv2d(out_channels=3, kernel_size=3, padding="same", name="shared")
    x = nn.Input((3, 8, 10))
    net = nn.Network(inputs=x, outputs=conv(nn.ReLU()(conv(x))))
    assert sorted(net.parameters) == ["shared.bias", "shared.weight"]
    assert [node.name for node in net.graph.nodes] == ["shared", "relu1", "shared_2"]
    assert [layer.parameters for layer in net.layers()] == [84, 0, 0]


def test_layer_shared_between_different_channels_is_an_error():
    conv = nn.Conv2d(out_channels=3, kernel_size=3, padding="same", name="shared")
    x = nn.Input((1, 8, 10))
    with pytest.raises(ValueError, match=r"'shared' is used twice.*make a second layer"):
        nn.Network(inputs=x, outputs=conv(conv(x)))


def test_plus_adds_branches():
    x = nn.Input((3, 8, 10))
    net = nn.Network(inputs=x, outputs=nn.ReLU()(x) + nn.Tanh()(x))
    assert [node.op for node in net.graph.nodes] == ["Relu", "Tanh", "Add"]


def test_names_are_numbered_by_kind_around_given_ones():
    net = nn.Sequential(nn.ReLU(), nn.ReLU(name="relu2"), nn.ReLU(), nn.Flatten(), input_shape=(1, 4, 4))
    assert [layer.name for layer in net.layers()] == ["relu1", "relu2", "relu3", "flatten1"]
    assert net.output_name == "logits"


def test_network_that_ends_in_softmax_keeps_its_layers_names():
    net = nn.Sequential(nn.Flatten(), nn.Linear(out_features=2), nn.Softmax(), input_shape=(1, 4, 4))
    assert (net.output_name, net.logits_name) == ("softmax1", "linear1")


def test_arithmetic_on_tensors_broadcasts_but_for_add():
    x = nn.Input((3, 8, 10))
    gate = nn.Sigmoid()(nn.GlobalAvgPool2d()(x))
    net = nn.Network(inputs=x, outputs=(x * gate - x) / gate)
    images = np.random.default_rng(0).normal(size=(2, 3, 8, 10)).astype(np.float32)
    share = 1 / (1 + np.exp(-images.mean((2, 3), keepdims=True)))
    np.testing.assert_allclose(net(images), images - images / share, atol=1e-5)
    assert [layer.operator for layer in net.layers()][-3:] == ["Mul", "Sub", "Div"]


def test_element_wise_layers_are_numpys_functions():
    x = nn.Input((3, 8, 10))
    size = nn.Sqrt()(nn.Abs()(x))
    y = nn.Maximum()(nn.Pow()(nn.Exp()(x), size), nn.Minimum()(nn.Log()(nn.Exp()(x)), nn.GlobalMaxPool2d()(size)))
    images = np.random.default_rng(0).normal(size=(2, 3, 8, 10)).astype(np.float32)
    root = np.sqrt(np.abs(images))
    expected = np.maximum(np.exp(images) ** root, np.minimum(images, root.max((2, 3), keepdims=True)))
    np.testing.assert_allclose(nn.Network(inputs=x, outputs=y)(images), expected, rtol=1e-5, atol=1e-5)


def test_a_slope_a_channel_is_one_layer_with_its_parameters():
    net = nn.Sequential(
        nn.Conv2d(out_channels=4, kernel_size=3),
        nn.PReLU(num_parameters=4, init=0.1, name="act"),
        input_shape=(1, 8, 8),
    )
    np.testing.assert_array_equal(net.parameters["act.weight"], np.full(4, 0.1, np.float32))
    assert [(layer.name, layer.parameters) for layer in net.layers()] == [("conv1", 40), ("act", 4)]
    assert str(net.layers()["act"].receptive_field) == "3 x 3"


def test_normalising_an_image_sees_all_of_it():
    net = nn.Sequential(
        nn.Conv2d(out_channels=4, kernel_size=3), nn.GroupNorm(num_groups=2, name="norm"), input_shape=(1, 8, 8)
    )
    assert net.layers()["norm"].receptive_field is None
    assert net.trainable == ("conv1.weight", "conv1.bias", "norm.weight", "norm.bias")


def test_a_normalisation_without_weights_owns_nothing():
    net = nn.Sequential(
        nn.InstanceNorm2d(), nn.GroupNorm(num_groups=1, affine=False), nn.Flatten(),
        nn.LayerNorm(normalized_shape=48, elementwise_affine=False), input_shape=(3, 4, 4),
    )  # fmt: skip
    assert not net.parameters


def test_dropout_is_the_identity_in_inference():
    net = nn.Sequential(nn.Dropout(p=0.9), input_shape=(3, 4, 4))
    images = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(net(images), images)
