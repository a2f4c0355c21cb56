"""Cases: what a text means, the same in every process."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import reference
from convlens.cli.bench import NETWORKS, case_of, convolutions, pools
from convlens.graph import parse_problem


def test_equal_texts_give_equal_bits():
    first, second = (case_of("n2 c3 h9 w8 r3 s2 st2 p1 max f32 grad_input") for _ in range(2))
    for name, array in first.arrays.items():
        assert array.tobytes() == second.arrays[name].tobytes()


def test_the_batch_replaces_a_problems_own():
    case = case_of("n1 c3 h9 w8 k4 r3 s3 st1 p1 d1 g1 f32 fwd", 5)
    assert case.title == "n5 c3 h9 w8 k4 r3 s3 st1 p1 d1 g1 f32 fwd"
    assert case.feeds["x"].shape == (5, 3, 9, 8)
    assert case.work == 5 * 2 * 9 * 8 * 4 * 27


def test_the_winners_of_a_max_pool_are_the_oracles():
    case = case_of("n2 c3 h9 w8 r3 s2 st2x1 p1,0 max f32 grad_input")
    window = {"stride": (2, 1), "padding": (1, 0)}
    np.testing.assert_array_equal(
        case.arrays["offset"], reference.max_pool2d_offset(case.arrays["x"], (3, 2), **window)
    )


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("n1 c4 h8 w8 k4 r3 s3 st1 p1 d1 g4 f32 fwd", "depthwise fwd"),
        ("n1 c1 h8 w8 k4 r3 s3 st1 p1 d1 g1 f32 fwd", "conv fwd"),
        ("n1 c4 h8 w8 r2 s2 st2 p0 avg f32 grad_input", "avg pool grad_input"),
        ("digits", "network"),
    ],
)
def test_cases_fall_into_groups(text, group):
    assert case_of(text).group == group


def test_every_named_network_is_made_and_counted():
    for name in NETWORKS:
        case = case_of(name, 2)
        assert case.title == f"n2 {name}"
        assert case.work > 0


def test_the_list_of_shapes_has_no_shape_twice_and_every_window_fits():
    texts = [*convolutions("fwd"), *pools("fwd")]
    assert len(set(texts)) == len(texts) == 84
    for text in texts:
        problem = parse_problem(text)
        assert str(problem) == text
        assert min(problem.output_shape) > 0


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("resnet", r"PROBLEM \(='resnet'\) must be a problem string such as .* networks digits"),
        ("n1 c6 h8 w8 k4 r3 s3 st1 p1 d1 g4 f32 fwd", r"`c` \(=6\) and `k` \(=4\) must be divisible by `g` \(=4\)"),
        ("n1 c6 h2 w8 k4 r3 s3 st1 p0 d1 g1 f32 fwd", "larger than the padded input"),
        ("n1 c6 h8 w8 r2 s2 st2 p3 max f32 fwd", "lies in the padding alone"),
        ("n1 c6 h8 w8 r2 s2 st2 max f32 fwd", "must have 11 fields"),
    ],
)
def test_a_case_that_cannot_be_says_why(text, error):
    with pytest.raises(ValueError, match=error):
        case_of(text)
