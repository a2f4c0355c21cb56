from __future__ import annotations

import numpy as np
import pytest
from bounds import assert_within, normal, rounding

from convlens import ops, reference

# images, channels, height, width; channels / groups of the result, kernel; keywords
SHAPES = {
    "1x1": ((2, 1, 1, 1), (1, 1, 1), {}),
    "doubling": ((2, 18, 5, 4), (7, 2, 2), {"stride": 2}),
    "odd": ((1, 17, 5, 3), (33, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "stride-beyond-kernel": ((1, 20, 4, 4), (20, 2, 2), {"stride": 3, "output_padding": (0, 2)}),
    "asymmetric": ((2, 5, 6, 5), (12, 2, 4), {"stride": (1, 2), "padding": ((0, 1), (2, 1))}),
    "depthwise": ((2, 20, 5, 6), (1, 4, 4), {"stride": 2, "padding": 1, "groups": 20}),
    "grouped": ((1, 24, 4, 4), (5, 3, 3), {"padding": 1, "groups": 3}),
    "dilated": ((1, 16, 5, 5), (16, 3, 3), {"padding": 2, "dilation": 2, "stride": 2, "output_padding": 1}),
    "pixel": ((2, 40, 1, 1), (9, 4, 4), {}),
    "empty-batch": ((0, 3, 5, 5), (4, 3, 3), {}),
}


def problem(name, dtype):
    x_shape, (k, r, s), keywords = SHAPES[name]
    x, w = normal(1, *x_shape, dtype=dtype), normal(2, x_shape[1], k, r, s, dtype=dtype)
    return x, w, normal(3, k * keywords.get("groups", 1), dtype=dtype), keywords


def wide(*arrays):
    return [a.astype(np.float64) for a in arrays]


@pytest.mark.parametrize("name", SHAPES)
def test_the_three_are_within_rounding_of_the_oracle(name, dtype, isa):
    x, w, b, keywords = problem(name, dtype)
    (wx, ww, wb), terms = wide(x, w, b), x.shape[1] * w[0, 0].size
    y = ops.conv_transpose2d(x, w, b, **keywords)
    magnitude = reference.conv_transpose2d(np.abs(wx), np.abs(ww), np.abs(wb), **keywords)
    assert y.dtype == dtype
    assert_within(y, reference.conv_transpose2d(wx, ww, wb, **keywords), rounding(dtype, terms, magnitude))
    dy = normal(4, *y.shape, dtype=dtype)
    (wdy,) = wide(dy)
    dx = ops.conv_transpose2d_grad_input(dy, w, x.shape, **keywords)
    expected = reference.conv_transpose2d_grad_input(wdy, ww, x.shape, **keywords)
    magnitude = reference.conv_transpose2d_grad_input(np.abs(wdy), np.abs(ww), x.shape, **keywords)
    assert_within(dx, expected, rounding(dtype, w[0].size, magnitude))
    dw = ops.conv_transpose2d_grad_weight(dy, x, w.shape, **keywords)
    expected = reference.conv_transpose2d_grad_weight(wdy, wx, w.shape, **keywords)
    magnitude = reference.conv_transpose2d_grad_weight(np.abs(wdy), np.abs(wx), w.shape, **keywords)
    assert_within(dw, expected, rounding(dtype, x[:, 0].size, magnitude))


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "empty-batch"])
def test_it_is_the_adjoint_of_the_convolution(name):
    """<convT(x), y> = <x, conv(y)> where the convolution has the same weight, read the other way."""
    x, w, _, keywords = problem(name, "float64")
    y = ops.conv_transpose2d(x, w, **keywords)
    dy = normal(5, *y.shape, dtype="float64")
    inner, scale = np.sum(y * dy), 1e-12 * np.sum(np.abs(y * dy))
    assert abs(inner - np.sum(x * ops.conv_transpose2d_grad_input(dy, w, x.shape, **keywords))) <= scale
    assert abs(inner - np.sum(w * ops.conv_transpose2d_grad_weight(dy, x, w.shape, **keywords))) <= scale
    if "output_padding" not in keywords:
        assert abs(inner - np.sum(x * ops.conv2d(dy, w, **keywords))) <= scale


@pytest.mark.parity
@pytest.mark.parametrize("name", [name for name in SHAPES if name not in ("asymmetric", "empty-batch")])
def test_it_is_pytorchs(name):
    torch = pytest.importorskip("torch")
    x, w, b, keywords = problem(name, "float64")
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    y = torch.nn.functional.conv_transpose2d(*tensors, **keywords)
    np.testing.assert_allclose(ops.conv_transpose2d(x, w, b, **keywords), y.detach().numpy(), rtol=0, atol=1e-11)
    dy = normal(6, *y.shape, dtype="float64")
    y.backward(torch.tensor(dy))
    dx = ops.conv_transpose2d_grad_input(dy, w, x.shape, **keywords)
    dw = ops.conv_transpose2d_grad_weight(dy, x, w.shape, **keywords)
    np.testing.assert_allclose(dx, tensors[0].grad.numpy(), rtol=0, atol=1e-11)
    np.testing.assert_allclose(dw, tensors[1].grad.numpy(), rtol=0, atol=1e-11)
    np.testing.assert_allclose(ops.conv2d_grad_bias(dy), tensors[2].grad.numpy(), rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", SHAPES)
def test_threads_and_batch_do_not_change_a_bit(name):
    x, w, b, keywords = problem(name, "float32")
    x = np.concatenate([x, normal(9, 5, *x.shape[1:])])
    before = ops.get_num_threads()
    whole = ops.conv_transpose2d(x, w, b, **keywords)
    try:
        for threads in (1, 2, 3):
            ops.set_num_threads(threads)
            assert np.array_equal(whole, ops.conv_transpose2d(x, w, b, **keywords))
    finally:
        ops.set_num_threads(before)
    for i in range(len(x)):
        assert np.array_equal(whole[i : i + 1], ops.conv_transpose2d(x[i : i + 1], w, b, **keywords))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, w: ops.conv_transpose2d(x, w[:3]), r"`weight` \(3, 4, 3, 3\) is for 3 channels, the input has 6"),
        (
            lambda x, w: ops.conv_transpose2d(x, w, groups=4),
            r"`in_channels` \(=6\) must be divisible by `groups` \(=4\)",
        ),
        (lambda x, w: ops.conv_transpose2d(x, w, padding="same"), "`padding` .* must be numbers"),
        (lambda x, w: ops.conv_transpose2d(x, w, output_padding=1), r"`output_padding` \(=1 of height\)"),
        (lambda x, w: ops.conv_transpose2d(x, w, padding=9), "leave nothing of height"),
        (lambda x, w: ops.conv_transpose2d(x, w[0]), r"`weight` has shape .* it must be \(C, K / groups, R, S\)"),
        (
            lambda x, w: ops.conv_transpose2d_grad_input(x, w, x.shape),
            r"`grad_output` has shape .* must be \(N, 4, 10, 10\)",
        ),
    ],
)
def test_errors_name_the_parameter(call, message):
    with pytest.raises(ValueError, match=message):
        call(normal(1, 1, 6, 8, 8), normal(2, 6, 4, 3, 3))
