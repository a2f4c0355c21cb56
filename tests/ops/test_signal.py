"""Signals, against PyTorch and against images of one row."""

from __future__ import annotations

import numpy as np
import pytest
from bounds import assert_within, normal, rounding

from convlens import ops, reference

CONVOLUTIONS = {
    "plain": ((2, 5, 13), (7, 3), {}),
    "strided": ((2, 18, 20), (5, 4), {"stride": 3, "padding": 2}),
    "depthwise": ((1, 20, 12), (20, 3), {"groups": 20, "padding": 1}),
    "dilated": ((2, 16, 15), (16, 3), {"dilation": 2, "padding": 1}),
}
POOLS = {
    "plain": ((2, 18, 12), {"kernel_size": 3}),
    "overlapping": ((2, 5, 13), {"kernel_size": 4, "stride": 2, "padding": 1}),
    "ceil": ((1, 3, 8), {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
}


def operands(name, dtype="float64"):
    shape, (k, s), keywords = CONVOLUTIONS[name]
    x, w = normal(1, *shape, dtype=dtype), normal(2, k, shape[1] // keywords.get("groups", 1), s, dtype=dtype)
    return x, w, normal(3, k, dtype=dtype), keywords


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_conv1d_is_within_rounding_of_the_oracle(name, dtype, isa):
    x, w, b, keywords = operands(name, dtype)
    expected = reference.conv1d(*(a.astype(np.float64) for a in (x, w, b)), **keywords)
    magnitude = reference.conv1d(*(np.abs(a.astype(np.float64)) for a in (x, w, b)), **keywords)
    assert_within(ops.conv1d(x, w, b, **keywords), expected, rounding(dtype, w[0].size, magnitude))


@pytest.mark.parity
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_conv1d_and_its_gradients_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    x, w, b, keywords = operands(name)
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    y = torch.nn.functional.conv1d(*tensors, **keywords)
    np.testing.assert_allclose(ops.conv1d(x, w, b, **keywords), y.detach().numpy(), rtol=0, atol=1e-11)
    dy = normal(4, *y.shape, dtype="float64")
    y.backward(torch.tensor(dy))
    found = (
        ops.conv1d_grad_input(dy, w, x.shape, **keywords),
        ops.conv1d_grad_weight(dy, x, w.shape, **keywords),
        ops.conv1d_grad_bias(dy),
    )
    oracle = (
        reference.conv1d_grad_input(dy, w, x.shape, **keywords),
        reference.conv1d_grad_weight(dy, x, w.shape, **keywords),
    )
    for ours, tensor in zip((*found, *oracle), (*tensors, *tensors[:2]), strict=True):
        np.testing.assert_allclose(ours, tensor.grad.numpy(), rtol=0, atol=1e-11)


@pytest.mark.parity
@pytest.mark.parametrize(
    "keywords", [{}, {"stride": 2, "padding": 1, "output_padding": 1}, {"groups": 3, "dilation": 2}]
)
def test_conv_transpose1d_and_its_gradients_are_pytorchs(keywords):
    torch = pytest.importorskip("torch")
    x, w, b = (normal(i, *shape, dtype="float64") for i, shape in enumerate([(2, 6, 7), (6, 4, 3), (4,)]))
    b = normal(5, 4 * keywords.get("groups", 1), dtype="float64")
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    y = torch.nn.functional.conv_transpose1d(*tensors, **keywords)
    for module in (ops, reference):
        ours = module.conv_transpose1d(x, w, b, **keywords)
        np.testing.assert_allclose(ours, y.detach().numpy(), rtol=0, atol=1e-11)
    dy = normal(4, *y.shape, dtype="float64")
    y.backward(torch.tensor(dy))
    dx = ops.conv_transpose1d_grad_input(dy, w, x.shape, **keywords)
    dw = ops.conv_transpose1d_grad_weight(dy, x, w.shape, **keywords)
    np.testing.assert_allclose(dx, tensors[0].grad.numpy(), rtol=0, atol=1e-11)
    np.testing.assert_allclose(dw, tensors[1].grad.numpy(), rtol=0, atol=1e-11)


@pytest.mark.parity
@pytest.mark.parametrize("name", POOLS)
def test_pools_and_their_gradients_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    shape, keywords = POOLS[name]
    x = np.round(normal(1, *shape, dtype="float64"), 1)
    tensor = torch.tensor(x, requires_grad=True)
    y, places = torch.nn.functional.max_pool1d(tensor, **keywords, return_indices=True)
    for module in (ops, reference):
        ours, indices = module.max_pool1d(x, **keywords, return_indices=True)
        np.testing.assert_array_equal(ours, y.detach().numpy())
        np.testing.assert_array_equal(indices, places.numpy())
    dy = normal(2, *y.shape, dtype="float64")
    y.backward(torch.tensor(dy))
    dx = ops.max_pool1d_grad(dy, indices, x.shape, **keywords)
    np.testing.assert_allclose(dx, tensor.grad.numpy(), rtol=0, atol=1e-14)
    for counted in (True, False):
        tensor = torch.tensor(x, requires_grad=True)
        y = torch.nn.functional.avg_pool1d(tensor, **keywords, count_include_pad=counted)
        for module in (ops, reference):
            ours = module.avg_pool1d(x, **keywords, count_include_pad=counted)
            np.testing.assert_allclose(ours, y.detach().numpy(), rtol=0, atol=1e-14)
        y.backward(torch.tensor(dy))
        dx = ops.avg_pool1d_grad(dy, x.shape, **keywords, count_include_pad=counted)
        np.testing.assert_allclose(dx, tensor.grad.numpy(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("padding", ["same", "valid", 1, (2, 0)])
def test_padding_is_along_the_length(padding):
    x, w = normal(1, 1, 2, 9), normal(2, 3, 2, 3)
    sides = padding if isinstance(padding, str) else ((0, 0), padding if isinstance(padding, tuple) else (1, 1))
    expected = ops.conv2d(x[:, :, None], w[:, :, None], padding=sides)[:, :, 0]
    np.testing.assert_array_equal(ops.conv1d(x, w, padding=padding), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, w: ops.conv1d(x[0], w), r"`x` has shape \(2, 9\); it must be \(N, C, L\); it has no batch axis"),
        (lambda x, w: ops.conv1d(x, w[0]), r"`weight` has shape \(2, 3\); it must be \(K, C / groups, S\)"),
        (lambda x, w: ops.conv1d(x, w, stride=(1, 2)), r"`stride` \(=\(1, 2\)\) must be an int: a signal has one axis"),
        (
            lambda x, w: ops.conv1d(x, w, padding=(1, 2, 3)),
            r"`padding` \(=\(1, 2, 3\)\) must be an int or \(left, right\)",
        ),
        (lambda x, w: ops.avg_pool1d(x[None], 2), r"`x` has shape \(1, 1, 2, 9\); it must be \(N, C, L\)"),
    ],
)
def test_errors_name_the_parameter(call, message):
    with pytest.raises(ValueError, match=message):
        call(normal(1, 1, 2, 9), normal(2, 3, 2, 3))
