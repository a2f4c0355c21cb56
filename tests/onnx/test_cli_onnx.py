"""The command line on ONNX files."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx.helper")

from onnx_models import model, node, random

import onnx
from convlens.cli import main


@pytest.fixture
def path(tmp_path):
    nodes = [
        *(node("Conv", "x w b", "c", "stem", pads=[1, 1, 1, 1]), node("Relu", "c", "r", "relu")),
        *(node("GlobalAveragePool", "r", "p"), node("Flatten", "p", "f"), node("Gemm", "f head", "y", "head")),
    ]
    weights = {"w": random(4, 1, 3, 3).astype(np.float16), "b": random(4), "head": random(4, 3)}
    onnx.save(model(nodes, (1, 1, 12, 10), weights=weights), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def test_info_lists_the_layers(capsys, path):
    assert main(["info", str(path)]) == 0
    out = capsys.readouterr().out
    assert "note: float16 weights were converted to float32" in out
    assert [line.split()[0] for line in out.splitlines() if " x " in line][1:] == ["c", "r", "p", "f", "y"]


def test_info_says_which_operators_of_a_file_do_not_import(capsys, tmp_path):
    nodes = [node("Relu", "x", "r", "relu"), node("Det", "r", "d", "det"), node("Relu", "d", "y", "end")]
    onnx.save(model(nodes, (1, 3, 4, 4)), tmp_path / "odd.onnx")
    assert main(["info", str(tmp_path / "odd.onnx")]) == 1
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines()[2:]] == [["Relu", "2", "yes"], ["Det", "1", "no"]]
    assert "node 'det' (Det, opset" in err


def test_explain_draws_a_picture(capsys, path, tmp_path):
    pytest.importorskip("matplotlib")
    np.save(tmp_path / "x.npy", random(1, 1, 12, 10))
    why = tmp_path / "why.png"
    assert (
        main(["explain", str(path), str(tmp_path / "x.npy"), "--method", "saliency,grad_cam", "--out", str(why)]) == 0
    )
    assert "Grad-CAM: layer r\n" in capsys.readouterr().out
    assert why.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "ends",
    [
        [node("Softmax", "y", "s", axis=1), node("ArgMax", "s", "z", axis=1)],
        [node("LogSoftmax", "y", "s", axis=1), node("Identity", "s", "z")],
    ],
    ids=["chosen", "logarithm"],
)
def test_explain_prints_the_probabilities_behind_an_output(capsys, path, tmp_path, ends):
    pytest.importorskip("matplotlib")
    onnx_model = onnx.load(path)
    onnx_model.graph.node.extend(ends)
    del onnx_model.graph.output[:]
    kind = onnx.TensorProto.INT64 if ends[-1].op_type == "ArgMax" else onnx.TensorProto.FLOAT
    onnx_model.graph.output.append(onnx.helper.make_tensor_value_info("z", kind, None))
    onnx.save(onnx_model, tmp_path / "ends.onnx")
    np.save(tmp_path / "x.npy", random(1, 1, 12, 10))
    assert (
        main(["explain", str(tmp_path / "ends.onnx"), str(tmp_path / "x.npy"), "--out", str(tmp_path / "w.png")]) == 0
    )
    shares = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines()[1:4]]
    assert sum(shares) == pytest.approx(1, abs=2e-3)
    assert max(shares) < 1


def test_compile_writes_a_file(capsys, path):
    assert main(["compile", str(path)]) == 0
    assert path.with_suffix(".cvl").stat().st_size > 100


def test_bench_knows_the_ending(path):
    from convlens.cli.bench import case_of

    assert case_of(str(path)).graph.outputs == ("y",)
