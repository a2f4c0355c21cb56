from __future__ import annotations

import numpy as np
import pytest
from bounds import assert_within, normal, rounding

from convlens import UnsupportedError, ops, reference

SHAPES = {
    "1x1": ((1, 1, 1, 1), 1, {}),
    "halving": ((2, 18, 8, 6), 2, {}),
    "overlapping": ((2, 17, 9, 7), 3, {"stride": 2, "padding": 1}),
    "stride-1": ((1, 4, 6, 5), 3, {"stride": 1}),
    "stride-beyond-window": ((1, 4, 9, 9), 2, {"stride": 3}),
    "asymmetric": ((1, 5, 7, 6), (2, 3), {"stride": (1, 2), "padding": ((0, 1), (1, 0))}),
    "ceil": ((2, 16, 8, 7), 3, {"stride": 2, "ceil_mode": True}),
    "ceil-padded": ((1, 3, 8, 7), 3, {"stride": 2, "padding": 1, "ceil_mode": True}),
    "ceil-rows-of-whole-vectors": ((3, 2, 16, 25), 3, {"stride": 2, "padding": ((1, 1), (0, 0)), "ceil_mode": True}),
    "whole": ((2, 20, 5, 4), (5, 4), {}),
    "whole-of-several-blocks": ((2, 32, 5, 4), (5, 4), {}),
    "pixel-of-several-blocks": ((2, 32, 1, 1), 1, {}),
    "rows-of-vectors": ((2, 3, 7, 75), 2, {}),
    "rows-of-vectors-overlapping": ((1, 2, 9, 81), 3, {"stride": 2, "padding": 1}),
    "tiles-of-three": ((2, 3, 11, 40), 3, {}),
    "tiles-wider-than-a-vector": ((1, 2, 5, 45), (2, 21), {"stride": (3, 21)}),
    "far-apart": ((2, 3, 11, 40), (3, 5), {"stride": (4, 6), "padding": (1, 2)}),
    "windows-wider-than-a-vector": ((1, 2, 6, 71), (2, 35), {"stride": (2, 17), "padding": (0, 9)}),
    "rows-beyond-windows": ((1, 2, 9, 33), 2, {"stride": (3, 2)}),
    "narrow-rows-of-many-planes": ((2, 21, 14, 14), 2, {}),
    "odd-rows-of-many-planes": ((2, 5, 26, 27), 2, {}),
    "overlapping-wide-with-edges": ((2, 3, 13, 71), 3, {"stride": 2}),
    "rows-of-several-parts": ((1, 1, 18, 331), (17, 3), {"stride": (1, 2)}),
    "planes-to-pixels": ((2, 37, 7, 7), 7, {}),
    "planes-to-pixels-of-one-row": ((2, 19, 3, 5), (3, 5), {"stride": (1, 5)}),
    "runs": ((1, 5, 6, 35), (2, 35), {"stride": (3, 1)}),
    "empty-batch": ((0, 3, 4, 4), 2, {}),
}


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("name", SHAPES)
def test_max_pool2d_with_indices_and_gradient(name, dilation, dtype, isa):
    shape, kernel, keywords = SHAPES[name]
    keywords = {**keywords, "dilation": dilation}
    x = np.round(normal(1, *shape, dtype=dtype), 1)  # ties
    try:
        expected, places = reference.max_pool2d(x, kernel, return_indices=True, **keywords)
    except ValueError as error:
        with pytest.raises(ValueError, match=str(error)[:20].replace("(", r"\(")):
            ops.max_pool2d(x, kernel, **keywords)
        return
    y, indices = ops.max_pool2d(x, kernel, return_indices=True, **keywords)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, places)
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(ops.max_pool2d(x, kernel, **keywords), expected)
    dy = normal(2, *y.shape, dtype=dtype)
    offset = reference.max_pool2d_offset(x, kernel, **keywords)
    dx = ops.max_pool2d_grad(dy, indices, x.shape, kernel, **keywords)
    wide, size = dy.astype(np.float64), x.shape
    magnitude = reference.max_pool2d_grad(np.abs(wide), offset, size, kernel, **keywords)
    assert_within(dx, reference.max_pool2d_grad(wide, offset, size, kernel, **keywords), rounding(dtype, 9, magnitude))


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("name", SHAPES)
def test_avg_pool2d_and_its_gradient(name, count_include_pad, dtype, isa):
    shape, kernel, keywords = SHAPES[name]
    keywords = {**keywords, "count_include_pad": count_include_pad}
    x = normal(1, *shape, dtype=dtype)
    wide = x.astype(np.float64)
    expected = reference.avg_pool2d(wide, kernel, **keywords)
    magnitude = reference.avg_pool2d(np.abs(wide), kernel, **keywords)
    y = ops.avg_pool2d(x, kernel, **keywords)
    assert_within(y, expected, rounding(dtype, 20, magnitude))
    dy = normal(2, *y.shape, dtype=dtype)
    dx = ops.avg_pool2d_grad(dy, x.shape, kernel, **keywords)
    expected = reference.avg_pool2d_grad(dy.astype(np.float64), x.shape, kernel, **keywords)
    magnitude = reference.avg_pool2d_grad(np.abs(dy.astype(np.float64)), x.shape, kernel, **keywords)
    assert_within(dx, expected, rounding(dtype, 9, magnitude))


def test_the_average_and_its_gradient_are_adjoint():
    x = normal(1, 2, 5, 9, 8, dtype="float64")
    keywords = {"stride": 2, "padding": 1, "ceil_mode": True}
    y = ops.avg_pool2d(x, 3, **keywords)
    dy = normal(2, *y.shape, dtype="float64")
    assert abs(np.sum(y * dy) - np.sum(x * ops.avg_pool2d_grad(dy, x.shape, 3, **keywords))) < 1e-12


def test_nan_wins_and_padding_never_does():
    x = np.full((1, 1, 4, 4), -5, np.float32)
    x[0, 0, 0, 0] = np.nan
    y = ops.max_pool2d(x, 2, padding=1)
    assert np.isnan(y[0, 0, 0, 0])
    assert np.all(y.reshape(-1)[1:] == -5)


@pytest.mark.parametrize("name", ["overlapping-wide-with-edges", "narrow-rows-of-many-planes", "rows-of-vectors"])
def test_nan_and_infinities_win_as_values_do_anywhere(name, dtype, isa):
    shape, kernel, keywords = SHAPES[name]
    x = normal(1, *shape, dtype=dtype)
    for value, step in ((np.nan, 23), (np.inf, 17), (-np.inf, 3)):
        x.reshape(-1)[5::step] = value
    expected, places = reference.max_pool2d(x, kernel, return_indices=True, **keywords)
    np.testing.assert_array_equal(ops.max_pool2d(x, kernel, **keywords), expected)
    y, indices = ops.max_pool2d(x, kernel, return_indices=True, **keywords)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, places)


@pytest.mark.parametrize(
    ("channels", "size", "kernel", "keywords"),
    [(20, 112, 2, {}), (12, 224, 2, {}), (20, 112, 3, {"stride": 2, "padding": 1}), (20, 112, 112, {})],
)
def test_large_pools_have_the_same_bits_for_any_threads_and_batch(channels, size, kernel, keywords):
    x = normal(1, 4, channels, size, size)  # beyond what one thread computes alone; the second beyond the cache
    window = {"kernel_size": kernel, **keywords}

    def pools(images):
        average = ops.avg_pool2d(images, **window)
        results = [average, ops.avg_pool2d_grad(average, images.shape, **window), ops.max_pool2d(images, **window)]
        if kernel < 16:
            y, indices = ops.max_pool2d(images, return_indices=True, **window)
            results += [y, ops.max_pool2d_grad(y, indices, images.shape, **window)]
        return [result.tobytes() for result in results]

    threads = ops.get_num_threads()
    try:
        ops.set_num_threads(1)
        alone = pools(x)
        for count in (2, 3):
            ops.set_num_threads(count)
            assert pools(x) == alone
        parts = [pools(x[i : i + 1]) for i in range(len(x))]
        assert [b"".join(part) for part in zip(*parts, strict=True)] == alone
    finally:
        ops.set_num_threads(threads)


def test_indices_of_other_windows_are_refused():
    x = normal(1, 1, 2, 8, 8)
    y, indices = ops.max_pool2d(x, 2, return_indices=True)
    with pytest.raises(ValueError, match="`indices` holds places outside their windows"):
        ops.max_pool2d_grad(y, indices[..., ::-1], x.shape, 2)
    for row, column, other in ((0, 0, -1), (0, 0, 64), (1, 2, 11), (1, 2, 2**62), (3, 3, 53)):
        wrong = indices.copy()
        wrong[0, 1, row, column] = other
        with pytest.raises(ValueError, match="`indices` holds places outside their windows"):
            ops.max_pool2d_grad(y, wrong, x.shape, 2)
    padded, indices = ops.max_pool2d(x, 3, padding=1, return_indices=True)
    for other in (-9, 7, 15, 16):  # the corner's window has rows and columns 0 and 1
        indices[0, 0, 0, 0] = other
        with pytest.raises(ValueError, match="`indices` holds places outside their windows"):
            ops.max_pool2d_grad(padded, indices, x.shape, 3, padding=1)
    with pytest.raises(ValueError, match="`indices` is float32"):
        ops.max_pool2d_grad(y, y, x.shape, 2)


def test_large_windows_have_no_indices():
    with pytest.raises(UnsupportedError, match="windows of up to 256"):
        ops.max_pool2d(normal(1, 1, 1, 20, 20), 20, return_indices=True)
    with pytest.raises(UnsupportedError, match="`indices` of a window"):
        ops.max_pool2d_grad(normal(1, 1, 1, 1, 1), np.zeros((1, 1, 1, 1), int), (1, 20, 20), 20)
    assert ops.max_pool2d(normal(1, 1, 1, 20, 20), 20).shape == (1, 1, 1, 1)
