"""Dropout: the oracle's bits on every instruction set, in both precisions, for any threads."""

from __future__ import annotations

import numpy as np
import pytest
from bounds import normal

from convlens import ops, reference
from convlens.reference._norm import philox


@pytest.mark.parametrize("shape", [(3,), (2, 7), (3, 100), (2, 18, 3, 4), (1, 3, 50, 40), (0, 3)], ids=str)
def test_what_is_dropped_is_the_oracles(shape, dtype, isa):
    x = normal(1, *shape, dtype=dtype)
    for p, seed, step in ((0.5, 0, 0), (0.1, 2**63 + 5, 7), (0.9, -3, 2**32 + 7)):
        expected = reference.dropout(x, p, seed=seed, step=step)
        np.testing.assert_array_equal(ops.dropout(x, p, seed=seed, step=step), expected)
        np.testing.assert_array_equal(ops.dropout_grad(x, p, seed=seed, step=step), expected)


def test_the_generator_has_its_authors_known_answers():
    """Random123's kat_vectors for philox4x32-10."""
    counter = np.zeros((4, 1), np.uint64)
    assert philox(counter, 0, 0)[:, 0].tolist() == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    counter = np.array([[0x243F6A88], [0x85A308D3], [0x13198A2E], [0x03707344]], np.uint64)
    answer = [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]
    assert philox(counter, 0xA4093822, 0x299F31D0)[:, 0].tolist() == answer


def test_threads_change_no_bit(isa):
    x, before = normal(1, 5, 33, 40, 41), ops.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            ops.set_num_threads(threads)
            results.append(ops.dropout(x, 0.3, seed=1))
    finally:
        ops.set_num_threads(before)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_the_share_and_the_mean_are_as_asked():
    x = np.ones((4, 100_000), np.float32)
    for p in (0.1, 0.5, 0.8):
        y = ops.dropout(x, p, seed=3)
        deviation = np.sqrt(p * (1 - p) / x.size)
        assert abs(np.mean(y == 0) - p) < 5 * deviation
        assert abs(y.mean() - 1) < 5 * deviation / (1 - p)


def test_seed_step_and_image_each_draw_anew():
    x = np.ones((2, 1000), np.float32)
    first = ops.dropout(x, seed=0)
    for other in (ops.dropout(x, seed=1), ops.dropout(x, seed=0, step=1), first[::-1]):
        assert 0.4 < np.mean((first == 0) == (other == 0)) < 0.6
    np.testing.assert_array_equal(ops.dropout(x[:1], seed=0), first[:1])


def test_the_ends_of_the_share():
    x = normal(1, 3, 20)
    np.testing.assert_array_equal(ops.dropout(x, 0.0, seed=0), x)
    np.testing.assert_array_equal(ops.dropout(x, 1.0, seed=0), np.zeros_like(x))
    with pytest.raises(ValueError, match=r"`p` \(=1.5\) must be a number between 0 and 1"):
        ops.dropout(x, 1.5, seed=0)
