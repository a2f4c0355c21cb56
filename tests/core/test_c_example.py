"""The library alone, installed and used from C: it must give Python's bits, and stay small."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from convlens import _core, nn
from convlens.explain import graph_of
from convlens.program import compile as compile_program

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "cpp").is_dir(), reason="needs the sources"),
    pytest.mark.skipif(sys.platform == "win32", reason="the example is built with a POSIX compiler"),
    pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake"),
]


def cmake(*arguments):
    run = subprocess.run(["cmake", *map(str, arguments)], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]


def configure(source, build, *options):
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    cmake("-S", source, "-B", build, *generator, "-DCMAKE_BUILD_TYPE=Release", *options)


@pytest.fixture(scope="module")
def classify(tmp_path_factory):
    """The example, over a core with this processor's kernels and float32 alone."""
    at = tmp_path_factory.mktemp("c")
    options = [f"-DCONVLENS_ISAS={_core.info()['isa']}", "-DCONVLENS_FLOAT64=OFF", "-DCONVLENS_TESTS=OFF"]
    configure(ROOT / "cpp", at / "core", *options, f"-DCMAKE_INSTALL_PREFIX={at / 'prefix'}")
    cmake("--build", at / "core", "--parallel", "2")
    cmake("--install", at / "core")
    configure(ROOT / "examples/c", at / "example", f"-DCMAKE_PREFIX_PATH={at / 'prefix'}")
    cmake("--build", at / "example")
    return at / "example" / "classify"


@pytest.fixture(scope="module")
def net():
    layers = [nn.Conv2d(out_channels=32, kernel_size=3), nn.ReLU(), nn.MaxPool2d(kernel_size=2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(out_features=10), input_shape=(1, 28, 28), seed=0)


@pytest.mark.parametrize("method", ["saliency", "grad_cam"])
def test_c_gives_the_bits_of_python(classify, net, method, tmp_path):
    graph, entries = graph_of(net, ["saliency", "grad_cam"])
    program = compile_program(graph, entries)
    image = np.random.default_rng(0).random((1, 1, 28, 28), np.float32)
    (tmp_path / "digits.cvl").write_bytes(program.to_bytes(net.weights))
    image.tofile(tmp_path / "digit.f32")
    run = subprocess.run(
        [classify, "digits.cvl", "digit.f32", "map.f32", method], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr

    workspace = program.workspace(1)
    logits = workspace.run("forward", {net.input_name: image}, net.weights)[entries["forward"].outputs[0]]
    top = int(logits.argmax())
    seed = np.eye(10, dtype=np.float32)[[top]]
    expected = workspace.run(method, {entries[method].inputs[0]: seed}, net.weights)[entries[method].outputs[0]]
    assert run.stdout.split()[1] == f"{top},"
    assert np.float32(run.stdout.split()[3]) == logits[0, top]
    values = np.fromfile(tmp_path / "map.f32", np.float32)
    assert np.any(values)
    np.testing.assert_array_equal(values.view(np.uint32), expected.ravel().view(np.uint32))


def test_the_example_says_what_is_wrong(classify, tmp_path):
    run = subprocess.run([classify, tmp_path / "none.cvl", "a", "b"], capture_output=True, text=True)
    assert run.returncode == 1
    assert "No such file or directory" in run.stderr


def peak_of(command, pipe, cwd):
    """Peak resident bytes of a process that ends by writing to `pipe`: it waits there until somebody reads."""
    os.mkfifo(pipe)
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL)
    try:
        asleep, deadline = 0, time.monotonic() + 30
        while asleep < 10 and time.monotonic() < deadline and process.poll() is None:
            fields = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
            asleep = asleep + 1 if fields["State"].split()[0] == "S" else 0
            peak = int(fields.get("VmHWM", "0 kB").split()[0]) * 1024
            time.sleep(0.01)
        values = np.frombuffer(pipe.read_bytes(), np.float32)
        assert process.wait(30) == 0
    finally:
        process.kill()
    return peak, values


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
def test_the_example_is_small(classify, net, tmp_path, capsys):
    stripped = tmp_path / "classify"
    subprocess.run(["strip", "-o", stripped, classify], check=True)
    graph, entries = graph_of(net, ["saliency"])
    (tmp_path / "digits.cvl").write_bytes(compile_program(graph, entries).to_bytes(net.weights))
    np.ones((1, 28, 28), np.float32).tofile(tmp_path / "digit.f32")
    peak, values = peak_of([stripped, "digits.cvl", "digit.f32", "map.pipe"], tmp_path / "map.pipe", tmp_path)
    assert values.shape == (28 * 28,)
    size = stripped.stat().st_size
    isa = _core.info()["isa"]
    with capsys.disabled():
        print(f"\nexamples/c, {isa}, float32: {size / 1e3:.0f} KB stripped, {peak / 1e6:.1f} MB at its peak")
    assert size < 400_000
    assert peak < 16_000_000
