"""Resizing and adaptive pooling with their gradients."""

from __future__ import annotations

import numpy as np
import pytest
from bounds import assert_within, normal, rounding

from convlens import UnsupportedError, ops, reference

# image, size or scale factor
SIZES = {
    "up": ((2, 18, 5, 4), {"size": (11, 9)}),
    "down": ((1, 3, 11, 9), {"size": (5, 4)}),
    "doubled": ((2, 20, 4, 6), {"scale_factor": 2}),
    "odd factors": ((1, 17, 5, 7), {"scale_factor": (2.3, 0.6)}),
    "same": ((1, 2, 5, 4), {"size": (5, 4)}),
    "to a pixel": ((1, 9, 5, 4), {"size": 1}),
    "from a pixel": ((2, 9, 1, 1), {"size": (3, 5)}),
    "signal": ((2, 18, 9), {"size": 20}),
    "signal by a factor": ((1, 3, 9), {"scale_factor": 0.5}),
    "no images": ((0, 3, 5, 4), {"size": 8}),
}
# mode, align_corners, antialias
MODES = [
    *(("nearest", False, False), ("nearest-exact", False, False), ("area", False, False)),
    *(("linear", False, False), ("linear", True, False), ("linear", False, True)),
    *(("bicubic", False, False), ("bicubic", True, False), ("bicubic", False, True)),
]
IMAGES = ("bicubic",)
CASES = [(n, *m) for n in SIZES for m in MODES if len(SIZES[n][0]) == 4 or not (m[0] in IMAGES or m[2])]
ADAPTIVE = {
    "divides": ((2, 18, 8, 6), (4, 3)),
    "overlaps": ((1, 18, 7, 5), (3, 4)),
    "more than inputs": ((2, 3, 3, 4), (5, 7)),
    "global": ((2, 20, 5, 4), (1, 1)),
    "one axis": ((1, 3, 9, 8), (9, 3)),
    "large windows": ((1, 2, 40, 37), (2, 2)),
    "large global": ((1, 2, 20, 300), (1, 1)),
}


def arguments(shape, mode, corners, antialias):
    bilinear = "bilinear" if len(shape) == 4 else "linear"
    return {"mode": bilinear if mode == "linear" else mode, "align_corners": corners, "antialias": antialias}


@pytest.mark.parametrize(("name", "mode", "corners", "antialias"), CASES)
def test_interpolate_is_within_rounding_of_the_oracle(name, mode, corners, antialias, dtype, isa):
    shape, to = SIZES[name]
    x, keywords = normal(1, *shape, dtype=dtype), arguments(shape, mode, corners, antialias)
    expected = reference.interpolate(x.astype(np.float64), **to, **keywords)
    magnitude = reference.interpolate(np.abs(x.astype(np.float64)), **to, **keywords) + np.abs(x).max(initial=0)
    y = ops.interpolate(x, **to, **keywords)
    assert y.dtype == dtype
    assert_within(y, expected, rounding(dtype, 16, magnitude))


@pytest.mark.parametrize(("name", "mode", "corners", "antialias"), [c for c in CASES if c[0] != "no images"])
def test_interpolate_and_its_gradient_are_adjoint(name, mode, corners, antialias):
    shape, to = SIZES[name]
    x, keywords = normal(1, *shape, dtype="float64"), arguments(shape, mode, corners, antialias)
    y = ops.interpolate(x, **to, **keywords)
    dy = normal(2, *y.shape, dtype="float64")
    dx = ops.interpolate_grad(dy, shape, **to, **keywords)
    assert abs(np.sum(y * dy) - np.sum(x * dx)) <= 1e-12 * np.sum(np.abs(y * dy))


@pytest.mark.parity
@pytest.mark.parametrize(("name", "mode", "corners", "antialias"), [c for c in CASES if c[0] != "no images"])
def test_interpolate_and_its_gradient_are_pytorchs(name, mode, corners, antialias):
    torch = pytest.importorskip("torch")
    shape, to = SIZES[name]
    keywords = arguments(shape, mode, corners, antialias)
    theirs = {**keywords, "align_corners": corners if mode in ("linear", "bicubic") else None}
    x = normal(1, *shape, dtype="float64")
    tensor = torch.tensor(x, requires_grad=True)
    y = torch.nn.functional.interpolate(tensor, **to, **theirs)
    np.testing.assert_allclose(ops.interpolate(x, **to, **keywords), y.detach().numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(reference.interpolate(x, **to, **keywords), y.detach().numpy(), rtol=0, atol=1e-12)
    dy = normal(2, *y.shape, dtype="float64")
    y.backward(torch.tensor(dy))
    dx = ops.interpolate_grad(dy, shape, **to, **keywords)
    np.testing.assert_allclose(dx, tensor.grad.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_adaptive_pools_are_within_rounding_of_the_oracle(name, dtype, isa):
    shape, size = ADAPTIVE[name]
    x = np.round(normal(1, *shape, dtype=dtype), 1)  # ties
    wide = x.astype(np.float64)
    np.testing.assert_array_equal(ops.adaptive_max_pool2d(x, size), reference.adaptive_max_pool2d(x, size))
    magnitude = reference.adaptive_avg_pool2d(np.abs(wide), size)
    y = ops.adaptive_avg_pool2d(x, size)
    places = x[0, 0].size
    assert_within(y, reference.adaptive_avg_pool2d(wide, size), rounding(dtype, places, magnitude))
    dy = normal(2, *y.shape, dtype=dtype)
    wdy, bound = dy.astype(np.float64), 64 * np.abs(dy).max()
    dx = ops.adaptive_avg_pool2d_grad(dy, shape)
    assert_within(dx, reference.adaptive_avg_pool2d_grad(wdy, shape), rounding(dtype, 1, np.full(shape, bound)))
    dx = ops.adaptive_max_pool2d_grad(dy, x)
    assert_within(dx, reference.adaptive_max_pool2d_grad(wdy, wide), rounding(dtype, 1, np.full(shape, bound)))


@pytest.mark.parity
@pytest.mark.parametrize("maximum", [False, True])
@pytest.mark.parametrize("name", ADAPTIVE)
def test_adaptive_pools_and_their_gradients_are_pytorchs(name, maximum):
    torch = pytest.importorskip("torch")
    shape, size = ADAPTIVE[name]
    x = np.round(normal(1, *shape, dtype="float64"), 1)
    tensor = torch.tensor(x, requires_grad=True)
    kind = "max" if maximum else "avg"
    y = getattr(torch.nn.functional, f"adaptive_{kind}_pool2d")(tensor, size)
    ours = getattr(ops, f"adaptive_{kind}_pool2d")(x, size)
    np.testing.assert_allclose(ours, y.detach().numpy(), rtol=0, atol=1e-13)
    dy = normal(2, *y.shape, dtype="float64")
    y.backward(torch.tensor(dy))
    dx = ops.adaptive_max_pool2d_grad(dy, x) if maximum else ops.adaptive_avg_pool2d_grad(dy, shape)
    np.testing.assert_allclose(dx, tensor.grad.numpy(), rtol=0, atol=1e-13)


def test_signals_are_pooled_as_rows():
    x = normal(1, 2, 5, 11)
    np.testing.assert_array_equal(
        ops.adaptive_avg_pool1d(x, 4), ops.adaptive_avg_pool2d(x[:, :, None], (1, 4))[:, :, 0]
    )
    np.testing.assert_array_equal(ops.adaptive_max_pool1d(x, 4), reference.adaptive_max_pool1d(x, 4))
    np.testing.assert_allclose(ops.adaptive_avg_pool1d(x, 4), reference.adaptive_avg_pool1d(x, 4), rtol=1e-5, atol=1e-6)


def test_none_keeps_a_size():
    x = normal(1, 1, 2, 7, 6)
    assert ops.adaptive_avg_pool2d(x, (None, 2)).shape == (1, 2, 7, 2)


def test_infinity_stays_where_it_is_read():
    x = np.zeros((1, 1, 1, 4))
    x[..., 3] = np.inf
    np.testing.assert_array_equal(ops.interpolate(x, (1, 8))[0, 0, 0], [0, 0, 0, 0, 0, 0, np.inf, np.inf])
    np.testing.assert_array_equal(ops.adaptive_avg_pool2d(x, (1, 3))[0, 0, 0], [0, 0, np.inf])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "one of `size` and `scale_factor` must be given"),
        ({"size": 4, "scale_factor": 2}, ValueError, "and not both"),
        ({"size": (4, 4, 4)}, ValueError, r"`size` \(=\(4, 4, 4\)\) must be a positive number, or 2 of them"),
        ({"size": 0}, ValueError, r"`size` \(=0\) must be an int of at least 1"),
        ({"size": 2.5}, TypeError, r"`size` \(=2.5\) must be an int of at least 1; give `scale_factor` for a ratio"),
        ({"scale_factor": 0.1}, ValueError, r"`scale_factor` \(=0.1\) leaves nothing of \(5, 4\)"),
        ({"size": 4, "mode": "linear"}, ValueError, "is for signals .*; use 'bilinear'"),
        ({"size": 4, "mode": "smooth"}, ValueError, r"`mode` \(='smooth'\) must be one of 'nearest'"),
        ({"size": 4, "align_corners": True}, ValueError, r"`align_corners` \(=True\) is for 'linear', 'bilinear'"),
        ({"size": 4, "antialias": True}, ValueError, r"`antialias` \(=True\) is for 'bilinear' and 'bicubic', not for"),
        ({"size": 4, "mode": "trilinear"}, UnsupportedError, r"`mode` \(='trilinear'\) is not supported"),
    ],
)
def test_errors_name_the_parameter(arguments, error, message):
    with pytest.raises(error, match=message):
        ops.interpolate(normal(1, 1, 2, 5, 4), **arguments)


def test_an_adaptive_pool_has_at_least_one_window():
    with pytest.raises(ValueError, match=r"`output_size` \(=0\) must be an int of at least 1"):
        ops.adaptive_avg_pool2d(normal(1, 1, 2, 5, 4), 0)
    with pytest.raises(ValueError, match="`grad_output` has 3 channels and the images 2"):
        ops.adaptive_avg_pool2d_grad(normal(1, 1, 3, 2, 2), (2, 5, 4))
