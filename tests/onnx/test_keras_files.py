"""Channels-last files of tf2onnx's kind, beside ONNX Runtime and PyTorch's gradients."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx.helper")

import convlens as cl

pytestmark = pytest.mark.parity

torch = pytest.importorskip("torch")
runtime = pytest.importorskip("onnxruntime")
keras_files = pytest.importorskip("keras_files")


@pytest.fixture(params=keras_files.FILES, scope="module")
def case(request):
    """The file's bytes, the network, what PyTorch computes up to a tensor, its end, and the golden layer."""
    make, layer = keras_files.FILES[request.param]
    file, output = make()
    data = file.model(output).SerializeToString()
    return file, data, cl.load(data), output, layer


def _images(file, n, dtype=np.float32):
    return np.random.default_rng(3).standard_normal((n, *file.shape)).astype(dtype)


def test_outputs_are_those_of_onnx_runtime(case):
    file, data, net, output, _ = case
    x = _images(file, 3)
    (want,) = runtime.InferenceSession(data).run([output], {keras_files.INPUT: x})
    np.testing.assert_allclose(net(x), want, rtol=0, atol=1e-4 * np.abs(want).max())
    assert net.input_shape == file.shape


def test_gradient_in_double_is_that_of_pytorch(case):
    """Of the logits, which are before the softmax; maps have the input's axes."""
    file, _, net, _, _ = case
    x = _images(file, 2, np.float64)
    images = torch.tensor(x, requires_grad=True)
    logits = file.compute(images, net.logits_name)
    target = (5, 7, 2) if logits.ndim == 4 else 2
    (want,) = torch.autograd.grad(logits[(slice(None), *np.atleast_1d(target))].sum(), images)
    why = cl.explain.saliency(net.astype("float64"), x, target)
    assert why.values.shape == x.shape
    np.testing.assert_allclose(why.values, want, rtol=0, atol=1e-8 * float(want.abs().max()))


def test_the_automatic_layer_has_its_golden_name(case):
    file, _, net, _, layer = case
    target = (5, 7, 2) if net.graph.types[net.logits_name].shape[1:] == (24, 20, 4) else 2
    assert cl.explain.grad_cam(net, _images(file, 1), target).layer == f"StatefulPartitionedCall/model/{layer}"
    assert net.find(layer.removesuffix(":0")) == f"StatefulPartitionedCall/model/{layer}"
