"""Calls of a method after its first, which go straight to its Program: what they give, and when they must not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from convlens import explain, nn, ops
from convlens.explain import _again
from explain.networks import CLASSES, SHAPE, channels_last, images, residual, small

PURE = [name for name, row in explain.methods().items() if row.program is not None and name != "activations"]
TARGETS = {"top": None, "int": 1, "ints": np.array([4, 0, 2])}


def same(a, b):
    for name in ("values", "target", "score", "probability", "layer_values"):
        one, other = getattr(a, name), getattr(b, name)
        assert (one is None) == (other is None), name
        assert one is None or (one.tobytes() == other.tobytes() and one.dtype == other.dtype), name
        assert one is None or one.shape == other.shape, name
    assert a.describe() == b.describe()
    assert repr(a) == repr(b)


def fresh(name, net, x, target=None, **more):
    return getattr(explain, name)(net.astype(net.dtype), x, target, **more)


@pytest.fixture
def straight(monkeypatch):
    """Make calls that go through Python fail."""

    def refuse():
        def task(*_, **__):
            raise AssertionError("through Python")

        monkeypatch.setattr(_again, "Task", task)

    return refuse


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", PURE)
def test_later_calls_give_what_a_first_one_gives(name, target, straight):
    for net in (small(), small(dtype="float64"), small(ending=nn.Softmax()), residual(), channels_last()):
        x = images(6).astype(net.dtype)
        x = x if net.layout == "NCHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))
        expected = [fresh(name, net, x[i : i + 3], TARGETS[target]) for i in (0, 3)]
        getattr(explain, name)(net, x[:3], 0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_again, "Task", None)
            for i, why in zip((0, 3), expected, strict=True):
                same(getattr(explain, name)(net, x[i : i + 3], TARGETS[target]), why)


def test_options_of_a_method_are_kept_apart():
    net, x = small(), images(3)
    options = [{}, {"relu": False}, {"upsample": None}, {"layer": "relu1"}, {"output": "linear1"}]
    for _ in range(2):
        for option in options:
            same(explain.grad_cam(net, x, 1, **option), fresh("grad_cam", net, x, 1, **option))


def test_images_that_nothing_speaks_for_are_noted_each_time():
    net, x = small(), images(3)
    weight = np.abs(net.parameters["linear1.weight"])
    net.set_parameters({"linear1.weight": np.where(np.arange(CLASSES)[:, None] == 1, -weight, weight)})
    for target, count in ((1, 3), (0, 0), ([1, 0, 1], 2), (1, 3)):
        why = explain.grad_cam(net, x, np.asarray(target))
        assert why.notes == tuple(
            f"zero everywhere for {count} image(s): nothing at the layer speaks for the target; see relu=False"
            for _ in range(bool(count))
        )


def test_new_parameters_are_explained_at_once():
    net, x = small(), images(2)
    for seed in range(3):
        net.set_parameters(small(seed).parameters)
        for _ in range(2):
            same(explain.saliency(net, x, 1), explain.saliency(small(seed), x, 1))


def test_what_a_call_of_old_parameters_left_is_not_used():
    net, x = small(), images(2)
    explain.saliency(net, x, 1)
    key = ("explain", "saliency", None, None, None)
    old, program = net.kept(key), net.program(key, None)
    net.set_parameters(small(1).parameters)
    assert net.kept(key) is None
    net.keep(key, program, old)
    same(explain.saliency(net, x, 1), explain.saliency(small(1), x, 1))
    assert net.kept(key) is not old


def test_what_is_kept_goes_with_its_program():
    net, x = small(), images(2)
    explain.saliency(net, x, 1)
    net._programs._limit_bytes = 0
    explain.grad_cam(net, x, 1)
    assert net.kept(("explain", "saliency", None, None, None)) is None
    assert len(net._programs) == len(net._programs._kept) == 1
    net.max_bytes = 2**30
    assert not net._programs._kept


@pytest.mark.parametrize(
    ("x", "target", "error", "message"),
    [
        (images(2).astype(np.float64), 1, TypeError, "`images` is float64"),
        (images(2)[0], 1, ValueError, "batch axis is missing"),
        (np.full((2, *SHAPE), np.nan, np.float32), 1, ValueError, "`images` has NaN"),
        (images(2), CLASSES, ValueError, "`target` .=5. is out of range"),
        (images(2), -1, ValueError, "`target` .=-1. is out of range"),
        (images(2), 2**70, TypeError, "`target` .=1180591620717411303424."),
        (images(2), np.array([0, CLASSES]), ValueError, "out of range"),
        (images(2), np.array([0, 1, 2]), ValueError, "for 2 images"),
        (images(2), True, TypeError, "`target` .=True."),
        (images(2), "cat", TypeError, "`target` .='cat'."),
    ],
)
def test_errors_stay_after_right_calls(x, target, error, message):
    net = small()
    for _ in range(2):
        explain.saliency(net, images(2), 1)
    with pytest.raises(error, match=message) as seen:
        explain.saliency(net, x, target)
    with pytest.raises(error) as wanted:
        explain.saliency(small(), x, target)
    assert str(seen.value) == str(wanted.value)


def test_an_answer_that_is_no_number_is_refused_after_right_calls():
    net = small()
    for target in (None, 1):
        explain.saliency(net, images(2), target)
        with pytest.raises(ValueError, match="the network answers"):
            explain.saliency(net, np.full((2, *SHAPE), 3e38, np.float32), target)


def test_other_targets_and_arrays_are_left_to_python():
    net, x = small(), images(2)
    explain.saliency(net, x, 1)
    for target in (np.array([1, 2], np.int32), np.int64(3), [1, 2], (3,), np.eye(CLASSES)[:2], [(1,), (2,)]):
        same(explain.saliency(net, x, target), fresh("saliency", net, x, target))
    turned = np.ascontiguousarray(x.transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2)
    same(explain.saliency(net, turned, 1), explain.saliency(net, x, 1))
    same(explain.saliency(net, x, 1, of="loss"), fresh("saliency", net, x, 1, of="loss"))
    assert explain.saliency(net, x[:0], 1).values.shape == (0, *SHAPE)


def test_another_number_of_threads_is_kept_anew(straight):
    net, x = small(), images(2)
    first = explain.saliency(net, x, 1)
    before = ops.get_num_threads()
    try:
        ops.set_num_threads(before + 1)
        same(explain.saliency(net, x, 1), first)
        straight()
        same(explain.saliency(net, x, 1), first)
    finally:
        ops.set_num_threads(before)


def test_callers_at_once_get_what_one_gets():
    net = small()
    batches = [images(2, seed) for seed in range(12)]
    expected = [explain.grad_cam(net, x) for x in batches]
    with ThreadPoolExecutor(4) as pool:
        for why, alone in zip(pool.map(lambda x: explain.grad_cam(net, x), batches), expected, strict=True):
            same(why, alone)


def test_results_belong_to_the_caller():
    net, x = small(), images(2)
    explain.saliency(net, x, 1)
    first = explain.saliency(net, x, 1)
    values = first.values.copy()
    second = explain.saliency(net, images(2, seed=9), 2)
    assert first.values.tobytes() == values.tobytes()
    assert first.arguments["target"] == 1
    assert second.arguments["target"] == 2
    second.values[:] = 0
    assert explain.saliency(net, x, 1).values.tobytes() == values.tobytes()
