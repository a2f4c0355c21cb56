"""Networks that move, join, resize and reshape: every method beside the interpreter, gradients beside PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import explain, nn
from explain.interpreted import InterpretedNetwork

METHODS = explain.methods()
SIZE = (2, 12, 14)
ROWS = nn.Reshape(shape=(6, -1))
# name: layers over what a ReLU gives, (6, 10, 12); what PyTorch does.
MOVES = {
    "concat": (lambda h: nn.Concat()(h, nn.Tanh()(h)), lambda f, h: f.cat([h, f.tanh(h)], 1)),
    "slice": (lambda h: nn.Slice(start=4, stop=0, step=-2)(h), lambda f, h: h[:, [4, 2]]),
    "rows": (lambda h: nn.Slice(start=1, stop=-1, step=2, axis=2)(h), lambda f, h: h[:, :, 1:-1:2]),
    "permute": (lambda h: nn.Permute(dims=(0, 3, 1, 2))(h), lambda f, h: h.permute(0, 3, 1, 2)),
    "shuffle": (lambda h: nn.ChannelShuffle(groups=3)(h), lambda f, h: f.channel_shuffle(h, 3)),
    "pad": (lambda h: nn.Pad(padding=1, value=0.3)(h), lambda f, h: f.nn.functional.pad(h, (1,) * 4, value=0.3)),
    "squeeze_and_excite": (
        lambda h: nn.Mul()(h, nn.Sigmoid()(nn.Mean(axis=(2, 3), keepdims=True)(h))),
        lambda f, h: h * f.sigmoid(h.mean((2, 3), keepdim=True)),
    ),
    "upsample": (
        lambda h: nn.Upsample(scale_factor=1.5, mode="bilinear")(h),
        lambda f, h: f.nn.functional.interpolate(h, scale_factor=1.5, mode="bilinear"),
    ),
    "adaptive_mean": (
        lambda h: nn.AdaptiveAvgPool2d(output_size=(3, 5))(h),
        lambda f, h: f.nn.functional.adaptive_avg_pool2d(h, (3, 5)),
    ),
    "adaptive_maximum": (
        lambda h: nn.AdaptiveMaxPool2d(output_size=(3, 5))(h),
        lambda f, h: f.nn.functional.adaptive_max_pool2d(h, (3, 5)),
    ),
    "signal": (
        lambda h: nn.MaxPool1d(kernel_size=2)(nn.Conv1d(out_channels=4, kernel_size=3, name="more")(ROWS(h))),
        lambda f, h, w, b: f.nn.functional.max_pool1d(f.conv1d(h.flatten(2), w, b), 2),
    ),
    "transposed": (
        lambda h: nn.ConvTranspose2d(out_channels=4, kernel_size=3, stride=2, output_padding=1, name="more")(h),
        lambda f, h, w, b: f.conv_transpose2d(h, w, b, 2, 0, 1),
    ),
}


@pytest.fixture(params=MOVES, scope="module")
def moved(request):
    x = nn.Input(SIZE)
    h = nn.ReLU(name="relu")(nn.Conv2d(out_channels=6, kernel_size=3, name="conv")(x))
    head = nn.Linear(out_features=4, name="head")(nn.Flatten()(MOVES[request.param][0](h)))
    net = nn.Network(inputs=x, outputs=head, seed=1).astype("float64")
    rng = np.random.default_rng(0)
    net.set_parameters({name: rng.uniform(-1, 1, array.shape) for name, array in net.parameters.items()})
    return request.param, net, rng.standard_normal((3, *SIZE)), np.array([1, 3, 0])


@pytest.mark.parametrize("method", METHODS)
def test_a_method_has_the_interpreters_values(moved, method):
    _, net, x, target = moved
    options = {"window": 4, "stride": 3} if method == "occlusion" else {}
    options |= {"layer": "relu"} if method == "grad_cam" else {}
    ours, plain = (
        METHODS[method].function(n, x, target, **{**METHODS[method].options, **options})
        for n in (net, InterpretedNetwork(net))
    )
    assert np.abs(ours.values - plain.values).max() <= 1e-8 * np.abs(plain.values).max()


@pytest.mark.parity
def test_its_gradient_is_pytorchs(moved):
    torch = pytest.importorskip("torch")
    name, net, x, target = moved
    p = {key: torch.tensor(array) for key, array in net.parameters.items()}
    tx = torch.tensor(x, requires_grad=True)
    h = torch.relu(torch.conv2d(tx, p["conv.weight"], p["conv.bias"]))
    more = [p[key] for key in ("more.weight", "more.bias") if key in p]
    y = MOVES[name][1](torch, h, *more).flatten(1) @ p["head.weight"].T + p["head.bias"]
    y[torch.arange(3), torch.tensor(target)].sum().backward()
    for ours, theirs in ((net(x), y), (explain.saliency(net, x, target).values, tx.grad)):
        assert np.abs(ours - theirs.detach().numpy()).max() <= 1e-12 * np.abs(theirs.detach().numpy()).max()


@pytest.mark.parametrize("layer", ["adaptive_mean", "adaptive_maximum"])
def test_no_adaptive_pool_is_the_layer_of_a_class_activation_map(layer):
    x = nn.Input(SIZE)
    h = nn.ReLU(name="relu")(nn.Conv2d(out_channels=6, kernel_size=3)(x))
    net = nn.Network(inputs=x, outputs=nn.Linear(out_features=4)(nn.Flatten()(MOVES[layer][0](h))), seed=1)
    assert explain.grad_cam(net, np.ones((1, *SIZE), np.float32)).layer == "relu"


@pytest.mark.parity
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "normalized"), [((3, 6, 8), (8,)), ((3, 6, 8), (6, 8)), ((5, 8), (8,)), ((5, 8), (5, 8))]
)
def test_layer_norm_over_the_last_axes_is_pytorchs(shape, normalized, dtype):
    torch = pytest.importorskip("torch")
    layers = [
        nn.LayerNorm(normalized_shape=normalized, name="norm"),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(out_features=4),
    ]
    net = nn.Sequential(*layers, input_shape=shape, seed=0).astype(dtype)
    rng = np.random.default_rng(3)
    net.set_parameters({name: rng.standard_normal(a.shape).astype(dtype) for name, a in net.parameters.items()})
    x = rng.standard_normal((3, *shape)).astype(dtype)
    weight, bias, matrix, offset = (torch.tensor(a) for a in net.parameters.values())
    tx = torch.tensor(x, requires_grad=True)
    y = torch.tanh(torch.nn.functional.layer_norm(tx, normalized, weight, bias)).flatten(1) @ matrix.T + offset
    y[:, 1].sum().backward()
    tolerance = 64 * np.finfo(dtype).eps
    for ours, theirs in ((net(x), y), (explain.saliency(net, x, 1).values, tx.grad)):
        assert np.abs(ours - theirs.detach().numpy()).max() <= tolerance * np.abs(theirs.detach().numpy()).max()
