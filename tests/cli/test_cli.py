"""The command line: what it prints, writes, and how it fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from convlens import __version__
from convlens.cli import main


def _run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("command", ["", "demo", "info", "explain", "compile", "bench"])
def test_help_has_an_example(capsys, command):
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert f"convlens {command}" in text
    assert "example:" in text or not command


def test_info_describes_the_installation(capsys):
    code, out, err = _run(capsys, "info")
    assert (code, err) == (0, "")
    assert out.startswith(f"convlens {__version__} ")
    assert "portable   runs here" in out
    assert "\nthreads  " in out


def test_info_describes_a_network(capsys, saved):
    net, path = saved
    code, out, _ = _run(capsys, "info", path)
    assert code == 0
    assert repr(net) in out
    assert repr(net.layers()) in out
    assert re.search(r"^memory \d+\.\d KB to run one image", out, re.MULTILINE)
    assert re.search(r"^Conv +1  rule +rule +rule$", out, re.MULTILINE)
    assert _run(capsys, "info", path, "--layers") == (0, f"{net.summary()}\n", "")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["info", "{dir}/absent.npz"], "absent.npz: No such file or directory"),
        (["info", "{dir}/net.onnx"], "net.onnx: No such file or directory"),
        (["info", "{dir}/net.pth"], "must end in .onnx, .npz or .safetensors; a PyTorch checkpoint holds arrays"),
        (["compile", "{net}", "--explain", "occlusion"], "occlusion"),
        (["compile", "{net}", "--layer", "relu1"], "--layer belongs to --explain grad_cam"),
    ],
)
def test_error_is_one_line_and_exit_code_1(capsys, saved, tmp_path, arguments, text):
    filled = [argument.format(dir=tmp_path, net=saved[1]) for argument in arguments]
    code, out, err = _run(capsys, *filled)
    assert (code, out) == (1, "")
    assert err.startswith("convlens: error: ")
    assert err.count("\n") == 1
    assert text in err


def test_wrong_usage_is_exit_code_2(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["explain"])
    assert ended.value.code == 2


def test_interrupt_is_exit_code_130(capsys, monkeypatch):
    monkeypatch.setattr("convlens.cli._info._installation", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    code, _, err = _run(capsys, "info")
    assert code == 130
    assert err == "convlens: interrupted\n"


def test_defects_show_their_traceback(monkeypatch):
    monkeypatch.setattr("convlens.cli._info._installation", lambda: (_ for _ in ()).throw(AssertionError("a defect")))
    with pytest.raises(AssertionError, match="a defect"):
        main(["info"])


def test_traceback_on_request(saved):
    with pytest.raises(FileNotFoundError):
        main(["--traceback", "info", "/nowhere/net.npz"])


def test_compile_writes_what_python_reads_back_to_the_same_bits(capsys, saved, tmp_path):
    from convlens.program import Program

    net, path = saved
    code, out, err = _run(capsys, "compile", path, "--explain", "saliency,grad_cam", "--out", tmp_path / "net.cvl")
    assert (code, err) == (0, "")
    assert "saliency: " in out
    assert "grad_cam: " in out
    program, weights = Program.load(tmp_path / "net.cvl")
    images = np.random.default_rng(0).random((3, 1, 12, 10), np.float32)
    with program.workspace(3) as workspace:
        results = workspace.run("forward", {"images": images}, weights)
    assert results["softmax1"].tobytes() == net(images).tobytes()


def test_compile_without_explanations_puts_the_file_beside_the_network(capsys, saved, tmp_path):
    code, out, _ = _run(capsys, "compile", saved[1])
    assert code == 0
    assert (tmp_path / "net.cvl").exists()
    assert "forward: images float32(N, 1, 12, 10) -> softmax1 float32(N, 4)" in out


def test_module_runs_as_the_command():
    done = subprocess.run([sys.executable, "-m", "convlens", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"convlens {__version__}\n")


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_closed_pipe_is_no_traceback():
    done = subprocess.run(
        f'"{sys.executable}" -c "import sys; from convlens.cli import main; sys.exit(main([\'info\']))" | true',
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="POSIX shells")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_stop_nothing(closed):
    done = subprocess.run(f'"{sys.executable}" -m convlens info {closed}', shell=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_names_that_a_stream_cannot_hold_are_printed_otherwise(saved, tmp_path):
    path = tmp_path / "nétz.npz"
    saved[1].rename(path)
    done = subprocess.run(
        [sys.executable, "-m", "convlens", "compile", str(path)],
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"n\\xe9tz" in done.stdout
