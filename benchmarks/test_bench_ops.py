"""Kernels beside NumPy's best: ``pytest benchmarks/test_bench_ops.py --benchmark-only -o addopts=``.

Each shape is a group of two rows, ``convlens`` and ``numpy``. The tests that are not benchmarks hold the baseline to
the oracle. Set ``OPENBLAS_NUM_THREADS`` and ``CONVLENS_NUM_THREADS`` to the same number.
"""

from __future__ import annotations

import numpy as np
import pytest

import numpy_best
from convlens import ops, reference
from convlens.graph import parse_problem

CONVOLUTIONS = [
    "n1 c3 h224 w224 k32 r3 s3 st2 p1 d1 g1 f32 fwd",
    "n1 c64 h56 w56 k64 r3 s3 st1 p1 d1 g1 f32 fwd",
    "n1 c256 h28 w28 k256 r1 s1 st1 p0 d1 g1 f32 fwd",
    "n1 c144 h56 w56 k144 r3 s3 st1 p1 d1 g144 f32 fwd",
    "n32 c1 h28 w28 k32 r3 s3 st1 p0 d1 g1 f32 fwd",
    "n1 c64 h56 w56 k64 r3 s3 st1 p1 d1 g1 f32 grad_input",
    "n1 c64 h56 w56 k64 r3 s3 st1 p1 d1 g1 f32 grad_weight",
]


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def convolution(text, library):
    """The call a problem string means."""
    p = parse_problem(text)
    keywords = {"stride": p.stride, "padding": p.pads[:2], "dilation": p.dilation, "groups": p.groups}
    x, w = normal(0, p.n, p.c, p.h, p.w), normal(1, p.k, p.c // p.groups, p.r, p.s)
    if p.direction == "fwd":
        return lambda: library.conv2d(x, w, **keywords)
    dy = normal(2, *p.output_shape)
    if p.direction == "grad_input":
        return lambda: library.conv2d_grad_input(dy, w, x.shape, **keywords)
    return lambda: library.conv2d_grad_weight(dy, x, w.shape, **keywords)


def others(library):
    """Pooling and dense calls by name, with the arguments of `library`."""
    images, matrix = normal(0, 8, 64, 56, 56), normal(1, 32, 1024)
    vectors = [normal(2, 64), np.abs(normal(3, 64)) + 0.5, normal(4, 64), normal(5, 64)]
    weight, bias = normal(6, 256, 1024), normal(7, 256)
    pair = (2, 2)
    return {
        "max_pool2d 2x2": lambda: library.max_pool2d(images, pair, stride=pair),
        "max_pool2d 3x3 st2 p1": lambda: library.max_pool2d(images, (3, 3), stride=pair, padding=(1, 1)),
        "avg_pool2d 2x2": lambda: library.avg_pool2d(images, pair, stride=pair),
        "linear 1024->256": lambda: library.linear(matrix, weight, bias),
        "softmax": lambda: library.softmax(matrix),
        "relu": lambda: library.relu(images),
        "batch_norm": lambda: library.batch_norm(images, *vectors),
    }


SMALL = [
    "n2 c3 h9 w8 k4 r3 s3 st1 p1 d1 g1 f32 fwd",
    "n2 c6 h9 w8 k4 r3 s3 st2 p1 d2 g2 f32 fwd",
    "n2 c4 h7 w6 k4 r1 s1 st2 p0 d1 g1 f32 fwd",
    "n2 c6 h9 w8 k4 r3 s3 st2 p1 d1 g2 f32 grad_input",
    "n2 c6 h9 w8 k4 r3 s3 st2 p1 d1 g2 f32 grad_weight",
]


@pytest.mark.parametrize("text", SMALL)
def test_the_convolution_baseline_is_right(text):
    np.testing.assert_allclose(convolution(text, numpy_best)(), convolution(text, reference)(), rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", list(others(numpy_best)))
def test_the_other_baselines_are_right(name, monkeypatch):
    monkeypatch.setitem(globals(), "normal", lambda seed, *shape: _few(seed, shape))
    np.testing.assert_allclose(others(numpy_best)[name](), others(reference)[name](), rtol=0, atol=2e-4)


def _few(seed, shape):
    """The same calls on fewer images and pixels: the oracle is slow."""
    small = tuple({8: 2, 56: 6, 32: 3}.get(size, size) for size in shape)
    return np.random.default_rng(seed).standard_normal(small).astype(np.float32)


@pytest.mark.parametrize("library", [ops, numpy_best], ids=["convlens", "numpy"])
@pytest.mark.parametrize("text", CONVOLUTIONS)
def test_bench_convolution(benchmark, text, library):
    benchmark.group = text
    benchmark(convolution(text, library))


@pytest.mark.parametrize("library", [ops, numpy_best], ids=["convlens", "numpy"])
@pytest.mark.parametrize("name", list(others(numpy_best)))
def test_bench_other(benchmark, name, library):
    benchmark.group = name
    benchmark(others(library)[name])
