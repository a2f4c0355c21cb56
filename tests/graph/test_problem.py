"""The problem string, written and read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convlens.graph import ConvProblem, GraphBuilder, PoolProblem, parse_problem, problem_of, problem_string

small = st.integers(0, 12)
positive = st.integers(1, 300)
problems = st.builds(
    ConvProblem,
    **dict.fromkeys(("n", "c", "h", "w", "k", "r", "s", "groups"), positive),
    stride=st.tuples(positive, positive),
    dilation=st.tuples(positive, positive),
    pads=st.tuples(small, small, small, small),
    dtype=st.sampled_from(["float32", "float64"]),
    direction=st.sampled_from(["fwd", "grad_input", "grad_weight"]),
)

pools = st.builds(
    PoolProblem,
    **dict.fromkeys(("n", "c", "h", "w", "r", "s"), positive),
    stride=st.tuples(positive, positive),
    pads=st.tuples(small, small, small, small),
    kind=st.sampled_from(["max", "avg"]),
    dtype=st.sampled_from(["float32", "float64"]),
    direction=st.sampled_from(["fwd", "grad_input"]),
)


@given(problems | pools)
def test_reading_back_what_was_written_gives_the_same_problem(problem):
    assert parse_problem(problem_string(problem)) == problem


def test_the_common_case_is_one_number_a_field():
    problem = ConvProblem(n=1, c=64, h=56, w=56, k=64, r=3, s=3, pads=(1, 1, 1, 1))
    assert str(problem) == "n1 c64 h56 w56 k64 r3 s3 st1 p1 d1 g1 f32 fwd"
    assert problem.output_shape == (1, 64, 56, 56)
    assert problem.flops == 2 * 64 * 64 * 9 * 56 * 56


def test_a_pool_is_spelt_in_the_same_style():
    problem = PoolProblem(n=8, c=64, h=56, w=57, r=3, s=2, stride=(2, 1), pads=(1, 0, 1, 0), kind="avg")
    assert str(problem) == "n8 c64 h56 w57 r3 s2 st2x1 p1,0 avg f32 fwd"
    assert problem.output_shape == (8, 64, 28, 56)
    assert problem.nbytes == 8 * 64 * (56 * 57 + 28 * 56) * 4


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("n8 c64 h56 w56 r2 s2 st2 p0 d1 max f32 fwd", "must have 11 fields, as in 'n8 c64 .* max f32 fwd'"),
        ("n8 c64 h56 w56 k2 s2 st2 p0 max f32 fwd", "'k2' should be 'r' and a number"),
        ("n8 c64 h56 w56 r2 s2 st2,2,2 p0 avg f32 fwd", "'st' has 3 numbers"),
        ("n8 c64 h56 w56 r2 s2 st2 p0 max f32 grad_weight", "must end with one of max, avg and one of f32, f64 and"),
        ("n1 c64", "must have 13 fields"),
        ("n1 c64 h56 w56 k64 r3 s3 p1 st1 d1 g1 f32 fwd", "'p1' should be 'st' and a number"),
        ("n1 c64 h56 w56 k64 r3 s3 st1 px d1 g1 f32 fwd", "'px' should be 'p' and a number"),
        ("n1 c64 h56 w56 k64 r3 s3 st1 p1,2,3 d1 g1 f32 fwd", "'p' has 3 numbers"),
        ("n1 c64 h56 w56 k64 r3 s3 st1 p1 d1 g1 f16 fwd", "must end with one of f32, f64"),
    ],
)
def test_a_malformed_problem_names_the_field(text, error):
    with pytest.raises(ValueError, match=error):
        parse_problem(text)


def test_a_node_and_its_gradients_are_one_problem_in_three_directions():
    b = GraphBuilder()
    x = b.input("x", "float32", ("N", 4, 9, 7))
    w = b.input("w", "float32", (6, 2, 3, 1))
    dy = b.input("dy", "float32", ("N", 6, 5, 9))
    attributes = {"strides": (2, 1), "pads": (1, 1, 1, 1), "group": 2}
    b.add("Conv", [x, w], attributes)
    b.add("ConvGradInput", [dy, w], {**attributes, "input_shape": (4, 9, 7)})
    b.add("ConvGradWeight", [dy, x], {**attributes, "weight_shape": (6, 2, 3, 1)})
    graph = b.build([x])
    texts = [str(problem_of(node, graph.types, n=3)) for node in graph.nodes]
    stem = "n3 c4 h9 w7 k6 r3 s1 st2x1 p1 d1 g2 f32"
    assert texts == [f"{stem} fwd", f"{stem} grad_input", f"{stem} grad_weight"]
