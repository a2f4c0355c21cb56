"""A small U-Net: convolutions, pools, transposed convolutions, bilinear upsampling, skips by addition."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import nn, train
from convlens.program import Entry
from convlens.transform import backward


def unet(head=None):
    """Down and up again; the output is a map of two channels, or `head` of it."""
    conv = lambda k: nn.Conv2d(out_channels=k, kernel_size=3, padding=1)  # noqa: E731
    x = nn.Input((3, 20, 28))
    first = nn.ReLU()(conv(8)(x))
    second = nn.ReLU()(conv(16)(nn.MaxPool2d(kernel_size=2)(first)))
    deep = nn.ReLU()(conv(18)(nn.MaxPool2d(kernel_size=2)(second)))
    up = nn.ConvTranspose2d(out_channels=16, kernel_size=3, stride=2, padding=1, output_padding=1)(deep)
    up = nn.ReLU()(conv(8)(up + second))
    up = nn.Upsample(scale_factor=2, mode="bilinear")(up)
    y = nn.Conv2d(out_channels=2, kernel_size=1, name="map")(up + first)
    return nn.Network(inputs=x, outputs=head(y) if head else y, seed=0)


def in_pytorch(torch, net, x):
    f = torch.nn.functional
    p = {name: torch.tensor(value) for name, value in net.parameters.items()}
    conv = lambda h, name: f.conv2d(h, p[f"{name}.weight"], p[f"{name}.bias"], padding=1)  # noqa: E731
    first = torch.relu(conv(x, "conv1"))
    second = torch.relu(conv(f.max_pool2d(first, 2), "conv2"))
    deep = torch.relu(conv(f.max_pool2d(second, 2), "conv3"))
    weight, bias = p["conv_transpose1.weight"], p["conv_transpose1.bias"]
    up = f.conv_transpose2d(deep, weight, bias, stride=2, padding=1, output_padding=1)
    up = torch.relu(conv(up + second, "conv4"))
    up = f.interpolate(up, scale_factor=2, mode="bilinear")
    return f.conv2d(up + first, p["map.weight"], p["map.bias"])


@pytest.mark.parity
def test_its_output_and_input_gradient_are_pytorchs():
    torch = pytest.importorskip("torch")
    net = unet().astype("float64")
    x = np.random.default_rng(0).normal(size=(2, 3, 20, 28))
    tensor = torch.tensor(x, requires_grad=True)
    y = in_pytorch(torch, net, tensor)
    seed = np.random.default_rng(1).normal(size=y.shape)
    y.backward(torch.tensor(seed))
    expected = y.detach().numpy()
    np.testing.assert_allclose(net(x), expected, rtol=0, atol=1e-8 * np.abs(expected).max())

    def build():
        graph, gradients = backward(net.graph, net.output_name, [net.input_name])
        entry = Entry((net.input_name, "seed"), (gradients[net.input_name],))
        return graph.subgraph(entry.outputs), {"gradient": entry}

    (found,) = net.program("gradient", build).run("gradient", {net.input_name: x, "seed": seed}, net.weights).values()
    theirs = tensor.grad.numpy()
    np.testing.assert_allclose(found, theirs, rtol=0, atol=1e-8 * np.abs(theirs).max())


def test_it_trains():
    """Which half is brighter, through a pooled head."""

    def head(y):
        pooled = nn.AdaptiveMaxPool2d(output_size=(3, 5))(nn.AdaptiveAvgPool2d(output_size=(6, 9))(y))
        return nn.Linear(out_features=2)(nn.Flatten()(pooled))

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 120)
    x = 0.5 * rng.standard_normal((120, 3, 20, 28)).astype(np.float32)
    for i, label in enumerate(labels):
        x[i, :, :, 14 * label : 14 * label + 14] += 0.8
    net = unet(head)
    train.fit(net, x, labels, epochs=4, batch_size=20, optimizer=train.Adam(3e-3))
    assert np.mean(net(x).argmax(axis=1) == labels) > 0.95


def test_its_layers_know_what_they_see():
    """A change of one pixel reaches no cell outside the field that is stated."""
    net = unet().astype("float64")
    layers = {layer.tensor: layer for layer in net.layers()}
    assert layers["conv_transpose1"].flops == 2 * 18 * 5 * 7 * 16 * 9 + 16 * 10 * 14
    field = layers["conv_transpose1"].receptive_field
    base = np.zeros((1, 3, 20, 28))
    moved = base.copy()
    moved[0, :, 9, 13] = 1
    before, after = (net.activations(x, ["conv_transpose1"])["conv_transpose1"] for x in (base, moved))
    rows, columns = np.nonzero(np.abs(after - before).sum(axis=(0, 1)))
    for axis, (cells, pixel) in enumerate(((rows, 9), (columns, 13))):
        centres = field.offset[axis] + cells * field.stride[axis]
        assert np.abs(centres - pixel).max() <= (field.size[axis] - 1) / 2 + field.stride[axis] / 2
