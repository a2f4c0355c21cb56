"""Window arithmetic against counting windows one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from convlens.graph import Window, pair, resolve_padding


@st.composite
def axes(draw):
    """One axis: size, kernel, stride, pad before, pad after, dilation."""
    size, kernel, stride = draw(st.integers(1, 12)), draw(st.integers(1, 5)), draw(st.integers(1, 6))
    before, after, dilation = draw(st.integers(0, 4)), draw(st.integers(0, 4)), draw(st.integers(1, 3))
    assume(size + before + after >= dilation * (kernel - 1) + 1)
    return size, kernel, stride, before, after, dilation


@given(axes())
def test_output_counts_the_windows_that_fit(axis):
    size, kernel, stride, before, after, dilation = axis
    window = Window((1, kernel), (1, stride), (0, before, 0, after), (1, dilation))
    last = [i for i in range(50) if i * stride + dilation * (kernel - 1) < size + before + after]
    assert window.output_size((1, size)) == (1, len(last))


@given(axes())
def test_ceil_mode_adds_a_partial_window_that_starts_inside(axis):
    size, kernel, stride, before, after, dilation = axis
    window = Window((kernel, 1), (stride, 1), (before, 0, after, 0), (dilation, 1), ceil_mode=True)
    starts = [0]
    # one more window as long as the one before it did not reach the padded end
    while starts[-1] + dilation * (kernel - 1) + 1 < size + before + after:
        starts.append(starts[-1] + stride)
    kept = [start for start in starts if start < size + before]
    # a window that does not start in the input or its leading padding is dropped, if it is the extra one
    expected = len(starts) if len(starts) - len(kept) == 0 else len(starts) - 1
    assert window.output_size((size, 1))[0] == expected


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        (2, (2, 2, 2, 2)),
        ((1, 2), (1, 2, 1, 2)),
        (((0, 1), (2, 3)), (0, 2, 1, 3)),
        (np.array([1, 2]), (1, 2, 1, 2)),
        ("valid", (0, 0, 0, 0)),
        ("same", (0, 1, 1, 1)),  # kernel (2, 3): the odd row goes to the bottom
    ],
)
def test_padding_in_every_form(padding, expected):
    assert resolve_padding(padding, (7, 7), (2, 3)) == expected


@given(axes())
def test_same_padding_gives_size_over_stride_rounded_up(axis):
    size, kernel, stride, _, _, dilation = axis
    pads = resolve_padding("same", (size, 5), (kernel, 1), (stride, 1), (dilation, 1))
    rows, columns = Window((kernel, 1), (stride, 1), pads, (dilation, 1)).output_size((size, 5))
    assert (rows, columns) == (-(-size // stride), 5)


@pytest.mark.parametrize("padding", ["full", (1, 2, 3), -1, 1.5, ((0, -1), (0, 0)), ((0, 1, 2), (0, 1, 2))])
def test_malformed_padding_is_an_error_that_shows_it(padding):
    with pytest.raises(ValueError, match="`padding`"):
        resolve_padding(padding, (7, 7), (3, 3))


@pytest.mark.parametrize("value", [1.5, (1, 2, 3), (1, 2.5), "12", None])
def test_a_malformed_pair_is_an_error_that_shows_it(value):
    with pytest.raises(ValueError, match=r"`stride` .* must be an int or"):
        pair(value, "stride")
