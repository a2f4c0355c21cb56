"""Networks the tests of explanations share: two channels, 20 x 36, so that swapped axes fail."""

from __future__ import annotations

import numpy as np

from convlens import nn

SHAPE = (2, 20, 36)
CLASSES = 5


def small(seed=0, *, ending=None, dtype="float32"):
    """Convolutions with an asymmetric kernel and padding, biases, pooling; `ending` is a last layer."""
    layers = [
        nn.Conv2d(out_channels=4, kernel_size=(3, 2), padding=(0, 1, 2, 0)),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=2),
        nn.Conv2d(out_channels=6, kernel_size=(2, 3)),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(out_features=CLASSES),
        *([ending] if ending else []),
    ]
    return with_biases(nn.Sequential(*layers, input_shape=SHAPE, seed=seed), seed).astype(dtype)


def residual(seed=0, *, dtype="float32"):
    """A residual branch, one ReLU object used three times, batch normalisation, global pooling."""
    relu = nn.ReLU()
    x = nn.Input(SHAPE)
    a = relu(nn.BatchNorm2d()(nn.Conv2d(out_channels=6, kernel_size=3, stride=2, padding="same", name="a")(x)))
    b = relu(nn.Conv2d(out_channels=6, kernel_size=3, padding="same", name="b")(a))
    c = relu(nn.Add(name="sum")(a, b))
    y = nn.Linear(out_features=CLASSES, name="logits")(nn.Flatten()(nn.GlobalAvgPool2d()(c)))
    return with_biases(nn.Network(inputs=x, outputs=y, seed=seed), seed).astype(dtype)


def channels_last(seed=0, *, dtype="float32"):
    """The weights of :func:`small`, images (N, H, W, C)."""
    layers = [
        nn.Permute(dims=(0, 3, 1, 2)),
        nn.Conv2d(out_channels=4, kernel_size=(3, 2), padding=(0, 1, 2, 0)),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=2),
        nn.Conv2d(out_channels=6, kernel_size=(2, 3)),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(out_features=CLASSES),
    ]
    net = nn.Sequential(*layers, input_shape=(*SHAPE[1:], SHAPE[0]), seed=seed)
    net.set_parameters(small(seed).parameters)
    return net.astype(dtype)


def two_inputs(seed=0, *, dtype="float32"):
    """An image, and three numbers that scale its channels and join the head."""
    x, meta = nn.Input(SHAPE), nn.Input((3,), name="meta")
    a = nn.ReLU()(nn.Conv2d(out_channels=4, kernel_size=(3, 2), stride=2, name="a")(x))
    shift = nn.Reshape(shape=(4, 1, 1))(nn.Linear(out_features=4, name="shift")(meta))
    b = nn.ReLU()(nn.Conv2d(out_channels=6, kernel_size=3, padding="same", name="b")(nn.Mul()(a, shift)))
    joined = nn.Concat()(nn.Flatten()(nn.GlobalAvgPool2d()(b)), meta)
    y = nn.Linear(out_features=CLASSES, name="logits")(joined)
    return with_biases(nn.Network(inputs=[x, meta], outputs=y, seed=seed), seed).astype(dtype)


def given(net, n=3, seed=0):
    """Arrays for every input of a network: one as it is, several by name."""
    arrays = {
        name: np.random.default_rng([seed, i]).standard_normal((n, *kind.per_image)).astype(kind.dtype)
        for i, (name, kind) in enumerate(net.graph.inputs.items())
    }
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


def part(arrays, index):
    """Some of the images of :func:`given`."""
    return {n: array[index] for n, array in arrays.items()} if isinstance(arrays, dict) else arrays[index]


def linear(*, dtype="float32"):
    """The score is a weighted sum of the pixels; returns the network and its weights (K, C, H, W)."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(out_features=CLASSES), input_shape=SHAPE, seed=3).astype(dtype)
    net = with_biases(net, 1)
    return net, net.parameters["linear1.weight"].reshape(CLASSES, *SHAPE)


def spot(row, column, *, padding="same", stride=1, reach=1):
    """Sees only what is near (row, column): one channel copies the input, and one place of it decides class 1."""
    layers = [
        nn.Conv2d(out_channels=2, kernel_size=3, padding=padding, stride=stride, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(out_features=2),
    ]
    net = nn.Sequential(*layers, input_shape=(1, 20, 36), seed=0)
    _, height, width = net.graph.types["relu1"].per_image
    weight = np.zeros((2, 2, height, width))
    top, left = (row - first_row(padding, 20, stride)) // stride, (column - first_row(padding, 36, stride)) // stride
    weight[1, 0, max(0, top - reach) : top + reach + 1, max(0, left - reach) : left + reach + 1] = 1.0
    kernel = np.zeros((2, 1, 3, 3))
    kernel[0, 0] = [[0.25, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 0.25]]
    net.set_parameters({"conv1.weight": kernel, "linear1.weight": weight.reshape(2, -1)})
    return net


def first_row(padding, size, stride):
    """Where in the input the centre of the first output's window lies."""
    if padding == "same":
        total = max(0, (-(-size // stride) - 1) * stride + 3 - size)
        return 1 - total // 2
    return 1 - padding


def with_biases(net, seed):
    """Weights and biases that are not zero: no accidental axiom of networks without biases."""
    rng = np.random.default_rng(seed + 100)
    changed = {}
    for name, array in net.parameters.items():
        if name.endswith(("bias", "running_mean", "mean")):
            changed[name] = array + 0.1 * rng.standard_normal(array.shape)
        elif name.endswith(("running_var", "var", "scale")) or array.ndim == 1:
            changed[name] = array + 0.2 * rng.random(array.shape)
    net.set_parameters(changed)
    return net


def images(n=3, seed=0, *, dtype="float32", shape=SHAPE):
    return np.random.default_rng(seed).standard_normal((n, *shape)).astype(dtype)
