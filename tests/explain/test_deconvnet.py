from __future__ import annotations

from convlens import explain
from explain.hand import IMAGE, net


def test_positive_signals_pass_inactive_units():
    # Every weight of class 0 on channel 0 passes, whether the unit was active or not.
    assert explain.deconvnet(net(), IMAGE, 0).values[0, 0].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_negative_signals_stop():
    assert explain.deconvnet(net(), IMAGE, 1).values[0, 0].tolist() == [[2, 0, 0], [0, 0, 0]]
