"""NumPy's best against the oracle: a baseline that computes something else would win easily."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import nn, reference
from convlens.cli.bench import case_of, eager, numpy_best
from convlens.cli.bench._numpy import network

CASES = [
    "n2 c3 h9 w8 k4 r3 s3 st1 p1 d1 g1 f64 fwd",
    "n2 c6 h9 w8 k4 r3 s2 st2x1 p1,0,2,1 d2 g2 f64 fwd",
    "n2 c4 h7 w6 k4 r1 s1 st2 p0 d1 g1 f64 fwd",
    "n1 c4 h7 w6 k4 r3 s3 st1 p1 d1 g4 f64 fwd",
    "n2 c6 h9 w8 k4 r3 s3 st2 p1,0,2,1 d1 g2 f64 grad_input",
    "n2 c4 h7 w6 k4 r1 s1 st2 p0 d1 g1 f64 grad_input",
    "n2 c6 h9 w8 k4 r3 s3 st2 p1,0,2,1 d2 g2 f64 grad_weight",
    "n2 c3 h9 w8 r3 s2 st2x1 p1,0,1,1 max f64 fwd",
    "n2 c3 h9 w8 r3 s2 st2x1 p1,0,1,1 avg f64 fwd",
    "n2 c3 h9 w8 r9 s8 st1 p0 avg f64 fwd",
    "n2 c3 h9 w8 r3 s2 st2x1 p1,0,1,1 max f64 grad_input",
    "n2 c3 h9 w8 r3 s2 st2x1 p1,0,1,1 avg f64 grad_input",
]


@pytest.mark.parametrize("text", CASES)
def test_each_problem_is_the_oracles(text):
    case = case_of(text)
    expected = reference.run(case.graph, case.feeds)["y"]
    np.testing.assert_allclose(eager(numpy_best, case)(), expected, rtol=0, atol=1e-12)


def test_indices_are_those_of_the_oracle():
    x = np.random.default_rng(0).standard_normal((2, 3, 9, 8))
    _, expected = reference.max_pool2d(x, (3, 2), stride=(2, 1), padding=((1, 1), (0, 1)), return_indices=True)
    found = numpy_best.max_pool2d_indices(x, (3, 2), stride=(2, 1), padding=((1, 1), (0, 1)))
    np.testing.assert_array_equal(found, expected)


def test_an_average_that_leaves_out_padding_is_the_oracles():
    x = np.random.default_rng(0).standard_normal((2, 3, 9, 8))
    window = {"stride": (2, 2), "padding": ((1, 1), (1, 1)), "count_include_pad": False}
    expected = reference.avg_pool2d(x, (3, 3), **window)
    np.testing.assert_allclose(numpy_best.avg_pool2d(x, (3, 3), **window), expected, rtol=0, atol=1e-12)


def test_dense_and_normalising_functions_are_the_oracles():
    rng = np.random.default_rng(0)
    x, vectors = rng.standard_normal((2, 3, 4, 5)), [rng.random(3) + 0.5 for _ in range(4)]
    np.testing.assert_allclose(numpy_best.batch_norm(x, *vectors), reference.batch_norm(x, *vectors), atol=1e-12)
    rows, weight, bias = rng.standard_normal((4, 6)), rng.standard_normal((3, 6)), rng.standard_normal(3)
    expected = reference.linear(rows, weight, bias)
    np.testing.assert_allclose(numpy_best.linear(rows, weight, bias), expected, atol=1e-12)
    np.testing.assert_allclose(numpy_best.softmax(rows), reference.softmax(rows), atol=1e-12)


def test_a_network_folds_its_batch_normalisation_and_stays_the_same():
    x = nn.Input((4, 8, 8))
    y = nn.BatchNorm2d(name="norm")(nn.Conv2d(out_channels=4, kernel_size=3, padding=1, name="conv")(x))
    y = nn.Add()(nn.ReLU()(y), x)
    net = nn.Network(inputs=x, outputs=nn.BatchNorm2d(name="last")(y)).astype("float64")
    rng = np.random.default_rng(0)
    net.set_parameters({name: rng.random(value.shape) + 0.5 for name, value in net.parameters.items()})
    images = rng.standard_normal((2, 4, 8, 8))
    expected = reference.run(net.graph, {net.input_name: images})[net.output_name]
    np.testing.assert_allclose(network(net.graph, images)(), expected, rtol=0, atol=1e-10)
