"""Weights read apart from their file: the same network as a whole parser makes, and sooner."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("onnx.helper")

from onnx_models import model, node, random

import convlens as cl
import onnx
from convlens import UnsupportedError
from convlens.onnx._raw import read_apart
from onnx import helper, numpy_helper

WEIGHTS = {"w": random(64, 2, 3, 3, seed=1), "b": random(64, seed=2), "v": random(8, 64, 3, 3, seed=3)}
NODES = [node("Conv", "x w b", "f", "first"), node("Relu", "f", "g"), node("Conv", "g v", "y", "second")]
X = random(2, 2, 6, 5)


def _outcome(source):
    try:
        net = cl.load(source)
        return [(name, array.dtype, array.tobytes()) for name, array in net.graph.constants.items()]
    except (ValueError, UnsupportedError) as error:
        return type(error).__name__


def _same(tmp_path, data):
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    assert _outcome(path) == _outcome(data)
    return path


def test_large_weights_are_read_apart(tmp_path):
    data = model(NODES, weights=WEIGHTS).SerializeToString()
    path = _same(tmp_path, data)
    rest, apart = read_apart(path)
    assert {number: array.nbytes for number, array in apart.items()} == {0: 4608, 2: 18432}
    assert len(rest) < len(data) - 4608 - 18432
    assert not any(array.flags.writeable for array in apart.values())
    np.testing.assert_array_equal(cl.load(path)(X), cl.load(data)(X))


def test_a_message_in_pieces_is_joined_by_the_parser(tmp_path):
    """Of a field that stands twice, a parser joins messages and takes the last of single values."""
    made = model(NODES, weights=WEIGHTS)
    bare = model(NODES, weights=WEIGHTS)
    del bare.graph.initializer[:]
    more = onnx.ModelProto()
    more.graph.initializer.extend(made.graph.initializer)
    path = _same(tmp_path, bare.SerializeToString() + more.SerializeToString())
    assert read_apart(path) is None
    twice = made.graph.initializer[0].SerializeToString() + onnx.TensorProto(raw_data=bytes(4608)).SerializeToString()
    graph = bare.graph.SerializeToString() + b"\x2a" + _varint(len(twice)) + twice
    rest = onnx.GraphProto(initializer=made.graph.initializer[1:]).SerializeToString()
    head = onnx.ModelProto(ir_version=8, opset_import=made.opset_import).SerializeToString()
    path = _same(tmp_path, head + b"\x3a" + _varint(len(graph) + len(rest)) + graph + rest)
    assert read_apart(path) is None
    assert not cl.load(path).parameters["w"].any()


def _varint(value):
    return bytes([value & 0x7F | 0x80, *_varint(value >> 7)]) if value >= 0x80 else bytes([value])


def test_two_initialisers_of_one_name(tmp_path):
    made = model(NODES, weights=WEIGHTS)
    made.graph.initializer.append(numpy_helper.from_array(random(64, 2, 3, 3, seed=9), "w"))
    path = _same(tmp_path, made.SerializeToString())
    np.testing.assert_array_equal(cl.load(path).parameters["w"], random(64, 2, 3, 3, seed=9))


def test_functions_are_written_out(tmp_path):
    made = model([helper.make_node("F", ["x", "w"], ["y"], domain="own")], weights={"w": random(64, 2, 3, 3)})
    opset = helper.make_opsetid("", 21)
    made.functions.append(helper.make_function("own", "F", ["a", "b"], ["c"], [node("Conv", "a b", "c")], [opset]))
    made.opset_import.append(helper.make_opsetid("own", 1))
    path = _same(tmp_path, made.SerializeToString())
    assert cl.load(path)(X).shape == (2, 64, 4, 3)


def test_truncated_and_changed_files_have_the_parsers_outcome(tmp_path):
    data = model(NODES, weights=WEIGHTS).SerializeToString()
    rng = np.random.default_rng(0)
    for length in rng.integers(0, len(data), 60):
        _same(tmp_path, data[:length])
    heads = [*range(300), *range(len(data) - 200, len(data)), *range(4608, 5400)]
    for place in rng.choice([place for place in heads if place < len(data)], 300):
        changed = bytearray(data)
        changed[place] = rng.integers(256)
        _same(tmp_path, bytes(changed))


def test_loading_and_compiling_takes_at_most_twice_the_parsers_time(tmp_path):
    """48 convolutions of 2 MB each: loading takes about half of it, so the least of several rounds has room."""
    nodes, weights, last = [], {}, "x"
    for i in range(48):
        weights[f"w{i}"] = np.full((240, 240 if i else 2, 3, 3), 1e-3, np.float32)
        nodes += [node("Conv", f"{last} w{i}", f"c{i}", pads=[1, 1, 1, 1]), node("Relu", f"c{i}", f"r{i}")]
        last = f"r{i}"
    onnx.save(model(nodes, weights=weights, outputs=[last]), tmp_path / "net.onnx")

    def compiled():
        net = cl.load(tmp_path / "net.onnx")
        return net.program(("forward", (last,)), lambda: net._forward_graph((last,)))

    rounds = [(_seconds(compiled), _seconds(lambda: onnx.load(tmp_path / "net.onnx"))) for _ in range(5)]
    ours, theirs = (min(times) for times in zip(*rounds, strict=True))
    assert ours <= 2 * theirs, f"{ours:.3f} s, the onnx package reads in {theirs:.3f} s"


def _seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
