"""The command line: what it prints, writes, and how it fails."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from convlens import __version__, nn
from convlens.cli import main


@pytest.fixture
def saved(tmp_path):
    net = nn.Sequential(
        nn.Conv2d(out_channels=3, kernel_size=3),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=2),
        nn.Flatten(),
        nn.Linear(out_features=4),
        nn.Softmax(),
        input_shape=(1, 12, 10),
        seed=0,
    )
    net.save(tmp_path / "net.npz")
    return net, tmp_path / "net.npz"


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
    assert "Conv" not in out
    code, out, _ = _run(capsys, "info", path, "--layers")
    assert repr(net.layers()) in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["info", "{dir}/absent.npz"], "absent.npz: No such file or directory"),
        (["info", "{dir}/net.onnx"], "net.onnx: No such file or directory"),
        (["info", "{dir}/net.pth"], "must end in .onnx, .npz or .safetensors; a PyTorch checkpoint holds arrays"),
        (["info", "--layers"], "--layers needs NET"),
        (["compile", "{net}", "--explain", "occlusion"], "occlusion"),
        (["compile", "{net}", "--layer", "relu1"], "--layer belongs to --explain grad_cam"),
        (["explain", "{net}", "{dir}/absent.npy"], "absent.npy: No such file or directory"),
        (["explain", "{net}", "{dir}/x.npy", "--method", "magic"], "--method (='magic') must be one of"),
        (["explain", "{net}", "{dir}/x.npy", "--target", "4"], "target"),
        (["explain", "{net}", "{dir}/x.npy", "--option", "wndow=3"], "--option wndow is no argument of saliency"),
    ],
)
def test_error_is_one_line_and_exit_code_1(capsys, saved, tmp_path, arguments, text):
    np.save(tmp_path / "x.npy", np.zeros((1, 1, 12, 10), np.float32))
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


def test_explain_draws_every_method_asked_for(capsys, saved, tmp_path):
    pytest.importorskip("matplotlib")
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(256, size=(24, 20, 3), dtype=np.uint8)
    image.fromarray(pixels).save(tmp_path / "picture.png")
    (tmp_path / "labels.txt").write_text("zero\none\ntwo\nthree\n")
    code, out, err = _run(
        capsys,
        "explain",
        saved[1],
        tmp_path / "picture.png",
        "--method",
        "saliency,grad_cam,occlusion,integrated_gradients",
        "--option",
        "n_steps=7",
        "--target",
        "2",
        "--labels",
        tmp_path / "labels.txt",
        "--out",
        tmp_path / "why.png",
    )
    assert (code, err) == (0, "")
    assert out.startswith("class 2 (two), linear1 ")
    assert "\npicture: colour made grey (0.299 R + 0.587 G + 0.114 B)\n" in out
    with image.open(tmp_path / "why.png") as drawn:
        assert min(drawn.size) > 100


def test_explain_reads_arrays_in_the_networks_own_scale(capsys, saved, tmp_path):
    pytest.importorskip("matplotlib")
    net, path = saved
    images = np.random.default_rng(0).normal(size=(1, 1, 12, 10)).astype(np.float32)
    np.save(tmp_path / "x.npy", images)
    code, out, _ = _run(capsys, "explain", path, tmp_path / "x.npy", "--out", tmp_path / "why.png")
    assert code == 0
    assert out.startswith(f"class {net(images).argmax()}, linear1 ")
    code, _, err = _run(capsys, "explain", path, tmp_path / "x.npy", "--recipe", "digits")
    assert code == 1
    assert "--recipe (='digits') makes an input of a picture; an .npy array is one already: leave it out" in err


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
