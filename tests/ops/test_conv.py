from __future__ import annotations

import numpy as np
import pytest
from bounds import assert_within, normal, rounding

from convlens import ops, reference

# images, channels, height, width; out_channels, kernel; keywords
SHAPES = {
    "1x1": ((2, 1, 1, 1), (1, 1, 1), {}),
    "image": ((1, 3, 9, 8), (18, 3, 3), {"padding": 1}),
    "narrower-than-a-vector": ((2, 5, 6, 3), (7, 3, 3), {"padding": "same"}),
    "odd": ((2, 17, 7, 5), (33, 3, 3), {"stride": 2, "padding": 1}),
    "stride-beyond-kernel": ((1, 20, 11, 11), (20, 2, 2), {"stride": 3}),
    "asymmetric": ((2, 18, 7, 8), (12, 2, 4), {"stride": (1, 2), "padding": ((0, 1), (2, 1))}),
    "depthwise": ((2, 20, 8, 8), (20, 3, 3), {"padding": 1, "groups": 20}),
    "depthwise-strided": ((1, 33, 9, 9), (33, 5, 5), {"padding": "same", "stride": 2, "groups": 33}),
    "depthwise-small": ((2, 40, 7, 7), (40, 3, 3), {"padding": 1, "groups": 40}),
    "depthwise-small-5x5": ((1, 21, 7, 7), (21, 5, 5), {"padding": 2, "groups": 21}),
    "depthwise-small-strided": ((2, 18, 7, 7), (18, 3, 3), {"padding": 1, "stride": 2, "groups": 18}),
    "depthwise-narrow-strided": ((2, 18, 15, 14), (18, 3, 3), {"padding": 1, "stride": 2, "groups": 18}),
    "depthwise-wide": ((1, 3, 9, 53), (3, 3, 3), {"padding": 1, "groups": 3}),
    "depthwise-wide-strided": ((1, 3, 12, 70), (3, 5, 5), {"padding": 2, "stride": 2, "groups": 3}),
    "depthwise-in-pieces": ((1, 2, 90, 112), (2, 3, 3), {"padding": 1, "groups": 2}),
    "depthwise-in-pieces-strided": (
        (1, 2, 97, 121),
        (2, 3, 3),
        {"padding": ((0, 1), (0, 1)), "stride": 2, "groups": 2},
    ),
    "depthwise-tall": ((2, 20, 300, 9), (20, 3, 3), {"padding": 1, "groups": 20}),
    "depthwise-tall-strided": ((1, 18, 203, 13), (18, 5, 5), {"padding": 2, "stride": 2, "groups": 18}),
    "depthwise-wide-valid-strided": ((1, 3, 12, 70), (3, 3, 3), {"stride": 2, "groups": 3}),
    "depthwise-wide-asymmetric-strided": (
        (2, 3, 11, 67),
        (3, 3, 3),
        {"stride": 2, "padding": ((2, 0), (0, 2)), "groups": 3},
    ),
    "depthwise-row": ((2, 5, 1, 40), (5, 3, 3), {"padding": 1, "groups": 5}),
    "depthwise-column": ((2, 5, 23, 1), (5, 5, 5), {"padding": 2, "stride": (2, 1), "groups": 5}),
    "depthwise-asymmetric": ((2, 6, 8, 19), (6, 5, 5), {"stride": (1, 2), "padding": ((3, 1), (0, 4)), "groups": 6}),
    "depthwise-valid": ((2, 4, 18, 34), (4, 3, 3), {"stride": 2, "groups": 4}),
    "depthwise-dilated": ((1, 6, 9, 9), (6, 3, 3), {"padding": 2, "dilation": 2, "groups": 6}),
    "depthwise-far-padded": ((1, 6, 4, 5), (6, 3, 3), {"padding": 3, "groups": 6}),
    "multiplier": ((1, 6, 5, 5), (12, 3, 3), {"groups": 6}),
    "grouped": ((2, 24, 6, 6), (12, 3, 3), {"padding": 1, "groups": 3}),
    "dilated": ((1, 16, 9, 9), (16, 3, 3), {"padding": 2, "dilation": 2}),
    "1x1-strided": ((1, 32, 8, 8), (16, 1, 1), {"stride": 2}),
    "1x1-strided-large": ((2, 20, 41, 55), (18, 1, 1), {"stride": 2}),
    "1x1-strided-many-channels": ((1, 120, 9, 6), (20, 1, 1), {"stride": (3, 2)}),
    "row": ((1, 4, 1, 40), (8, 1, 7), {"padding": "same"}),
    "large-kernel": ((1, 2, 12, 12), (4, 11, 11), {"padding": 5}),
    "many-channels": ((1, 130, 4, 4), (70, 3, 3), {"padding": 1}),
    "empty-batch": ((0, 3, 5, 5), (4, 3, 3), {}),
    "pixel-of-several-blocks": ((2, 32, 1, 1), (48, 1, 1), {}),
    "to-a-pixel-of-several-blocks": ((2, 3, 4, 3), (32, 4, 3), {}),
    "bands": ((2, 3, 33, 32), (20, 3, 3), {"padding": 1}),
    "bands-strided": ((1, 2, 170, 66), (33, 5, 4), {"padding": ((3, 1), (0, 1)), "stride": 2}),
    "bands-far-padded": ((2, 3, 4, 30), (5, 3, 3), {"padding": ((4, 3), (0, 4))}),
    "bands-dilated": ((1, 4, 40, 21), (9, 3, 3), {"stride": (3, 1), "padding": ((0, 1), (0, 3)), "dilation": (1, 4)}),
    "bands-between-rows": ((1, 2, 50, 9), (4, 1, 3), {"stride": 3, "padding": ((2, 0), (0, 1))}),
    "pointwise": ((2, 40, 9, 17), (70, 1, 1), {}),
    "pointwise-of-full-panels": ((1, 20, 8, 16), (30, 1, 1), {}),
    "pointwise-of-large-planes": ((1, 20, 82, 82), (70, 1, 1), {}),
    "pointwise-of-many-channels": ((2, 400, 4, 9), (30, 1, 1), {}),
    "pointwise-of-many-channels-and-pixels": ((2, 400, 23, 30), (40, 1, 1), {}),
    "pointwise-to-many-channels": ((1, 20, 9, 17), (430, 1, 1), {}),
    "1x1-strided-to-many-channels": ((1, 20, 19, 17), (430, 1, 1), {"stride": 2}),
    "many-small-images": ((70, 40, 3, 3), (20, 1, 1), {}),
    "large-image": ((1, 3, 18, 20), (16, 3, 3), {"padding": 1}),
    "image-of-pages": ((1, 3, 32, 32), (18, 3, 3), {"padding": 1}),
    "large-planes": ((2, 13, 17, 21), (16, 3, 3), {"padding": 1}),
    "large-planes-strided": ((1, 12, 40, 37), (16, 3, 3), {"stride": 2, "padding": 1}),
    "depthwise-pixel": ((2, 32, 1, 1), (32, 1, 1), {"groups": 32}),
}


def problem(name, dtype):
    x_shape, (k, r, s), keywords = SHAPES[name]
    groups = keywords.get("groups", 1)
    x, w = normal(1, *x_shape, dtype=dtype), normal(2, k, x_shape[1] // groups, r, s, dtype=dtype)
    return x, w, normal(3, k, dtype=dtype), keywords


def wide(*arrays):
    return [a.astype(np.float64) for a in arrays]


@pytest.mark.parametrize("name", SHAPES)
def test_conv2d_is_within_rounding_of_the_oracle(name, dtype, isa):
    x, w, b, keywords = problem(name, dtype)
    expected = reference.conv2d(*wide(x, w, b), **keywords)
    magnitude = reference.conv2d(*np.abs(wide(x)), *np.abs(wide(w)), np.abs(b.astype(np.float64)), **keywords)
    y = ops.conv2d(x, w, b, **keywords)
    assert y.dtype == dtype
    assert_within(y, expected, rounding(dtype, w[0].size, magnitude))


@pytest.mark.parametrize("name", SHAPES)
def test_conv2d_grad_input_is_within_rounding_of_the_oracle(name, dtype, isa):
    x, w, _, keywords = problem(name, dtype)
    dy = normal(4, *reference.conv2d(x, w, **keywords).shape, dtype=dtype)
    expected = reference.conv2d_grad_input(*wide(dy, w), x.shape, **keywords)
    magnitude = reference.conv2d_grad_input(np.abs(wide(dy)[0]), np.abs(wide(w)[0]), x.shape, **keywords)
    dx = ops.conv2d_grad_input(dy, w, x.shape, **keywords)
    assert_within(dx, expected, rounding(dtype, w[:, 0].size, magnitude))


@pytest.mark.parametrize("name", SHAPES)
def test_conv2d_grad_weight_is_within_rounding_of_the_oracle(name, dtype, isa):
    x, w, _, keywords = problem(name, dtype)
    dy = normal(4, *reference.conv2d(x, w, **keywords).shape, dtype=dtype)
    expected = reference.conv2d_grad_weight(*wide(dy, x), w.shape, **keywords)
    magnitude = reference.conv2d_grad_weight(np.abs(wide(dy)[0]), np.abs(wide(x)[0]), w.shape, **keywords)
    dw = ops.conv2d_grad_weight(dy, x, w.shape, **keywords)
    assert_within(dw, expected, rounding(dtype, dy[:, 0].size, magnitude))


def test_a_weight_gradient_beyond_the_caches_is_written_whole():
    """9 MB, in one go: 512 rows are tiles of three, and two rows."""
    x, dy = normal(1, 1, 512, 3, 3), normal(4, 1, 512, 3, 3)
    expected = reference.conv2d_grad_weight(*wide(dy, x), (512, 512, 3, 3), padding=1)
    magnitude = reference.conv2d_grad_weight(np.abs(wide(dy)[0]), np.abs(wide(x)[0]), (512, 512, 3, 3), padding=1)
    dw = ops.conv2d_grad_weight(dy, x, (512, 512, 3, 3), padding=1)
    assert_within(dw, expected, rounding("float32", 9, magnitude))


def test_conv2d_grad_bias_is_a_sum(dtype, isa):
    dy = normal(4, 3, 18, 5, 4, dtype=dtype)
    magnitude = np.abs(dy).sum((0, 2, 3), dtype=np.float64)
    assert_within(ops.conv2d_grad_bias(dy), dy.sum((0, 2, 3), dtype=np.float64), rounding(dtype, 60, magnitude))


@pytest.mark.parametrize("name", [n for n in SHAPES if n != "empty-batch"])
def test_the_three_are_adjoint(name):
    """<conv(x, w), y> = <x, grad_input(y, w)> = <w, grad_weight(y, x)>."""
    x, w, _, keywords = problem(name, "float64")
    y = ops.conv2d(x, w, **keywords)
    dy = normal(5, *y.shape, dtype="float64")
    inner = np.sum(y * dy)
    scale = 1e-12 * np.sum(np.abs(y * dy))
    assert abs(inner - np.sum(x * ops.conv2d_grad_input(dy, w, x.shape, **keywords))) <= scale
    assert abs(inner - np.sum(w * ops.conv2d_grad_weight(dy, x, w.shape, **keywords))) <= scale


@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_images_beyond_the_cache_have_the_same_bits(stride):
    x, w = normal(1, 4, 48, 112, 112), normal(2, 48, 1, 3, 3)
    keywords = {"stride": stride, "padding": 1, "groups": 48}
    whole = ops.conv2d(x, w, **keywords)
    dx = ops.conv2d_grad_input(whole, w, x.shape, **keywords)
    for i in range(len(x)):
        one = slice(i, i + 1)
        assert np.array_equal(whole[one], ops.conv2d(x[one], w, **keywords))
        assert np.array_equal(dx[one], ops.conv2d_grad_input(whole[one], w, x[one].shape, **keywords))


@pytest.mark.parametrize("name", SHAPES)
def test_threads_and_batch_do_not_change_a_bit(name):
    x, w, b, keywords = problem(name, "float32")
    x = np.concatenate([x, normal(9, 8, *x.shape[1:])])
    before = ops.get_num_threads()
    whole = ops.conv2d(x, w, b, **keywords)
    dy = normal(6, *whole.shape)
    dx, dw = ops.conv2d_grad_input(dy, w, x.shape, **keywords), ops.conv2d_grad_weight(dy, x, w.shape, **keywords)
    try:
        ops.set_num_threads(1)
        assert np.array_equal(whole, ops.conv2d(x, w, b, **keywords))
        assert np.array_equal(dx, ops.conv2d_grad_input(dy, w, x.shape, **keywords))
        assert np.array_equal(dw, ops.conv2d_grad_weight(dy, x, w.shape, **keywords))
    finally:
        ops.set_num_threads(before)
    for i in range(len(x)):
        assert np.array_equal(whole[i : i + 1], ops.conv2d(x[i : i + 1], w, b, **keywords))
        assert np.array_equal(dx[i : i + 1], ops.conv2d_grad_input(dy[i : i + 1], w, x.shape, **keywords))


@pytest.mark.parametrize(
    ("size", "c", "k", "kernel", "keywords"),
    [
        (7, 600, 530, 1, {}),
        (14, 90, 100, 1, {"stride": 2}),
        (9, 70, 33, 3, {"padding": 1}),
        (10, 48, 32, 3, {"padding": 1, "stride": 2, "groups": 2}),
        (14, 620, 20, 1, {}),
        (1, 100, 40, 1, {}),
    ],
)
@pytest.mark.parametrize("n", [2, 7, 11])
def test_images_whose_pixels_share_panels_have_the_same_bits(isa, n, size, c, k, kernel, keywords):
    x, b = normal(1, n, c, size, size), normal(3, k)
    w = normal(2, k, c // keywords.get("groups", 1), kernel, kernel)
    x[1, c // 2, 0, 0] = np.nan
    y = ops.conv2d(x, w, b, **keywords)
    for i in range(n):
        assert np.array_equal(y[i : i + 1], ops.conv2d(x[i : i + 1], w, b, **keywords), equal_nan=True)
    assert np.isfinite(np.delete(y, 1, axis=0)).all()


@pytest.mark.parametrize(
    ("k", "c", "kernel", "size"), [(1, 8192, 3, 5), (2, 8192, 3, 5), (5, 33000, 1, 5), (1, 24000, 3, 3)]
)
def test_much_work_of_few_kernels_and_pixels_is_whole(isa, k, c, kernel, size):
    x, w = normal(1, 1, c, size, size), normal(2, k, c, kernel, kernel)
    y = ops.conv2d(x, w)
    sums = np.lib.stride_tricks.sliding_window_view(x[0].astype(np.float64), (kernel, kernel), axis=(1, 2))
    expected = np.einsum("cpqrs,kcrs->kpq", sums, w.astype(np.float64))[None]
    assert np.abs(y - expected).max() <= 1e-5 * np.sqrt(c * kernel**2)


def test_a_photograph_under_one_small_kernel():
    """The sum of each 2 x 2 square, negated, for red, green and blue apart."""
    photograph = np.random.default_rng(0).random((1, 3, 12, 17)).astype(np.float32)
    y = ops.conv2d(photograph, np.array([[-1, -1], [-1, -1]], np.float32))
    p = photograph
    expected = -(p[..., :-1, :-1] + p[..., 1:, :-1] + p[..., :-1, 1:] + p[..., 1:, 1:])
    assert y.shape == (1, 3, 11, 16)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)


def test_nan_stays_where_its_windows_are():
    x, w = normal(1, 1, 3, 8, 8), normal(2, 4, 3, 3, 3)
    x[0, 1, 4, 4] = np.nan
    y = ops.conv2d(x, w)
    assert np.isnan(y[..., 2:5, 2:5]).all()
    assert np.isfinite(y).sum() == y.size - 4 * 9


@pytest.mark.parametrize("size", [12, 16, 30])
def test_pixels_that_no_window_sees_are_in_no_weight_gradient(size):
    x, dy = normal(1, 1, 8, size, size), normal(2, 1, 8, size // 2 - 1, size // 2 - 1)
    expected = ops.conv2d_grad_weight(dy, x, (8, 1, 3, 3), stride=2, groups=8)
    x[..., -1, :] = x[..., :, -1] = np.nan
    np.testing.assert_array_equal(ops.conv2d_grad_weight(dy, x, (8, 1, 3, 3), stride=2, groups=8), expected)


@pytest.mark.parametrize(
    "change", [lambda a: np.asfortranarray(a), lambda a: a[::-1], lambda a: a.astype(a.dtype.newbyteorder())]
)
def test_arrays_in_any_order_of_bytes_and_axes(change):
    x, w = normal(1, 2, 3, 6, 5), normal(2, 4, 3, 3, 3)
    np.testing.assert_array_equal(ops.conv2d(change(x), w), ops.conv2d(np.array(change(x), "float32", order="C"), w))


def test_read_only_arrays_are_read():
    x, w = normal(1, 2, 3, 6, 5), normal(2, 4, 3, 3, 3)
    expected = ops.conv2d(x, w)
    x.flags.writeable = w.flags.writeable = False
    np.testing.assert_array_equal(ops.conv2d(x, w), expected)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (lambda x, w: (x[0], w), ValueError, r"`x` has shape \(6, 8, 8\).*no batch axis: pass x\[None\]"),
        (lambda x, w: (x.astype(np.uint8), w), TypeError, "`x` is uint8; .*/ 255"),
        (lambda x, w: (x.astype(np.int64), w), TypeError, r"`x` is int64; .*pass x.astype\(np.float32\)"),
        (lambda x, w: (x, w.astype(np.float64)), TypeError, "`weight` is float64 and `x` float32; convert"),
        (lambda x, w: (x, w[:, :3]), ValueError, r"`weight` \(4, 3, 3, 3\) takes 3 x `groups` \(=1\) channels, .* 6"),
        (lambda x, w: (x, w[0]), ValueError, r"`weight` has shape \(6, 3, 3\); it must be \(K, C / groups, R, S\)"),
        (lambda x, w: (x[:, :, :2], w), ValueError, "larger than the padded input"),
    ],
)
def test_errors_name_the_parameter_and_the_remedy(arguments, error, message):
    with pytest.raises(error, match=message):
        ops.conv2d(*arguments(normal(1, 1, 6, 8, 8), normal(2, 4, 6, 3, 3)))


def test_groups_must_divide_the_channels():
    with pytest.raises(ValueError, match=r"`in_channels` \(=6\) must be divisible by `groups` \(=4\)"):
        ops.conv2d(normal(1, 1, 6, 8, 8), normal(2, 4, 1, 3, 3), groups=4)


def test_central_differences_agree_with_the_gradients():
    x, w = normal(1, 2, 3, 6, 5, dtype="float64"), normal(2, 4, 3, 3, 3, dtype="float64")
    keywords = {"stride": 2, "padding": ((1, 0), (1, 1))}
    dy = normal(3, *ops.conv2d(x, w, **keywords).shape, dtype="float64")
    h, u, v = 1e-5, normal(4, *x.shape, dtype="float64"), normal(5, *w.shape, dtype="float64")
    slope = np.sum((ops.conv2d(x + h * u, w, **keywords) - ops.conv2d(x - h * u, w, **keywords)) * dy) / (2 * h)
    assert abs(slope - np.sum(u * ops.conv2d_grad_input(dy, w, x.shape, **keywords))) < 1e-7
    slope = np.sum((ops.conv2d(x, w + h * v, **keywords) - ops.conv2d(x, w - h * v, **keywords)) * dy) / (2 * h)
    assert abs(slope - np.sum(v * ops.conv2d_grad_weight(dy, x, w.shape, **keywords))) < 1e-7
