"""Parity with Captum in float64: the 28x28 network, and a residual one with a reused ReLU and unequal sides."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import explain, nn
from convlens.perturb import normal

# Captum warns that it hooks ReLUs.
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore:Setting backward hooks")]
torch = pytest.importorskip("torch")
captum = pytest.importorskip("captum.attr")

TOLERANCE = 1e-8  # max|a - b| / max|b|


class Digits(torch.nn.Sequential):
    def __init__(self):
        super().__init__(
            torch.nn.Conv2d(1, 32, 3),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            torch.nn.Flatten(),
            torch.nn.Linear(5408, 10),
        )

    @property
    def layer(self):
        return self[1]

    def parameters_of(self):
        return {"conv1": self[0], "linear1": self[4]}


class Residual(torch.nn.Module):
    """Captum's hooks need a module per use of ReLU; the network of ours uses one layer three times."""

    def __init__(self):
        super().__init__()
        self.a = torch.nn.Conv2d(2, 6, 3, stride=2, padding=1)
        self.b = torch.nn.Conv2d(6, 6, 3, padding=1)
        self.head = torch.nn.Linear(6 * 5 * 9, 5)
        self.pool = torch.nn.MaxPool2d(2)
        self.relu1, self.relu2, self.relu3 = torch.nn.ReLU(), torch.nn.ReLU(), torch.nn.ReLU()

    def forward(self, x):
        a = self.relu1(self.a(x))
        b = self.relu2(self.b(a))
        return self.head(self.pool(self.relu3(a + b)).flatten(1))

    @property
    def layer(self):
        return self.relu3

    def parameters_of(self):
        return {"a": self.a, "b": self.b, "head": self.head}


def digits_pair():
    torch.manual_seed(0)
    module = Digits().double().eval()
    net = nn.Sequential(
        nn.Conv2d(out_channels=32, kernel_size=3),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=2),
        nn.Flatten(),
        nn.Linear(out_features=10),
        input_shape=(1, 28, 28),
    )
    return module, net, "relu1"


def residual_pair():
    torch.manual_seed(1)
    module = Residual().double().eval()
    relu = nn.ReLU()
    x = nn.Input((2, 20, 36))
    a = relu(nn.Conv2d(out_channels=6, kernel_size=3, stride=2, padding=1, name="a")(x))
    b = relu(nn.Conv2d(out_channels=6, kernel_size=3, padding=1, name="b")(a))
    c = relu(nn.Add()(a, b))
    y = nn.Linear(out_features=5, name="head")(nn.Flatten()(nn.MaxPool2d(kernel_size=2)(c)))
    return module, nn.Network(inputs=x, outputs=y), None


@pytest.fixture(params=[digits_pair, residual_pair], ids=["digits", "residual"], scope="module")
def pair(request):
    """The module, our network with its weights in float64, images in both forms, targets, and the layer's name."""
    module, net, layer = request.param()
    net = net.astype("float64")
    given = {}
    for name, part in module.parameters_of().items():
        given[f"{name}.weight"] = part.weight.detach().numpy()
        given[f"{name}.bias"] = part.bias.detach().numpy()
    assert set(given) == set(net.parameters)
    net.set_parameters(given)
    x = np.random.default_rng(5).standard_normal((3, *net.input_shape))
    target = np.array([1, 4, 0])
    return module, net, x, torch.tensor(x, requires_grad=True), target, torch.tensor(target), layer


def close(ours, theirs, tolerance=TOLERANCE):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


def test_saliency(pair):
    module, net, x, tx, target, tt, _ = pair
    close(explain.saliency(net, x, target).values, captum.Saliency(module).attribute(tx, tt, abs=False))


def test_gradient_of_the_loss(pair):
    module, net, x, tx, target, tt, _ = pair
    loss = torch.nn.functional.cross_entropy(module(tx), tt, reduction="none")
    (gradient,) = torch.autograd.grad(loss.sum(), tx)
    why = explain.saliency(net, x, target, of="loss")
    close(why.values, gradient)
    close(why.score, loss)
    close(why.total(), gradient.sum(dim=(1, 2, 3)))


def test_input_x_gradient(pair):
    module, net, x, tx, target, tt, _ = pair
    close(explain.input_x_gradient(net, x, target).values, captum.InputXGradient(module).attribute(tx, tt))


@pytest.mark.parametrize("n_steps", [1, 7, 50])
def test_integrated_gradients_and_delta(pair, n_steps):
    module, net, x, tx, target, tt, _ = pair
    start = 0.3 * np.roll(x, 1, axis=3)
    theirs, delta = captum.IntegratedGradients(module).attribute(
        tx, torch.tensor(start), tt, n_steps=n_steps, return_convergence_delta=True
    )
    why = explain.integrated_gradients(net, x, target, baselines=start, n_steps=n_steps)
    # Captum rounds the steps' weights to float32, whatever the inputs are; PyTorch's own gradients are not rounded.
    close(why.values, theirs, 1e-7)
    assert np.abs(why.delta - delta.detach().numpy()).max() <= 1e-7 * np.abs(theirs.detach().numpy()).sum()
    points, weights = np.polynomial.legendre.leggauss(n_steps)
    total = 0
    for point, weight in zip(points, weights, strict=True):
        on_path = torch.tensor(start + (1 + point) / 2 * (x - start), requires_grad=True)
        (gradient,) = torch.autograd.grad(module(on_path)[torch.arange(3), tt].sum(), on_path)
        total = total + weight / 2 * gradient
    close(why.values, torch.tensor(x - start) * total)


def test_guided_backprop(pair):
    module, net, x, tx, target, tt, _ = pair
    close(explain.guided_backprop(net, x, target).values, captum.GuidedBackprop(module).attribute(tx, tt))


def test_deconvnet(pair):
    module, net, x, tx, target, tt, _ = pair
    close(explain.deconvnet(net, x, target).values, captum.Deconvolution(module).attribute(tx, tt))


@pytest.mark.parametrize("relu", [False, True])
def test_grad_cam(pair, relu):
    module, net, x, tx, target, tt, layer = pair
    theirs = captum.LayerGradCam(module, module.layer).attribute(tx, tt, relu_attributions=relu)
    why = explain.grad_cam(net, x, target, layer=layer, relu=relu, upsample=None)
    close(why.values, theirs)
    up = explain.grad_cam(net, x, target, layer=layer, relu=relu)
    close(up.layer_values, theirs)
    close(up.values, torch.nn.functional.interpolate(theirs, x.shape[2:], mode="bilinear"))


@pytest.mark.parametrize(("window", "stride"), [((5, 3), (2, 3)), ((7, 7), (7, 7)), ((4, 9), (3, 5))])
def test_occlusion(pair, window, stride):
    module, net, x, tx, target, tt, _ = pair
    channels = x.shape[1]
    theirs = captum.Occlusion(module).attribute(
        tx, (channels, *window), strides=(channels, *stride), baselines=0.4, target=tt, perturbations_per_eval=16
    )
    why = explain.occlusion(net, x, target, window=window, stride=stride, baselines=0.4)
    # Captum adds up the windows in float32, whatever the inputs are.
    close(why.values, theirs[:, :1], 1e-6)


def test_smooth_grad_is_the_mean_over_its_own_noise(pair):
    module, net, x, _, target, tt, _ = pair
    why = explain.smooth_grad(net, x, target, n_samples=4, noise_level=0.15, seed=7)
    sigma = 0.15 * np.ptp(x.reshape(3, -1), axis=1)
    total = 0
    drawn = [normal(x.shape[1:], seed=7, image=i, samples=range(4), dtype=x.dtype) for i in range(3)]
    for sample in range(4):
        noise = [sigma[i] * drawn[i][sample] for i in range(3)]
        noisy = torch.tensor(x + np.stack(noise), requires_grad=True)
        (gradient,) = torch.autograd.grad(module(noisy)[torch.arange(3), tt].sum(), noisy)
        total = total + gradient
    close(why.values, total / 4)


def test_activations(pair):
    module, net, x, tx, _, _, layer = pair
    close(explain.activations(net, x, layer=layer).values, captum.LayerActivation(module, module.layer).attribute(tx))
