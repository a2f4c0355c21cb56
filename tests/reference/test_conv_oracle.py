"""Convolution's oracle: against six nested loops, against itself transposed, and against PyTorch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from convlens import reference
from convlens.graph import ConvProblem, parse_problem

PROBLEMS = [
    "n1 c1 h1 w1 k1 r1 s1 st1 p0 d1 g1 f64 fwd",
    "n2 c3 h5 w7 k4 r3 s3 st1 p1 d1 g1 f64 fwd",
    "n1 c2 h7 w6 k3 r1 s1 st3 p0 d1 g1 f64 fwd",  # stride beyond the kernel
    "n1 c2 h6 w5 k2 r2 s3 st2x1 p1,0,2,3 d1 g1 f64 fwd",  # asymmetric padding and kernel
    "n2 c6 h5 w5 k6 r3 s3 st1 p1 d1 g6 f64 fwd",  # depthwise
    "n1 c4 h6 w6 k8 r3 s2 st2 p1 d1 g2 f64 fwd",  # grouped
    "n1 c2 h9 w9 k3 r3 s3 st1x2 p2 d2x3 g1 f64 fwd",  # dilated
    "n1 c1 h3 w2 k1 r5 s4 st1 p2 d1 g1 f64 fwd",  # window larger than the image
    "n0 c2 h4 w4 k3 r3 s3 st1 p1 d1 g1 f64 fwd",  # no images
]


def arguments(p: ConvProblem):
    top, left, bottom, right = p.pads
    return {"stride": p.stride, "padding": ((top, bottom), (left, right)), "dilation": p.dilation, "groups": p.groups}


def tensors(p: ConvProblem, dtype=np.float64):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(p.n, p.c, p.h, p.w)).astype(dtype)
    weight = rng.normal(size=(p.k, p.c // p.groups, p.r, p.s)).astype(dtype)
    return x, weight, rng.normal(size=p.k).astype(dtype), rng.normal(size=p.output_shape).astype(dtype)


@pytest.fixture(params=PROBLEMS)
def problem(request):
    return parse_problem(request.param)


def test_conv2d_is_six_nested_loops(problem):
    p = problem
    x, weight, bias, _ = tensors(p)
    expected = np.zeros(p.output_shape)
    for n, k, i, j in np.ndindex(*p.output_shape):
        expected[n, k, i, j] = bias[k]
        for c, r, s in itertools.product(range(p.c // p.groups), range(p.r), range(p.s)):
            row = i * p.stride[0] + r * p.dilation[0] - p.pads[0]
            column = j * p.stride[1] + s * p.dilation[1] - p.pads[1]
            if 0 <= row < p.h and 0 <= column < p.w:
                channel = k // (p.k // p.groups) * (p.c // p.groups) + c
                expected[n, k, i, j] += x[n, channel, row, column] * weight[k, c, r, s]
    np.testing.assert_allclose(reference.conv2d(x, weight, bias, **arguments(p)), expected, rtol=0, atol=1e-13)


def test_grad_input_is_the_transpose_of_conv2d(problem):
    x, weight, _, dy = tensors(problem)
    y = reference.conv2d(x, weight, **arguments(problem))
    dx = reference.conv2d_grad_input(dy, weight, x.shape, **arguments(problem))
    assert dx.shape == x.shape
    np.testing.assert_allclose((y * dy).sum(), (x * dx).sum(), rtol=1e-12, atol=1e-12)


def test_grad_weight_is_the_transpose_of_conv2d_in_its_weight(problem):
    x, weight, _, dy = tensors(problem)
    y = reference.conv2d(x, weight, **arguments(problem))
    dw = reference.conv2d_grad_weight(dy, x, weight.shape, **arguments(problem))
    assert dw.shape == weight.shape
    np.testing.assert_allclose((y * dy).sum(), (weight * dw).sum(), rtol=1e-12, atol=1e-12)


def test_grad_bias_sums_images_and_places():
    dy = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    np.testing.assert_array_equal(
        reference.conv2d_grad_bias(dy), [0 + 1 + 2 + 3 + 12 + 13 + 14 + 15, 92 - 16 + 16, 140 - 16]
    )


def test_float32_sums_are_wider_than_float32():
    ones = np.ones((1, 1, 1, 1), np.float32)
    x = np.array([1e8, 1, -1e8], np.float32).reshape(1, 3, 1, 1)
    y = reference.conv2d(x, np.repeat(ones, 3, axis=1))
    assert y.dtype == np.float32
    assert y[0, 0, 0, 0] == 1  # float32 sums would lose it


def test_padding_never_reads_outside_input():
    x = np.full((1, 1, 6, 6), np.nan)
    x[:, :, 1:-1, 1:-1] = 1
    inside = np.ascontiguousarray(x[:, :, 1:-1, 1:-1])
    y = reference.conv2d(inside, np.ones((1, 1, 3, 3)), padding=1)
    np.testing.assert_array_equal(y[0, 0], [[4, 6, 6, 4], [6, 9, 9, 6], [6, 9, 9, 6], [4, 6, 6, 4]])


@pytest.mark.parametrize(
    ("shapes", "keywords", "text"),
    [
        (((2, 3, 4), (1, 3, 1, 1)), {}, r"`x` has shape \(2, 3, 4\); it must be \(N, C, H, W\)"),
        (((1, 3, 4, 4), (1, 2, 1, 1)), {}, r"`weight` expects 2 input channels a group, the input has 3 in 1 groups"),
        (((1, 3, 4, 4), (2, 1, 1, 1)), {"groups": 2}, r"must be divisible by `groups` \(=2\)"),
        (((1, 3, 4, 4), (1, 3, 5, 1)), {}, r"a window of height 5 is larger than the padded input"),
    ],
)
def test_misfits_are_named(shapes, keywords, text):
    with pytest.raises(ValueError, match=text):
        reference.conv2d(np.zeros(shapes[0]), np.zeros(shapes[1]), **keywords)


def test_integers_are_refused():
    with pytest.raises(TypeError, match="an array of dtype int64 was given"):
        reference.conv2d(np.ones((1, 1, 2, 2), np.int64), np.ones((1, 1, 1, 1), np.int64))


@pytest.mark.parity
def test_convolution_and_gradients_agree_with_pytorch(problem):
    torch = pytest.importorskip("torch")
    p = problem
    if p.n == 0:
        return  # PyTorch's grouped kernels refuse an empty batch; the other tests cover it
    x, weight, bias, dy = tensors(p)
    top, left, bottom, right = p.pads
    xt, wt, bt = (torch.tensor(a, requires_grad=True) for a in (x, weight, bias))
    padded = torch.nn.functional.pad(xt, (left, right, top, bottom))
    yt = torch.nn.functional.conv2d(padded, wt, bt, stride=p.stride, dilation=p.dilation, groups=p.groups)
    yt.backward(torch.tensor(dy))
    for ours, theirs in (
        (reference.conv2d(x, weight, bias, **arguments(p)), yt.detach()),
        (reference.conv2d_grad_input(dy, weight, x.shape, **arguments(p)), xt.grad),
        (reference.conv2d_grad_weight(dy, x, weight.shape, **arguments(p)), wt.grad),
        (reference.conv2d_grad_bias(dy), bt.grad),
    ):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-12, atol=1e-12)
