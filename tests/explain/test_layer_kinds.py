"""Every method on a network with each activation, normalisation and dropout, in float64, beside PyTorch and Captum."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import explain, nn
from convlens.perturb import normal

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore:Setting backward hooks")]
torch = pytest.importorskip("torch")
captum = pytest.importorskip("captum.attr")


class Hardsigmoid(torch.nn.Module):
    """PyTorch's own backward multiplies by a sixth in float32, in float64 too."""

    def forward(self, x):
        return torch.nn.functional.relu6(x + 3) / 6


KINDS = {
    "elu": (nn.ELU(alpha=0.7), torch.nn.ELU(0.7)),
    "gelu": (nn.GELU(), torch.nn.GELU()),
    "gelu_tanh": (nn.GELU(approximate="tanh"), torch.nn.GELU("tanh")),
    "hardsigmoid": (nn.Hardsigmoid(), Hardsigmoid()),
    "hardswish": (nn.Hardswish(), torch.nn.Hardswish()),
    "hardtanh": (nn.Hardtanh(min_val=-0.4, max_val=0.7), torch.nn.Hardtanh(-0.4, 0.7)),
    "leaky_relu": (nn.LeakyReLU(negative_slope=0.2), torch.nn.LeakyReLU(0.2)),
    "mish": (nn.Mish(), torch.nn.Mish()),
    "prelu": (nn.PReLU(num_parameters=6), torch.nn.PReLU(6)),
    "prelu_one": (nn.PReLU(), torch.nn.PReLU()),
    "relu6": (nn.ReLU6(), torch.nn.ReLU6()),
    "selu": (nn.SELU(), torch.nn.SELU()),
    "sigmoid": (nn.Sigmoid(), torch.nn.Sigmoid()),
    "silu": (nn.SiLU(), torch.nn.SiLU()),
    "softplus": (nn.Softplus(), torch.nn.Softplus()),
    "tanh": (nn.Tanh(), torch.nn.Tanh()),
    "group_norm": (nn.GroupNorm(num_groups=3), torch.nn.GroupNorm(3, 6)),
    "instance_norm": (nn.InstanceNorm2d(affine=True), torch.nn.InstanceNorm2d(6, affine=True)),
    "layer_norm": (nn.LayerNorm(normalized_shape=(6, 8, 14)), torch.nn.LayerNorm((6, 8, 14))),
    "layer_norm_columns": (nn.LayerNorm(normalized_shape=14), torch.nn.LayerNorm(14)),
    "channel_shuffle": (nn.ChannelShuffle(groups=3), torch.nn.ChannelShuffle(3)),
    "dropout": (nn.Dropout(p=0.3), torch.nn.Dropout(0.3)),
}


class Twin(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.first, self.kind = torch.nn.Conv2d(2, 6, (3, 2), stride=2), kind
        self.second, self.pool = torch.nn.Conv2d(6, 5, (2, 3)), torch.nn.MaxPool2d(2)
        self.head = torch.nn.Linear(5 * 3 * 6, 5)

    def forward(self, x):
        y = self.pool(self.second(self.kind(self.first(x))))
        return self.head(torch.tanh(y).flatten(1))


@pytest.fixture(params=KINDS, scope="module")
def pair(request):
    ours, theirs = KINDS[request.param]
    torch.manual_seed(0)
    module = Twin(theirs).double().eval()
    x = nn.Input((2, 18, 28))
    ours.name = "kind"
    y = ours(nn.Conv2d(out_channels=6, kernel_size=(3, 2), stride=2, name="first")(x))
    y = nn.MaxPool2d(kernel_size=2)(nn.Conv2d(out_channels=5, kernel_size=(2, 3), name="second")(y))
    y = nn.Linear(out_features=5, name="head")(nn.Flatten()(nn.Tanh()(y)))
    net = nn.Network(inputs=x, outputs=y).astype("float64")
    rng = np.random.default_rng(2)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.startswith("kind"):
                parameter.copy_(torch.tensor(rng.uniform(0.1, 1.5, parameter.shape)))
    net.set_parameters({name: p.detach().numpy() for name, p in module.named_parameters()})
    images = np.random.default_rng(5).standard_normal((3, 2, 18, 28))
    target = np.array([1, 4, 0])
    return request.param, module, net, images, torch.tensor(images, requires_grad=True), target, torch.tensor(target)


def close(ours, theirs, tolerance=1e-8):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


def test_logits_and_gradients(pair):
    _, module, net, x, tx, target, tt = pair
    close(net(x), module(tx))
    close(explain.saliency(net, x, target).values, captum.Saliency(module).attribute(tx, tt, abs=False))
    close(explain.input_x_gradient(net, x, target).values, captum.InputXGradient(module).attribute(tx, tt))


def test_integrated_gradients(pair):
    _, module, net, x, _, target, tt = pair
    why = explain.integrated_gradients(net, x, target, n_steps=9)
    points, weights = np.polynomial.legendre.leggauss(9)
    total = 0
    for point, weight in zip(points, weights, strict=True):
        on_path = torch.tensor((1 + point) / 2 * x, requires_grad=True)
        (gradient,) = torch.autograd.grad(module(on_path)[torch.arange(3), tt].sum(), on_path)
        total = total + weight / 2 * gradient
    close(why.values, torch.tensor(x) * total)


def test_smooth_grad(pair):
    _, module, net, x, _, target, tt = pair
    why = explain.smooth_grad(net, x, target, n_samples=3, noise_level=0.1, seed=7)
    sigma, total = 0.1 * np.ptp(x.reshape(3, -1), axis=1), 0
    drawn = [normal(x.shape[1:], seed=7, image=i, samples=range(3), dtype=x.dtype) for i in range(3)]
    for sample in range(3):
        noise = [sigma[i] * drawn[i][sample] for i in range(3)]
        noisy = torch.tensor(x + np.stack(noise), requires_grad=True)
        total = total + torch.autograd.grad(module(noisy)[torch.arange(3), tt].sum(), noisy)[0]
    close(why.values, total / 3)


def test_grad_cam_and_activations(pair):
    _, module, net, x, tx, target, tt = pair
    theirs = captum.LayerGradCam(module, module.kind).attribute(tx, tt)
    close(explain.grad_cam(net, x, target, layer="kind", relu=False, upsample=None).values, theirs)
    close(explain.activations(net, x, layer="kind").values, module.kind(module.first(tx)))


def test_occlusion(pair):
    _, module, net, x, tx, target, tt = pair
    theirs = captum.Occlusion(module).attribute(
        tx, (2, 5, 6), strides=(2, 4, 5), baselines=0.2, target=tt, perturbations_per_eval=16
    )
    # Captum adds up the windows in float32, whatever the inputs are.
    close(explain.occlusion(net, x, target, window=(5, 6), stride=(4, 5), baselines=0.2).values, theirs[:, :1], 1e-6)


@pytest.mark.parametrize("name", ["guided_backprop", "deconvnet"])
def test_methods_for_relu_pass_the_gradient_of_other_activations_and_say_so(pair, name):
    kind, _, net, x, _, target, _ = pair
    why = getattr(explain, name)(net, x, target)
    noted = [note for note in why.notes if note.startswith("an activation other than ReLU passes its gradient")]
    if kind in ("relu6", "hardtanh"):
        assert any(note.startswith("Clip (ReLU6) is treated as a ReLU") for note in why.notes)
        return
    assert len(noted) == 1
    np.testing.assert_array_equal(why.values, explain.saliency(net, x, target).values)
