from __future__ import annotations

import multiprocessing
import threading

import numpy as np
import pytest
from check import random_inputs, run_program
from test_networks import build

from convlens import UnsupportedError, _core, ops
from convlens.graph import GraphBuilder
from convlens.program import Entry, Program, Weights, compile


@pytest.fixture(scope="module")
def made():
    """A Program with two entries, its weights and inputs."""
    graph, entries = build("mobile")
    return compile(graph, entries), entries, Weights(graph.constants), random_inputs(graph, 2, "float32")


# -- memory ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 5])
def test_the_arena_has_the_bytes_that_were_foretold(made, n):
    program = made[0]
    workspace = compile(*build("mobile")).workspace(n)
    assert workspace.nbytes == program.arena_bytes(n)
    fixed, image = program.arena_bytes(0, 1), program.arena_bytes(1, 1) - program.arena_bytes(0, 1)
    thread = program.arena_bytes(0, 2) - fixed
    assert program.arena_bytes(7, 3) == fixed + 7 * image + 2 * thread


def test_a_workspace_given_back_is_taken_again(made):
    program = compile(*build("mobile"))
    first = program.workspace(4)
    held = program.nbytes
    size = first.nbytes
    first.release()
    assert program.nbytes == held + size
    second = program.workspace(3)
    assert second.nbytes == size
    assert program.nbytes == held
    second.release()
    program.workspace(9).release()  # too small for it: replaced, not kept beside it
    assert program.nbytes == held + program.arena_bytes(9)


def test_a_released_workspace_cannot_run(made):
    program, _, weights, inputs = made
    workspace = program.workspace(2)
    workspace.release()
    workspace.release()
    with pytest.raises(ValueError, match="this workspace was released"):
        workspace.run("forward", {"images": inputs["images"]}, weights)


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x: {}, ValueError, "input 'images' is missing; entry 'forward' takes 'images'"),
        (lambda x: {"images": x, "image": x}, ValueError, "input 'image' is unknown; entry 'forward' takes 'images'"),
        (lambda x: {"images": x[0]}, ValueError, r"has shape \(3, 16, 18\) and no batch axis; pass images\[None\]"),
        (
            lambda x: {"images": x.transpose(0, 2, 3, 1)},
            ValueError,
            r"channels come first: images.transpose\(0, 3, 1, 2\)",
        ),
        (lambda x: {"images": x[:, :2]}, ValueError, r"has shape \(2, 2, 16, 18\); it must be \(N, 3, 16, 18\)"),
        (lambda x: {"images": x.astype(np.uint8)}, TypeError, r"is uint8, the Program takes float32; .*scale integer"),
        (lambda x: {"images": x.astype(np.float64)}, TypeError, r"is float64, the Program takes float32; convert"),
        (lambda x: {"images": x.tolist()}, TypeError, "must be a NumPy array, not list"),
        (lambda x: {"images": x[:1]}, ValueError, r"has 1 images, this run 2; .*take program.workspace\(1\)"),
    ],
)
def test_inputs_that_do_not_fit_say_what_would(made, change, error, message):
    program, _, weights, inputs = made
    with program.workspace(2) as workspace, pytest.raises(error, match=message):
        workspace.run("forward", change(inputs["images"]), weights)


def test_entries_run_in_order(made):
    program, _, weights, inputs = made
    with program.workspace(2) as workspace:
        with pytest.raises(ValueError, match="entry 'backward' reads what 'forward' computes; run that first"):
            workspace.run("backward", {"seed": inputs["seed"]}, weights)
        with pytest.raises(
            ValueError, match=r"`entry` \(='backwards'\) is unknown; this Program has 'forward', 'backward'"
        ):
            workspace.run("backwards", {"seed": inputs["seed"]}, weights)


def test_running_through_entries_gives_the_bits_of_one_after_the_other(made):
    program, entries, weights, inputs = made
    expected = {}
    with program.workspace(2) as workspace:
        for name, entry in entries.items():
            expected |= workspace.run(name, {port: inputs[port] for port in entry.inputs}, weights)
    given = {port: inputs[port] for entry in entries.values() for port in entry.inputs}
    found = program.run_through(tuple(entries), given, 2, weights)
    assert list(found) == list(expected)
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name])
        assert array.dtype == expected[name].dtype


def test_running_through_entries_says_what_does_not_fit(made):
    program, _, weights, inputs = made
    with pytest.raises(ValueError, match="entry 'backward' reads what 'forward' computes; run that first"):
        program.run_through(("backward",), {"seed": inputs["seed"]}, 2, weights)
    with pytest.raises(ValueError, match="input 'seed' is missing; entry 'backward' takes 'seed'"):
        program.run_through(("forward", "backward"), {"images": inputs["images"]}, 2, weights)
    with pytest.raises(ValueError, match="has 2 images, this run 3"):
        program.run_through(("forward",), {"images": inputs["images"]}, 3, weights)
    with pytest.raises(ValueError, match=r"`n` \(=-1\) must be 0 or more images"):
        program.run_through(("forward",), {"images": inputs["images"]}, -1, weights)
    with pytest.raises(ValueError, match="input 'seed' is unknown; entry 'forward' takes 'images'"):
        program.run_through(("forward",), {"images": inputs["images"], "seed": inputs["seed"]}, 2, weights)
    with pytest.raises(
        ValueError, match="input 'sead' is unknown; entries 'forward', 'backward' take 'images', 'seed'"
    ):
        program.run_through(("forward", "backward"), {**inputs, "sead": inputs["seed"]}, 2, weights)


def test_running_through_entries_refuses_states():
    b = GraphBuilder()
    x, total = b.input("x", "float32", ("N", 3)), b.input("total", "float32", (3,))
    grown = b.add("Add", [total, b.constant(np.ones(3, np.float32))])
    program = compile(b.build([x, grown]), {"step": Entry(("x",), (x,))}, updates={"total": grown})
    with pytest.raises(ValueError, match=r"updates the states 'total'.*Workspace\.run\(\.\.\., state=\)"):
        program.run_through(("step",), {"x": np.zeros((1, 3), np.float32)}, 1)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(0,), (1,), (3, 5, 7), (2, 3, 16, 16)])
def test_one_nan_or_infinity_anywhere_is_found(kind, shape):
    bounds = np.finfo(kind)
    x = np.resize(np.array([0, -0.0, bounds.max, bounds.min, bounds.tiny / 2, -1.5], kind), shape)
    assert _core.all_finite(x)
    for place in {0, x.size // 2, x.size - 1} if x.size else ():
        for wrong in (np.nan, -np.nan, np.inf, -np.inf):
            y = x.copy()
            y.flat[place] = wrong
            assert not _core.all_finite(y)


def test_weights_that_lack_a_constant_say_which(made):
    program, _, _, inputs = made
    with pytest.raises(ValueError, match="`weights` lacks 'constant"):
        program.run("forward", {"images": inputs["images"]}, Weights({}))
    with pytest.raises(ValueError, match="`weights` is missing"):
        program.run("forward", {"images": inputs["images"]})


def small_graph():
    b = GraphBuilder()
    x, s = b.input("x", "float32", ("N", 4)), b.input("s", "float32", (4,))
    return b.build([b.add("Add", [x, s], name="y")])


@pytest.mark.parametrize(
    ("entries", "updates", "message"),
    [
        ({}, {}, "`entries` is empty"),
        ({"run": Entry(("z",), ("y",))}, {}, "entry 'run': 'z' is not an input of the graph; its inputs are 'x', 's'"),
        ({"run": Entry(("x", "s"), ("z",))}, {}, "entry 'run': 'z' is not a tensor of the graph"),
        ({"run": Entry(("x",), ("y",))}, {}, r"node 'y' \(Add\) needs 's', .*graph inputs that no entry lists: 's'"),
        ({"a": Entry(("x", "s"), ("y",)), "b": Entry(("x",), ("y",))}, {}, "'x' is already given to entry 'a'"),
        ({"run": Entry(("x", "s"), ("y",))}, {"s": "s"}, "'s' is in `updates`, so it is State"),
        ({"run": Entry(("x",), ("y",))}, {"s": "y"}, r"'s' is float32\(4\), but its new value 'y' is float32\(N, 4\)"),
        ({"run": Entry(("s",), ("y",))}, {"x": "y"}, "'x' must be a graph input that is not batched"),
    ],
)
def test_requests_that_make_no_sense_are_refused(entries, updates, message):
    with pytest.raises(ValueError, match=message):
        compile(small_graph(), entries, updates=updates)


def test_names_given_as_one_string_are_refused():
    with pytest.raises(TypeError, match=r"`inputs` \(='images'\) must be a tuple of names; write \('images',\)"):
        Entry("images", ("logits",))


# -- the compiled file -------------------------------------------------------------------------------------------------


def test_a_file_runs_to_the_same_bits(made, tmp_path):
    program, entries, weights, inputs = made
    expected = run_program(program, entries, inputs, weights, 2)
    program.save(tmp_path / "net.cvl", weights)
    loaded, packed = Program.load(tmp_path / "net.cvl")
    assert loaded.entries == program.entries
    for name, value in run_program(loaded, entries, inputs, packed, 2).items():
        np.testing.assert_array_equal(value, expected[name])
    assert loaded.to_bytes(packed) == program.to_bytes(weights)


def test_a_damaged_file_is_refused(made):
    program, _, weights, _ = made
    data = bytearray(program.to_bytes(weights))
    for at in (0, 20, 300, len(data) // 2, len(data) - 3):
        broken = bytearray(data)
        broken[at] ^= 0x40
        with pytest.raises((ValueError, UnsupportedError)):
            Program.from_bytes(bytes(broken))
    with pytest.raises(ValueError, match=r".+"):
        Program.from_bytes(bytes(data[: len(data) // 2]))


def test_weights_of_a_file_fit_no_other_program(made):
    program, _, weights, inputs = made
    _, packed = Program.from_bytes(program.to_bytes(weights))
    with pytest.raises(ValueError, match="one read from a file runs with the Weights read beside it"):
        program.run("forward", {"images": inputs["images"]}, packed)


# -- many callers ------------------------------------------------------------------------------------------------------


def test_many_threads_share_a_program(made):
    program, entries, weights, inputs = made
    expected = run_program(program, entries, inputs, weights, 2)
    wrong = []

    def work():
        for _ in range(10):
            results = run_program(program, entries, inputs, weights, 2)
            wrong.extend(name for name in results if not np.array_equal(results[name], expected[name]))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_weights_are_packed_once_however_many_ask(made):
    program, _, _, inputs = made
    graph, _ = build("mobile")
    weights = Weights(graph.constants)
    threads = [
        threading.Thread(target=program.run, args=("forward", {"images": inputs["images"]}, weights)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = Weights(graph.constants)
    program.run("forward", {"images": inputs["images"]}, alone)
    assert weights.nbytes == alone.nbytes


def test_weights_do_not_follow_their_arrays():
    graph, entries = build("mobile")
    arrays = {name: value.copy() for name, value in graph.constants.items()}
    program, weights = compile(graph, {"forward": entries["forward"]}), Weights(arrays)
    inputs = {"images": random_inputs(graph, 1, "float32")["images"]}
    expected = compile(graph, {"forward": entries["forward"]}).run("forward", inputs, Weights(graph.constants))
    for value in arrays.values():
        if value.ndim:
            value[...] = 0
    for name, value in program.run("forward", inputs, weights).items():
        np.testing.assert_array_equal(value, expected[name])


def _in_child(queue, x, w):
    queue.put(ops.conv2d(x, w))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_computes_on():
    x, w = np.ones((2, 20, 16, 16), np.float32), np.ones((20, 20, 3, 3), np.float32)
    expected = ops.conv2d(x, w)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue, x, w))
    child.start()
    result = queue.get(timeout=60)
    child.join(timeout=60)
    assert child.exitcode == 0
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_large_planes_begin_at_the_start_of_a_cache_line(n):
    x = np.random.default_rng(0).standard_normal((n, 3, 32, 16)).astype(np.float32)
    for _ in range(4):
        y = ops.conv2d(x, np.eye(3, dtype=np.float32)[:, :, None, None])
        assert y.flags.carray
        assert n == 0 or y.ctypes.data % 64 == 0
        np.testing.assert_array_equal(y, x)


def test_the_memory_of_a_large_output_serves_the_next_of_its_size():
    large, larger = (np.full((1, size, 1024), -1, np.float32) for size in (8 << 10, 9 << 10))
    first = ops.relu(large)
    second = ops.relu(large + 2)
    assert not np.shares_memory(first, second)
    where, view = second.ctypes.data, first[0, 0]
    del first, second
    others = [np.empty_like(large) for _ in range(3)]  # which would come to lie where it was, had it been given back
    third = ops.relu(large + 3)
    assert third.ctypes.data == where
    del others
    # Another size, whose neighbour is in use; and what a view still holds.
    fourth = ops.relu(larger)
    assert not np.shares_memory(third, fourth)
    assert all([(third == 2).all(), (fourth == 0).all(), (view == 0).all()])
    assert fourth.flags.carray


def test_a_large_output_is_let_go_by_any_thread():
    x = np.ones((1, 8 << 10, 1024), np.float32)

    def work(results):
        for value in range(4):
            results.append(bool((ops.relu(x * value) == value).all()))

    results: list[bool] = []
    threads = [threading.Thread(target=work, args=(results,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 12
