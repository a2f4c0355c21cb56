"""Files that lie: an error of ours, soon, and in little memory."""

from __future__ import annotations

import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx.helper")

from onnx_models import model, node, random

import convlens as cl
from convlens import UnsupportedError
from onnx import TensorProto, helper

WEIGHTS = {"w": random(4, 2, 3, 3, seed=1), "b": random(4, seed=2)}
NODES = [node("Conv", "x w b", "f", "conv"), node("Relu", "f", "y", "relu")]


def _refused(made, text, **options):
    with pytest.raises((ValueError, UnsupportedError), match=text):
        cl.load(made, **options)


def test_truncated_files():
    data = model(NODES, weights=WEIGHTS).SerializeToString()
    for length in range(0, len(data), 7):
        with pytest.raises((ValueError, UnsupportedError)):
            cl.load(data[:length])


def test_not_onnx_at_all(tmp_path):
    _refused(b"\x89PNG\r\n\x1a\n" * 9, "`source` is not a whole ONNX file")
    _refused(b"", "`source` is no ONNX model: it has no graph with an output")
    (tmp_path / "x.onnx").write_bytes(b"garbage")
    _refused(tmp_path / "x.onnx", r"`source` \(='.*x.onnx'\) is n")


def test_cycle():
    made = model([node("Add", "x b", "a", "first"), node("Relu", "a", "b", "second"), node("Relu", "b", "y")])
    _refused(made, r"node 'first' \(Add\) needs its own output: the graph has a cycle")


def test_nodes_may_come_in_any_order():
    assert cl.load(model(NODES[::-1], weights=WEIGHTS))(random(1, 2, 6, 5)).shape == (1, 4, 4, 3)


def test_tensor_that_is_made_twice_or_never():
    _refused(model([*NODES, node("Relu", "x", "f")], weights=WEIGHTS), "tensor 'f' is made twice")
    _refused(model([node("Add", "x nothing", "y")]), "'nothing' is read, but nothing makes it")
    _refused(model([node("Relu", "x", "z")]), "output 'y' of the file is made by nothing")


def _stored(**fields):
    return TensorProto(data_type=TensorProto.FLOAT, **fields)


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (_stored(dims=[4, 2, 3, 3], raw_data=b"1234"), r"must have 288 bytes, the file has 4"),
        (_stored(dims=[4, 2, 3, 3], float_data=[1.0]), r"must have 72 elements, the file has 1"),
        (_stored(dims=[1 << 40, 1 << 40, 3, 3], raw_data=b"1234"), r"bytes, the file has 4"),
        (_stored(dims=[1 << 62, 4, 3, 3]), "elements, the file has 0"),
        (_stored(dims=[4, -2, 3, 3], raw_data=b""), "sizes must not be negative"),
        (TensorProto(data_type=TensorProto.STRING, dims=[1]), "elements of type STRING; supported: float32"),
        (TensorProto(data_type=977, dims=[1]), "elements of type 977"),
    ],
)
def test_initialiser_that_lies(tensor, text):
    _refused(model(NODES, weights={"w": tensor, "b": WEIGHTS["b"]}), rf"initialiser 'w' .*{text}")


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "", ".", "sub/../../secret.bin", "link.bin"])
def test_external_data_stay_in_the_folder(tmp_path, location):
    (tmp_path / "secret.bin").write_bytes(b"\0" * 288)
    home = tmp_path / "home"
    (home / "sub").mkdir(parents=True)
    (home / "link.bin").symlink_to(tmp_path / "secret.bin")
    _refused(_external(home, location=location), "outside the model's folder")


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ({"location": "absent.bin"}, "which is not beside the model"),
        ({"location": "w.bin", "offset": "-4"}, "is said to hold 288 at -4"),
        ({"location": "w.bin", "offset": "4"}, "is said to hold 288 at 4"),
        ({"location": "w.bin", "length": "4"}, "is said to hold 4 at 0"),
        ({"location": "w.bin", "length": "many"}, "that is no number"),
    ],
)
def test_external_data_fit(tmp_path, entries, text):
    (tmp_path / "w.bin").write_bytes(b"\0" * 288)
    _refused(_external(tmp_path, **entries), text)


def _external(folder, **entries):
    tensor = _stored(dims=[4, 2, 3, 3], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    path = folder / "net.onnx"
    path.write_bytes(model(NODES, weights={"w": tensor, "b": WEIGHTS["b"]}).SerializeToString())
    return path


HUGE = 1 << 40


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        ([node("Expand", "x s", "y")], {"s": np.array([1, HUGE, 6, 5])}),
        (
            [node("Expand", "b s", "e"), node("Add", "x e", "y")],
            {"s": np.array([HUGE, 4]), "b": np.zeros(1, np.float32)},
        ),
        ([node("ConstantOfShape", "s", "c"), node("Add", "x c", "y")], {"s": np.array([HUGE])}),
        ([node("ConstantOfShape", "s", "c"), node("Add", "x c", "y")], {"s": np.array([-1])}),
        (
            [node("Range", "a b c", "r"), node("Add", "x r", "y")],
            {"a": np.array(0), "b": np.array(HUGE), "c": np.array(1)},
        ),
        ([node("Range", "a b a", "r"), node("Add", "x r", "y")], {"a": np.array(0), "b": np.array(HUGE)}),
        ([node("Tile", "x s", "y")], {"s": np.array([1, HUGE, 1, 1])}),
        ([node("Tile", "s s", "t"), node("Add", "x t", "y")], {"s": np.array([HUGE])}),
        ([node("Pad", "x s", "y")], {"s": np.array([0, 0, HUGE, 0, 0, 0, 0, 0])}),
        ([node("Pad", "x s", "y", mode="edge")], {"s": np.array([0, 0, HUGE, 0, 0, 0, 0, 0])}),
        ([node("Resize", "x - - s", "y")], {"s": np.array([1, 2, HUGE, HUGE])}),
        ([node("Resize", "x - s", "y")], {"s": np.float32([1, 1, np.inf, np.nan])}),
        ([node("MaxPool", "x", "y", kernel_shape=[2, 2], pads=[HUGE, 0, HUGE, 0])], {}),
        ([node("MaxPool", "x", "y", kernel_shape=[1 << 20] * 2, pads=[1 << 20] * 4, ceil_mode=1)], {}),
        ([node("AveragePool", "x", "y", kernel_shape=[2, 2], pads=[1 << 23] * 4)], {}),
        ([node("Conv", "x w b", "y", dilations=[HUGE, 1])], WEIGHTS),
        ([node("Conv", "x w b", "y", strides=[0, 1])], WEIGHTS),
        ([node("Conv", "x w b", "y", strides=[0, 1], auto_pad="SAME_UPPER")], WEIGHTS),
        ([node("Conv", "x w b", "y", group=0)], WEIGHTS),
        ([node("Conv", "x w b", "y", pads="text")], WEIGHTS),
        ([node("Conv", "x", "y")], {}),
        ([node("ConvTranspose", "x w", "y", output_shape=[HUGE, HUGE])], {"w": random(2, 1, 3, 3)}),
        ([node("DepthToSpace", "x", "y", blocksize=0)], {}),
        ([node("LRN", "x", "y", size=-3)], {}),
        ([node("Split", "x", "y", axis=1, num_outputs=HUGE)], {}),
        ([node("Split", "x", "y", axis=9)], {}),
        ([node("Concat", "x x", "y", axis=-7)], {}),
        ([node("Concat", "-", "y", axis=1)], {}),
        ([node("Transpose", "x", "y", perm=[0, 1, 1, 3])], {}),
        ([node("Reshape", "x s", "y")], {"s": np.array([0, -1, -1])}),
        ([node("Reshape", "x s", "y")], {"s": np.array([0, -7])}),
        ([node("Reshape", "s s", "t"), node("Add", "x t", "y")], {"s": np.array([HUGE, HUGE])}),
        ([node("Gather", "x s", "y", axis=1)], {"s": np.array([2])}),
        ([node("Gather", "x s", "y", axis=1)], {"s": np.zeros(0, np.int64)}),
        ([node("Cast", "x", "y", to=99)], {}),
        ([node("Constant", "", "c"), node("Add", "x c", "y")], {}),
        ([node("Unsqueeze", "x s", "y")], {"s": np.array([0])}),
        ([node("Squeeze", "x s", "y")], {"s": np.array([1])}),
        ([node("If", "x", "y")], {}),
        ([node("Mean", "", "y")], {}),
        ([node("Relu", "", "y")], {}),
        ([node("BatchNormalization", "x", "y")], {}),
        ([node("GroupNormalization", "x w w", "y", num_groups=0)], {"w": np.ones(2, np.float32)}),
    ],
    ids=lambda value: value[0].op_type if isinstance(value, list) else "",
)
def test_numbers_that_lie(nodes, weights):
    with pytest.raises((ValueError, UnsupportedError)) as caught:
        cl.load(model(nodes, weights=weights))
    assert nodes[-1].op_type in str(caught.value) or nodes[0].op_type in str(caught.value)


@pytest.mark.parametrize("shape", [("b", HUGE, HUGE), ("b", -3, 4), ("b", 1 << 31, 2)])
def test_inputs_that_lie(shape):
    made = model([node("MaxPool", "x", "y", kernel_shape=[2])], shape)
    _refused(made, "input 'x' .* (is larger than|must not be negative)")


def _calling(functions):
    """A model that calls "f0"; `functions` gives what each calls, "Relu" the operator."""
    versions = [helper.make_opsetid("", 21), helper.make_opsetid("local", 1)]
    made = model([helper.make_node("f0", ["x"], ["y"], domain="local")])
    made.opset_import.append(versions[1])
    for name, calls in functions.items():
        tensors = [f"t{i}" for i in range(len(calls) + 1)]
        nodes = [
            helper.make_node(call, [tensors[i]], [tensors[i + 1]], domain="" if call == "Relu" else "local")
            for i, call in enumerate(calls)
        ]
        made.functions.append(helper.make_function("local", name, tensors[:1], tensors[-1:], nodes, versions))
    return made


def test_functions_are_written_out():
    net = cl.load(_calling({"f0": ["Relu", "f1"], "f1": ["Relu", "Relu"]}))
    assert [layer.operator for layer in net.layers()] == ["Relu"] * 3


def test_functions_that_call_themselves_or_grow_without_bound():
    _refused(_calling({"f0": ["f0"]}), "a function 'f0' that calls itself")
    _refused(_calling({"f0": ["f1"], "f1": ["Relu", "f2"], "f2": ["f0"]}), "that calls itself")
    bomb = {f"f{i}": [f"f{i + 1}"] * 10 for i in range(30)} | {"f30": ["Relu"]}
    _refused(_calling(bomb), "functions that written out are more than 1048576 nodes")


def test_wrong_types():
    made = model([node("Relu", "x", "y")], kind=TensorProto.STRING)
    _refused(made, "input 'x' has elements of type STRING")
    made = model([node("Relu", "x", "y")], kind=TensorProto.INT64)
    _refused(made, r"`x` must be float32|input 'x' is int64")
    made = model([node("Identity", "s", "y")])
    made.graph.input.add(name="s").type.CopyFrom(helper.make_sequence_type_proto(made.graph.input[0].type))
    _refused(made, "input 's' is no tensor")
    _refused(model([node("Identity", "c", "y")], weights={"c": np.zeros(3)}), "output 'y' is the same for every input")


def test_mutated_files_are_refused_or_load():
    """In a process of its own, under a limit of memory and time."""
    script = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from onnx_mutations import main
        main(10_000)
    """)

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

    done = subprocess.run(
        [sys.executable, "-c", script], preexec_fn=limit, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    parsed, total = map(int, done.stdout.split()[-2:])
    assert total == 10_000
    assert parsed >= total / 2
