import json
import os
import subprocess
import sys
import threading

import core_file
import numpy as np
import pytest

from convlens import _core
from convlens._errors import UnsupportedError


def copying(shape=(20, 5, 7), float64=False):
    """`x` through a blocked tensor with a halo in the arena to `y`; two entries."""
    f = core_file.File(float64=float64, metadata=b'{"name": "copy"}')
    blocked = f.tensor(shape, layout=core_file.BLOCKED, halo=1)
    f.instruction("reorder", [f.port("x", shape, output=False)], [blocked], [0, 0, 0])
    f.entry("in", 1, 0)
    f.instruction("reorder", [blocked], [f.port("y", shape, output=True)], [0, 0, 0])
    f.entry("out", 0, 1)
    return f


def holding(data=None):
    """`y` = the weight `w`, and the state `s` = `x`."""
    f = core_file.File()
    f.instruction(
        "reorder", [f.port("x", (20, 1, 1), output=False, batched=False)], [f.buffer("s", 20, state=True)], [0, 0, 0]
    )
    f.instruction(
        "reorder", [f.buffer("w", 20, data=data)], [f.port("y", (20, 1, 1), output=True, batched=False)], [0, 0, 0]
    )
    f.entry("run", 1, 1)
    return f


def copy(program, workspace, x, threads=0):
    y = np.full_like(x, -1)
    program.run(0, workspace, [x], len(x), threads=threads)
    program.run(1, workspace, [y], len(x), threads=threads)
    return y


def ramp(n, shape=(20, 5, 7), dtype=np.float32):
    return (np.arange(n * np.prod(shape)).reshape(n, *shape) * 0.5 - 3).astype(dtype)


@pytest.mark.parametrize("float64", [False, True])
@pytest.mark.parametrize("n", [0, 1, 3])
def test_entries_run_over_one_workspace(n, float64):
    program = _core.Program(copying(float64=float64).build())
    x = ramp(n, dtype=np.float64 if float64 else np.float32)
    np.testing.assert_array_equal(copy(program, _core.Workspace(program, n), x), x)


def test_a_program_says_what_it_takes_and_gives():
    program = _core.Program(copying().build())
    entry_in, entry_out = program.entries
    assert (entry_in.name, entry_out.name) == ("in", "out")
    assert not entry_in.outputs
    assert not entry_out.inputs
    (port,) = entry_in.inputs
    assert (port.name, port.dtype, port.batched, port.shape) == ("x", "float32", True, (-1, 20, 5, 7))
    assert json.loads(program.metadata) == {"name": "copy"}
    assert program.n_instructions == 2


def test_arena_bytes_are_a_plus_b_n_plus_c_threads():
    program = _core.Program(copying().build())
    a, b, c = program.arena_need
    assert b >= 2 * 7 * 9 * 64  # two blocks of channels with a halo of one
    assert program.arena_bytes(5, 3) == a + 5 * b + 3 * c
    assert _core.Workspace(program, 5, 3).nbytes == a + 5 * b + 3 * c


def test_a_program_outlives_the_bytes_it_was_made_of_and_workspaces_their_program():
    data = bytearray(copying().build())
    program = _core.Program(data)
    workspace = _core.Workspace(program, 1)
    del data
    x = ramp(1)
    np.testing.assert_array_equal(copy(program, workspace, x), x)
    del program
    assert workspace.nbytes > 0


def test_weights_and_states_are_bound():
    f = holding()
    program = _core.Program(f.build())
    assert [(s.name, s.nbytes, s.in_file) for s in program.weights + program.states] == [
        ("w", 128, False),
        ("s", 128, False),
    ]
    w, s = (_core.aligned_empty(128).view(np.float32) for _ in range(2))
    w[:] = np.arange(32)
    s[:] = 0
    x, y = np.full(20, 7, np.float32), np.empty(20, np.float32)
    weights, states = _core.Buffers([w]), _core.Buffers([s], writeable=True)
    program.run(0, _core.Workspace(program, 0), [x, y], 0, weights, states)
    np.testing.assert_array_equal(y, np.arange(20))
    np.testing.assert_array_equal(s[:20], x)


def test_weights_in_the_file_are_used_where_they_lie():
    w = np.arange(20, dtype=np.float32)
    program = _core.Program(holding(w.tobytes()).build())
    assert program.weights[0].in_file
    program.verify_data()
    stored = program.weight_data(0)
    np.testing.assert_array_equal(stored.view(np.float32)[:20], w)
    assert not stored.flags.writeable
    s, y = _core.aligned_empty(128), np.empty(20, np.float32)
    program.run(0, _core.Workspace(program, 0), [w, y], 0, None, _core.Buffers([s], True))
    np.testing.assert_array_equal(y, w)


def test_a_changed_weight_is_found_on_request():
    data = bytearray(holding(b"w" * 80).build())
    data[-60] ^= 1
    program = _core.Program(data)
    with pytest.raises(ValueError, match="checksum of the weights is wrong"):
        program.verify_data()


def bad_runs():
    x = ramp(2)
    read_only = x.copy()
    read_only.flags.writeable = False
    yield "another dtype", 0, x.astype(np.float64), TypeError, "`x` must be float32, not float64"
    yield "swapped bytes", 0, x.astype(">f4"), TypeError, "`x` must be float32, not >f4"
    yield "not an array", 0, x.tolist(), TypeError, "`x` must be a NumPy array"
    yield "strided", 0, x[:, :, ::-1], ValueError, "`x` must be C-contiguous"
    yield "other size", 0, x[:1], ValueError, r"`x` \(2800 bytes\) must have 5600 bytes for n = 2"
    yield "read-only output", 1, read_only, ValueError, "`y` must be writeable"
    unaligned = np.frombuffer(bytearray(x.nbytes + 1), np.uint8)[1:].view(np.float32).reshape(x.shape)
    yield "unaligned", 0, unaligned, ValueError, "`x` .* must be memory aligned to 4 bytes"


@pytest.mark.parametrize(("entry", "array", "error", "message"), [pytest.param(*b[1:], id=b[0]) for b in bad_runs()])
def test_arrays_that_do_not_fit_are_named(entry, array, error, message):
    program = _core.Program(copying().build())
    with pytest.raises(error, match=message):
        program.run(entry, _core.Workspace(program, 2), [array], 2)


def test_what_is_not_bound_is_named():
    program = _core.Program(holding().build())
    workspace = _core.Workspace(program, 0)
    arrays = [np.empty(20, np.float32), np.empty(20, np.float32)]
    states = _core.Buffers([_core.aligned_empty(128)], True)
    with pytest.raises(ValueError, match=r"weight `w` .* must be bound to memory aligned to 64 bytes"):
        program.run(0, workspace, arrays, 0, None, states)
    with pytest.raises(ValueError, match=r"weight `w` .* must be bound"):
        program.run(0, workspace, arrays, 0, _core.Buffers([None]), states)
    with pytest.raises(ValueError, match=r"`weights`\[0\] \(64 bytes\) must have 128: w"):
        program.run(0, workspace, arrays, 0, _core.Buffers([_core.aligned_empty(64)]), states)
    with pytest.raises(ValueError, match="`states` must have one writeable array a slot"):
        program.run(0, workspace, arrays, 0, None, _core.Buffers([_core.aligned_empty(128)]))
    with pytest.raises(ValueError, match=r"`arrays` \(1\) must be one a port \(2\)"):
        program.run(0, workspace, arrays[:1], 0)


def test_a_workspace_serves_its_program_and_its_batch_alone():
    program, other = _core.Program(copying().build()), _core.Program(copying().build())
    with pytest.raises(ValueError, match=r"`n` \(=2\) must be 0 to 1"):
        program.run(0, _core.Workspace(program, 1), [ramp(2)], 2)
    with pytest.raises(ValueError, match="`workspace` must be created for the Program it runs"):
        program.run(0, _core.Workspace(other, 1), [ramp(1)], 1)
    with pytest.raises(ValueError, match=r"`n` \(=-1\) must be 0 or more"):
        _core.Workspace(program, -1)
    with pytest.raises(MemoryError, match="workspace of"):
        _core.Workspace(program, 1 << 44)
    with pytest.raises(MemoryError, match="does not fit 62 bits"):
        _core.Workspace(program, 1 << 60)


def test_damaged_files_are_refused():
    data = copying().build()
    for broken, message in [
        (b"", "does not start with"),
        (data[:-1], "cut short"),
        (data + b"\0", "cut short or added to"),
        (b"C" + data[1:], "does not start with"),
        (data[:300] + b"\xff" + data[301:], "checksum of header and instructions"),
    ]:
        with pytest.raises(ValueError, match=message):
            _core.Program(broken)
    with pytest.raises(UnsupportedError, match=r"version 2\.0, this library reads 1\.x: compile the network again"):
        _core.Program(data[:8] + b"\2" + data[9:])


def test_many_threads_run_one_program():
    program = _core.Program(copying().build())
    x, wrong = ramp(2), []

    def work():
        workspace = _core.Workspace(program, 2)
        for _ in range(50):
            if not np.array_equal(copy(program, workspace, x), x):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_number_of_threads_is_set_and_checked():
    before = _core.get_num_threads()
    try:
        if _core.info()["openmp"]:
            _core.set_num_threads(3)
            assert _core.get_num_threads() == 3
        with pytest.raises(ValueError, match=r"`num_threads` \(=0\) must be 1 or more"):
            _core.set_num_threads(0)
    finally:
        _core.set_num_threads(before)


def fresh(code, **environment):
    kept = {k: v for k, v in os.environ.items() if k not in ("CONVLENS_ISA", "CONVLENS_NUM_THREADS", "OMP_NUM_THREADS")}
    run = subprocess.run(
        [sys.executable, "-c", code], env=kept | environment, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.mark.skipif(not _core.info()["openmp"], reason="built without OpenMP")
@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({"CONVLENS_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, "3"),
        ({"OMP_NUM_THREADS": "5,2"}, "5"),
        ({"CONVLENS_NUM_THREADS": "many", "OMP_NUM_THREADS": "5"}, "5"),
    ],
)
def test_the_environment_sets_the_threads(environment, threads):
    assert fresh("from convlens import _core; print(_core.get_num_threads())", **environment) == threads


def test_no_more_threads_than_the_affinity_allows():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("no affinity here")
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
    assert fresh(code + "from convlens import _core; print(_core.get_num_threads())") == "1"


RUNNABLE = [isa["name"] for isa in _core.info()["isas"] if not isa["lacking"]]


@pytest.mark.parametrize("isa", RUNNABLE)
def test_the_environment_forces_an_isa_and_programs_use_it(isa, tmp_path):
    path = tmp_path / "copy.cvl"
    path.write_bytes(copying().build())
    code = f"from convlens import _core; i = _core.info(); p = _core.Program(open({str(path)!r}, 'rb').read()); "
    assert (
        fresh(code + "print(i['isa'], p.isa, i['reason'])", CONVLENS_ISA=isa) == f"{isa} {isa} CONVLENS_ISA asks for it"
    )


def test_an_unknown_isa_is_explained():
    reason = fresh("from convlens import _core; print(_core.info()['reason'])", CONVLENS_ISA="pentium")
    assert reason == "the best this processor runs; CONVLENS_ISA names no ISA of this build"
    with pytest.raises(
        ValueError, match=r"`isa` \(=pentium\) is not one of this build; this processor can run: " + RUNNABLE[0]
    ):
        _core.select_isa("pentium")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_computes_on(tmp_path):
    path = tmp_path / "copy.cvl"
    path.write_bytes(copying((64, 32, 32)).build())
    code = f"""
import os, signal, numpy as np
from convlens import _core
_core.set_num_threads(2)
p = _core.Program(open({str(path)!r}, "rb").read())
w = _core.Workspace(p, 4, 2)
x = np.random.default_rng(0).standard_normal((4, 64, 32, 32), np.float32)
y = np.empty_like(x)
def run():
    y[:] = 0
    p.run(0, w, [x], 4); p.run(1, w, [y], 4)
    return bool((x == y).all())
assert run()
child = os.fork()
if child == 0:
    signal.alarm(20)
    os._exit(0 if run() and run() else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert run()
"""
    fresh(code)


def test_aligned_arrays_are_aligned():
    for size in (0, 1, 64, 1000):
        array = _core.aligned_empty(size)
        assert array.nbytes == size
        assert array.ctypes.data % 64 == 0
    with pytest.raises(ValueError, match=r"`bytes` \(=-1\)"):
        _core.aligned_empty(-1)


def test_tensor_bytes_follow_the_layouts():
    record = core_file.File()._record
    for fields, float32, float64 in [
        ({}, 20 * 35 * 4, 20 * 35 * 8),
        ({"layout": core_file.BLOCKED}, 2 * 35 * 64, 3 * 35 * 64),
        ({"layout": core_file.BLOCKED, "halo": 1}, 2 * 63 * 64, 3 * 63 * 64),
        ({"layout": core_file.BLOCKED, "dtype": core_file.MASK}, 2 * 35 * 2, 3 * 35 * 1),
        ({"layout": core_file.BLOCKED, "dtype": core_file.UINT8}, 2 * 35 * 16, 3 * 35 * 8),
        ({"dtype": core_file.INT64}, 20 * 35 * 8, 20 * 35 * 8),
    ]:
        for size, wide in [(float32, False), (float64, True)]:
            assert _core.tensor_bytes(record((20, 5, 7), **fields), wide) == -(-size // 64) * 64
    with pytest.raises(ValueError, match="make no tensor"):
        _core.tensor_bytes(record((20, 5, 7), dtype=core_file.MASK, halo=1), False)


def test_a_pool_says_which_rows_and_columns_it_reads():
    f = core_file.File()
    x, y = (
        f._record((20, *size), layout=core_file.BLOCKED, nbytes=-(-20 // 16) * 64 * size[0] * size[1])
        for size in [(8, 8), (4, 4)]
    )
    window = [3, 3, 2, 2, 1, 1, 1, 1]
    code = _core.op_codes()["max_pool2d"]
    assert _core.input_rectangle(code, x, y, window, 0, (1, 1, 3, 2)) == (1, 1, 6, 4)
    with pytest.raises(ValueError, match="`opcode`"):
        _core.input_rectangle(999, x, y, window, 0, (0, 0, 1, 1))
