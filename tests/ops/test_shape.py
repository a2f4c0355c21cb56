from __future__ import annotations

import itertools

import numpy as np
import pytest
from bounds import assert_within, normal, rounding

from convlens import ops, reference

SHAPES = [(7,), (3, 20), (2, 18, 3, 4), (2, 3, 4, 2, 5), (2, 3, 1, 2, 3, 2)]


def every_axis(shapes):
    return [(shape, axis) for shape in shapes for axis in range(len(shape))]


@pytest.mark.parametrize(("shape", "axis"), every_axis(SHAPES), ids=str)
def test_concat_split_and_narrow(shape, axis, dtype, isa):
    sizes = [5, shape[axis], 1]
    parts = [normal(i, *shape[:axis], size, *shape[axis + 1 :], dtype=dtype) for i, size in enumerate(sizes)]
    whole = ops.concat(parts, axis - len(shape))
    np.testing.assert_array_equal(whole, np.concatenate(parts, axis))
    np.testing.assert_array_equal(whole, reference.concat(parts, axis))
    for part, back, expected in zip(
        parts, ops.concat_grad(whole, sizes, axis), reference.split(whole, sizes, axis), strict=True
    ):
        np.testing.assert_array_equal(back, part)
        np.testing.assert_array_equal(expected, part)
    halves = ops.split(whole, 4, axis)
    assert [half.shape[axis] for half in halves][:-1] == [4] * (len(halves) - 1)
    np.testing.assert_array_equal(np.concatenate(halves, axis), whole)
    y = ops.narrow(whole, axis, 3, 2)
    np.testing.assert_array_equal(y, reference.narrow(whole, axis, 3, 2))
    np.testing.assert_array_equal(
        ops.narrow(whole, axis, -2, 1), reference.narrow(whole, axis, whole.shape[axis] - 2, 1)
    )
    g = ops.narrow_grad(y, whole.shape, axis, 3)
    np.testing.assert_array_equal(g, reference.narrow_grad(y, whole.shape, axis, 3))


@pytest.mark.parametrize("shape", [(1,), (7,), (3, 20), (2, 3, 40), (2, 1, 3, 2, 5)], ids=str)
@pytest.mark.parametrize("table", [(1, 1), (5, 3), (9, 64), (3, 1000)], ids=str)
def test_embedding(shape, table, dtype, isa):
    weight = normal(1, *table, dtype=dtype)
    x = np.random.default_rng(0).integers(-table[0], table[0], shape)
    y = ops.embedding(x, weight)
    np.testing.assert_array_equal(y, weight[x])
    np.testing.assert_array_equal(y, reference.embedding(x, weight))
    assert ops.embedding(x[:0], weight).shape == (0, *shape[1:], table[1])


def test_embedding_refuses_rows_that_are_not_there():
    for x, text in (([[5]], "reaches from 5 to 5; `weight` has the rows 0 to 3"), ([[-5]], "reaches from -5")):
        with pytest.raises(ValueError, match=text):
            ops.embedding(np.array(x), np.ones((4, 2)))


@pytest.mark.parity
def test_embedding_is_pytorchs():
    functional = pytest.importorskip("torch.nn.functional")
    torch = pytest.importorskip("torch")
    x, weight = np.array([[3, 0, 1], [2, 2, 3]]), normal(1, 4, 5, dtype=np.float64)
    want = functional.embedding(torch.from_numpy(x), torch.from_numpy(weight)).numpy()
    np.testing.assert_array_equal(ops.embedding(x, weight), want)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_permute_and_transpose(shape, dtype, isa):
    x = normal(1, *shape, dtype=dtype)
    orders = list(itertools.permutations(range(len(shape))))
    for dims in orders[:: max(1, len(orders) // 12)]:
        y = ops.permute(x, dims)
        np.testing.assert_array_equal(y, reference.permute(x, dims))
        assert y.flags.c_contiguous
        np.testing.assert_array_equal(ops.permute(y, np.argsort(dims)), x)
    np.testing.assert_array_equal(ops.transpose(x, 0, -1), reference.transpose(x, 0, -1))


@pytest.mark.parametrize(
    ("shape", "target"),
    [((2, 18, 1, 1), (2, 18, 3, 4)), ((1, 3), (5, 3)), ((3, 1), (2, -1, 4)), ((), (2, 3)), ((2, 3), (2, 3))],
    ids=str,
)
def test_expand_and_its_gradient(shape, target, dtype, isa):
    x = normal(1, *shape, dtype=dtype).reshape(shape)
    y = ops.expand(x, target)
    np.testing.assert_array_equal(y, reference.expand(x, target))
    g = normal(2, *y.shape, dtype=dtype)
    wide = g.astype(np.float64)
    magnitude = reference.expand_grad(np.abs(wide), shape)
    assert_within(ops.expand_grad(g, shape), reference.expand_grad(wide, shape), rounding(dtype, g.size, magnitude))


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["sum", "mean", "amax", "amin"])
def test_reductions_and_their_gradients(name, shape, keepdims, dtype, isa):
    x = np.round(normal(1, *shape, dtype=dtype), 1)  # ties
    wide = x.astype(np.float64)
    axes = [None, *range(-1, len(shape)), (0, -1) if len(shape) > 1 else 0, tuple(range(1, len(shape)))]
    for axis in axes:
        y = getattr(ops, name)(x, axis, keepdims)
        expected = getattr(reference, name)(wide, axis, keepdims)
        magnitude = getattr(reference, name)(np.abs(wide), axis, keepdims) + np.abs(expected)
        assert_within(y, expected, rounding(dtype, x.size, np.abs(magnitude)))
        g = normal(2, *y.shape, dtype=dtype).reshape(y.shape)
        source = x if name.startswith("a") else shape
        dx = getattr(ops, f"{name}_grad")(g, source, axis, keepdims)
        source = wide if name.startswith("a") else shape
        expected = getattr(reference, f"{name}_grad")(g.astype(np.float64), source, axis, keepdims)
        assert_within(dx, expected, rounding(dtype, 4, np.abs(expected)))


# A linear function, its gradient, and the shapes of its operand.
LINEAR = {
    "concat": (lambda x: ops.concat([x, x[:, :3], x], 1), lambda g: _joined(ops.concat_grad(g, (20, 3, 20)))),
    "narrow": (lambda x: ops.narrow(x, 1, 5, 9), lambda g: ops.narrow_grad(g, (2, 20, 3, 4), 1, 5)),
    "narrow-rows": (lambda x: ops.narrow(x, 2, 1, 2), lambda g: ops.narrow_grad(g, (2, 20, 3, 4), 2, 1)),
    "permute": (lambda x: ops.permute(x, (0, 2, 3, 1)), lambda g: ops.permute(g, (0, 3, 1, 2))),
    "expand": (lambda x: ops.expand(x, (5, 2, 20, 3, 4)), lambda g: ops.expand_grad(g, (2, 20, 3, 4))),
    "sum": (lambda x: ops.sum(x, (1, 3)), lambda g: ops.sum_grad(g, (2, 20, 3, 4), (1, 3))),
    "mean": (lambda x: ops.mean(x, 2), lambda g: ops.mean_grad(g, (2, 20, 3, 4), 2)),
}


def _joined(parts):
    first, second, third = parts
    total = first + third
    total[:, :3] += second
    return total


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_function_and_its_gradient_are_adjoint(name):
    forward, back = LINEAR[name]
    x = normal(1, 2, 20, 3, 4, dtype="float64")
    y = forward(x)
    g = normal(2, *y.shape, dtype="float64")
    assert abs(np.sum(y * g) - np.sum(x * back(g))) < 1e-11


def test_equal_extrema_share_the_gradient():
    x = np.array([[3.0, 1.0, 3.0, 1.0]])
    np.testing.assert_array_equal(ops.amax_grad(np.array([1.0]), x, 1), [[0.5, 0, 0.5, 0]])
    np.testing.assert_array_equal(ops.amin_grad(np.array([1.0]), x, 1), [[0, 0.5, 0, 0.5]])


def test_nan_wins_a_reduction():
    x = np.array([[1.0, np.nan, 2.0]])
    assert np.isnan(ops.amax(x, 1)[0])
    assert np.isnan(ops.amin(x, 1)[0])


def test_no_images_and_empty_axes():
    x = np.zeros((0, 3, 4), np.float32)
    assert ops.concat([x, x]).shape == (0, 6, 4)
    assert ops.permute(x, (0, 2, 1)).shape == (0, 4, 3)
    assert ops.sum(x, 1).shape == (0, 4)
    assert [part.shape for part in ops.split(x, 2, 1)] == [(0, 2, 4), (0, 1, 4)]
    np.testing.assert_array_equal(ops.sum(x, 0), np.zeros((3, 4)))
    np.testing.assert_array_equal(ops.concat([np.ones((2, 0)), np.ones((2, 3))]), np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"`x` has shape \(0, 3, 4\); there is no extremum of nothing"):
        ops.amax(x, 0)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: ops.concat(x), TypeError, r"`arrays` must be a list or tuple"),
        (lambda x: ops.concat([]), TypeError, r"`arrays` must be a list or tuple of at least one array"),
        (lambda x: ops.concat([x, x[:, :, :2]]), ValueError, r"`arrays\[1\]` has shape \(2, 3, 2\), `arrays\[0\]`"),
        (lambda x: ops.concat([x, x.astype(np.float32)]), TypeError, r"is float32 and `arrays\[0\]` float64"),
        (lambda x: ops.concat([x], 3), ValueError, r"`axis` \(=3\) must be an axis of an array of 3 axes"),
        (lambda x: ops.split(x, (1, 1)), ValueError, r"`sizes` \(=\(1, 1\)\) must add up to the 3 of axis 1"),
        (lambda x: ops.split(x, 0), ValueError, r"`sizes` \(=0\) must be at least 1"),
        (lambda x: ops.narrow(x, 2, 3, 2), ValueError, r"`start` \(=3\) and `length` \(=2\) must lie within the 4"),
        (lambda x: ops.narrow_grad(x, (2, 3, 5), 2, 2), ValueError, r"from `start` \(=2\) on does not lie in"),
        (lambda x: ops.permute(x, (0, 1)), ValueError, r"`dims` \(=\(0, 1\)\) must hold each of the 3 axes"),
        (lambda x: ops.expand(x, (2, 3, 5)), ValueError, r"`shape` \(=\(2, 3, 5\)\) must be what `x`"),
        (lambda x: ops.sum(x, (1, -2)), ValueError, r"`axis` \(=\(1, -2\)\) names an axis twice"),
        (lambda x: ops.sum(x.astype(int)), TypeError, r"`x` is int64; kernels compute in float32 or float64"),
        (lambda x: ops.sum(np.zeros((1,) * 7)), ValueError, r"`x` has 7 axes; supported: up to 6"),
        (lambda x: ops.sum_grad(x, (2, 3, 4), 1), ValueError, r"a reduction of \(2, 3, 4\) over \(1,\) gives \(2, 4\)"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(call, error, text):
    with pytest.raises(error, match=text):
        call(np.zeros((2, 3, 4)))


def test_results_have_the_same_bits_for_threads_and_batches():
    x = normal(1, 7, 33, 9, 8)

    def results():
        return [ops.sum(x, (1, 3)), ops.mean(x, 2), ops.permute(x, (0, 3, 1, 2)), ops.concat([x, x]), ops.sum(x, 0)]

    before = ops.get_num_threads()
    try:
        ops.set_num_threads(1)
        first = results()
        for threads in (2, 3):
            ops.set_num_threads(threads)
            for y, again in zip(first, results(), strict=True):
                np.testing.assert_array_equal(y, again)
    finally:
        ops.set_num_threads(before)
    np.testing.assert_array_equal(np.concatenate([ops.sum(x[:3], (1, 3)), ops.sum(x[3:], (1, 3))]), first[0])
    np.testing.assert_array_equal(np.concatenate([ops.mean(x[:3], 2), ops.mean(x[3:], 2)]), first[1])


@pytest.mark.parity
def test_parity_with_pytorch():
    torch = pytest.importorskip("torch")
    x = np.round(normal(1, 3, 18, 5, 4, dtype="float64"), 1)
    t = torch.tensor(x, requires_grad=True)
    cases = [
        (torch.cat([t, t[:, :5]], 1), ops.concat([x, x[:, :5]]), None),
        (t.narrow(1, 3, 9), ops.narrow(x, 1, 3, 9), lambda g: ops.narrow_grad(g, x.shape, 1, 3)),
        (t.permute(0, 2, 3, 1), ops.permute(x, (0, 2, 3, 1)), lambda g: ops.permute(g, (0, 3, 1, 2))),
        (t.transpose(1, 3), ops.transpose(x, 1, 3), lambda g: ops.transpose(g, 1, 3)),
        (t[:, :, :1].expand(3, 18, 7, 4), ops.expand(x[:, :, :1], (3, 18, 7, 4)), None),
        (t.sum((1, 2)), ops.sum(x, (1, 2)), lambda g: ops.sum_grad(g, x.shape, (1, 2))),
        (t.mean(3, keepdim=True), ops.mean(x, 3, keepdims=True), lambda g: ops.mean_grad(g, x.shape, 3, True)),
        (t.amax((2, 3)), ops.amax(x, (2, 3)), lambda g: ops.amax_grad(g, x, (2, 3))),
        (t.amin(1), ops.amin(x, 1), lambda g: ops.amin_grad(g, x, 1)),
    ]
    for theirs, ours, back in cases:
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12, atol=1e-12)
        if back is not None:
            g = normal(2, *ours.shape, dtype="float64")
            (expected,) = torch.autograd.grad(theirs, t, torch.tensor(g))
            np.testing.assert_allclose(back(g), expected.numpy(), rtol=1e-10, atol=1e-12)
