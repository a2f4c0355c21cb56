"""Pooling's oracle: hand-computed windows, transposes, and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import reference

INF = np.inf

# size, then the keywords of a pool
POOLS = [
    ((4, 4), {"kernel_size": 2}),
    ((5, 7), {"kernel_size": 2, "ceil_mode": True}),
    ((5, 7), {"kernel_size": (3, 2), "stride": 1}),
    ((6, 5), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ((6, 5), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ((4, 4), {"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True}),
    ((7, 7), {"kernel_size": (2, 3), "stride": (3, 1), "padding": (1, 0)}),
    ((1, 1), {"kernel_size": 1}),
]
DILATED = ((9, 8), {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2})


def image(values):
    return np.array(values, np.float64).reshape(1, 1, *np.shape(values))


def test_the_first_of_equal_maxima_wins():
    x = image([[1, 3, 3], [3, 0, 3]])
    y, index = reference.max_pool2d(x, (2, 2), stride=1, return_indices=True)
    np.testing.assert_array_equal(y[0, 0], [[3, 3]])
    np.testing.assert_array_equal(index[0, 0], [[1, 1]])  # row by row: (0, 1) for both windows
    np.testing.assert_array_equal(reference.max_pool2d_offset(x, (2, 2), stride=1)[0, 0], [[1, 0]])


def test_padding_never_wins_over_negative_values():
    x = image([[-5, -7], [-6, -8]])
    y = reference.max_pool2d(x, 3, stride=1, padding=1)
    np.testing.assert_array_equal(y[0, 0], [[-5, -5], [-5, -5]])


def test_minus_infinity_keeps_the_first_place():
    x = image([[-INF, -INF]])
    assert reference.max_pool2d_offset(x, (2, 3), padding=((1, 0), (1, 0)))[0, 0, 0, 0] == 4  # (1, 1) of 2 x 3


def test_nan_wins():
    assert np.isnan(reference.max_pool2d(image([[1, np.nan, 2]]), (1, 3)))[0, 0, 0, 0]


def test_gradient_goes_to_the_winner_and_adds_up_where_windows_overlap():
    x = image([[1, 5, 2], [0, 4, 3]])
    keywords = {"kernel_size": (2, 2), "stride": 1}
    offset = reference.max_pool2d_offset(x, **keywords)
    dx = reference.max_pool2d_grad(image([[10, 7]]), offset, x.shape, **keywords)
    np.testing.assert_array_equal(dx[0, 0], [[0, 17, 0], [0, 0, 0]])


def test_average_counts_padding_or_not():
    x = image([[4, 8], [12, 16]])
    keywords = {"kernel_size": 2, "stride": 2, "padding": 1}
    np.testing.assert_array_equal(reference.avg_pool2d(x, **keywords)[0, 0], [[1, 2], [3, 4]])
    without = reference.avg_pool2d(x, **keywords, count_include_pad=False)
    np.testing.assert_array_equal(without[0, 0], [[4, 8], [12, 16]])


def test_a_window_past_the_padded_end_is_divided_by_what_lies_before_it():
    x = image([[2, 4, 6]])
    y = reference.avg_pool2d(x, (1, 2), ceil_mode=True)
    np.testing.assert_array_equal(y[0, 0], [[3, 6]])


def test_a_window_of_padding_alone_is_an_error():
    with pytest.raises(ValueError, match="window 0 along height lies in the padding alone"):
        reference.max_pool2d(np.zeros((1, 1, 4, 4)), 2, padding=2)


def test_an_output_gradient_of_the_wrong_shape_is_an_error():
    with pytest.raises(ValueError, match=r"`grad_output` has shape \(1, 1, 3, 3\); it must be \(1, 1, 2, 2\)"):
        reference.avg_pool2d_grad(np.zeros((1, 1, 3, 3)), (1, 1, 4, 4), 2)


@pytest.mark.parametrize(("size", "keywords"), [*POOLS, DILATED])
@pytest.mark.parametrize("include", [True, False])
def test_average_gradient_is_the_transpose(size, keywords, include):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2, 3, *size))
    y = reference.avg_pool2d(x, **keywords, count_include_pad=include)
    dy = rng.normal(size=y.shape)
    dx = reference.avg_pool2d_grad(dy, x.shape, **keywords, count_include_pad=include)
    np.testing.assert_allclose((y * dy).sum(), (x * dx).sum(), rtol=1e-12)


@pytest.mark.parametrize(("size", "keywords"), [*POOLS, DILATED])
def test_max_pool_is_linear_and_transposed_with_winners_fixed(size, keywords):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, 3, *size))
    y, index = reference.max_pool2d(x, **keywords, return_indices=True)
    np.testing.assert_array_equal(
        np.take_along_axis(x.reshape(2, 3, -1), index.reshape(2, 3, -1), 2), y.reshape(2, 3, -1)
    )
    dy = rng.normal(size=y.shape)
    dx = reference.max_pool2d_grad(dy, reference.max_pool2d_offset(x, **keywords), x.shape, **keywords)
    np.testing.assert_allclose((y * dy).sum(), (x * dx).sum(), rtol=1e-12)


@pytest.mark.parity
@pytest.mark.parametrize(("size", "keywords"), [*POOLS, DILATED])
def test_max_pool_agrees_with_pytorch(size, keywords):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(4).integers(-3, 3, size=(2, 3, *size)).astype(np.float64)  # ties everywhere
    tensor = torch.tensor(x, requires_grad=True)
    y, index = torch.nn.functional.max_pool2d(tensor, **keywords, return_indices=True)
    ours, our_index = reference.max_pool2d(x, **keywords, return_indices=True)
    np.testing.assert_array_equal(ours, y.detach().numpy())
    np.testing.assert_array_equal(our_index, index.numpy())
    dy = np.random.default_rng(5).normal(size=y.shape)
    y.backward(torch.tensor(dy))
    dx = reference.max_pool2d_grad(dy, reference.max_pool2d_offset(x, **keywords), x.shape, **keywords)
    np.testing.assert_allclose(dx, tensor.grad.numpy(), rtol=1e-14, atol=1e-14)


@pytest.mark.parity
@pytest.mark.parametrize(("size", "keywords"), POOLS)
@pytest.mark.parametrize("include", [True, False])
def test_average_pool_agrees_with_pytorch(size, keywords, include):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(6).normal(size=(2, 3, *size))
    tensor = torch.tensor(x, requires_grad=True)
    y = torch.nn.functional.avg_pool2d(tensor, **keywords, count_include_pad=include)
    ours = reference.avg_pool2d(x, **keywords, count_include_pad=include)
    np.testing.assert_allclose(ours, y.detach().numpy(), rtol=1e-14, atol=1e-14)
    dy = np.random.default_rng(7).normal(size=y.shape)
    y.backward(torch.tensor(dy))
    dx = reference.avg_pool2d_grad(dy, x.shape, **keywords, count_include_pad=include)
    np.testing.assert_allclose(dx, tensor.grad.numpy(), rtol=1e-14, atol=1e-14)
