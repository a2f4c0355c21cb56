"""Networks that people deploy, by PyTorch's two exporters, beside ONNX Runtime and PyTorch's gradients."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx.helper")

from exporters import EXPORTERS, by_dynamo, by_script

import convlens as cl

pytestmark = pytest.mark.parity

torch = pytest.importorskip("torch")
runtime = pytest.importorskip("onnxruntime")
zoo = pytest.importorskip("zoo")

_FLIP = 4e-2  # what one unit near zero, on the other side of it, changes in a gradient: PyTorch's own on ResNet-50


class Exports:
    """One network and its files, each made when it is first asked for."""

    def __init__(self, name):
        self.net, self.golden = zoo.model(name), zoo.NETS[name]
        self.shape = self.golden.shape
        self._made = {}

    def _once(self, key, make):
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def data(self, exporter, folded=True):
        if exporter == "dynamo":
            return self._once("dynamo", lambda: by_dynamo(self.net, self.shape))[folded]
        return self._once(folded, lambda: by_script(self.net, self.shape, folded=folded))

    def load(self, exporter, folded=True):
        return self._once((exporter, folded), lambda: cl.load(self.data(exporter, folded)))

    def images(self, n):
        return np.random.default_rng(0).standard_normal((n, *self.shape)).astype(np.float32)

    def seed(self, n, dtype):
        """The gradient of what is explained: one output, of a network with maps one of its pixels."""
        with torch.no_grad():
            shape = self.net(torch.zeros(1, *self.shape)).shape[1:]
        seed = np.zeros((n, *shape), dtype)
        seed.reshape(n, -1)[:, np.prod(shape) // 2] = 1
        return seed

    def gradient(self, images, net=None):
        """PyTorch's, image by image."""
        found = []
        for image, seed in zip(images[:, None], self.seed(len(images), images.dtype)[:, None], strict=True):
            x = torch.tensor(image, requires_grad=True)
            found.append(torch.autograd.grad((net or self.net)(x), x, torch.tensor(seed))[0].numpy())
        return np.concatenate(found)

    def activation(self, module):
        """What a module of PyTorch's gives for one image, at its last call."""
        found = []
        hook = self.net.get_submodule(module).register_forward_hook(lambda *call: found.append(call[-1]))
        with torch.no_grad():
            self.net(torch.tensor(self.images(1)))
        hook.remove()
        return found[-1].numpy()

    def gradient_in_double(self):
        images = self.images(1).astype(np.float64)
        return self._once("double", lambda: self.gradient(images, zoo.in_double(self.net)))


@pytest.fixture(scope="module", params=zoo.NETS)
def exports(request):
    return Exports(request.param)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_outputs_are_those_of_onnx_runtime(exports, exporter):
    session = runtime.InferenceSession(exports.data(exporter))
    x = exports.images(2)
    (want,) = session.run(None, {session.get_inputs()[0].name: x})
    assert np.abs(want).max() > 1e-2
    np.testing.assert_allclose(exports.load(exporter)(x), want, rtol=0, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_gradient_in_double_is_that_of_pytorch(exports, exporter):
    """Of the files with batch-norms: a file's convolution that has one merged into it was rounded to float32."""
    net = exports.load(exporter, folded=False).astype("float64")
    x = exports.images(1).astype(np.float64)
    want = exports.gradient_in_double()
    values = cl.explain.saliency(net, x, exports.seed(1, np.float64)).values
    np.testing.assert_allclose(values, want, rtol=0, atol=1e-8 * np.abs(want).max())


def test_gradient_in_single_is_as_exact_as_pytorchs(exports):
    """At most 8 times its error, where no unit flips, and in the root of the mean square.

    Twice is what is promised without Winograd: 0.8 to 2.3 times was measured where no unit flips, ResNet-18 above it.
    """
    x = exports.images(20 if exports.shape != zoo.LARGE else 4)
    n, seed = len(x), exports.seed(len(x), np.float32)
    values = cl.explain.saliency(exports.load("script"), x, seed).values
    exact = exports.load("script", folded=False).astype("float64")
    truth = cl.explain.saliency(exact, x.astype(np.float64), seed.astype(np.float64)).values.reshape(n, -1)
    ours, theirs = (
        np.sqrt(np.mean((found.reshape(n, -1) - truth) ** 2, 1) / np.mean(truth**2, 1))
        for found in (values, exports.gradient(x))
    )
    assert np.quantile(ours, 0.25) <= 8 * np.quantile(theirs, 0.25)
    assert np.sqrt(np.mean(ours**2)) <= max(8 * np.sqrt(np.mean(theirs**2)), _FLIP)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_the_automatic_layer_has_its_golden_name(exports, exporter):
    net, golden = exports.load(exporter), exports.golden
    why = cl.explain.grad_cam(net, exports.images(1), exports.seed(1, np.float32))
    assert why.layer == getattr(golden, exporter)
    if golden.module:
        assert net.find(golden.module) == why.layer
        ours, theirs = net.activations(exports.images(1), [why.layer])[why.layer], exports.activation(golden.module)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())
