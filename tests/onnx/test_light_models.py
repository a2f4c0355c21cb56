"""The whole networks that the onnx package ships without weights, given seeded ones, against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx.helper")

from onnx_models import unchanged, valid

import convlens as cl
import onnx
from onnx import helper, numpy_helper

pytestmark = [pytest.mark.parity, pytest.mark.slow]

FOLDER = Path(onnx.__file__).parent / "backend/test/data/light"


def weighted(path):
    """The model with noise where it makes its weights of one value; positive where a vector may be a variance."""
    rng = np.random.default_rng(0)
    made = onnx.load(path)
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    kept = [node for node in made.graph.node if node.op_type != "ConstantOfShape"]
    for node in made.graph.node:
        if node.op_type == "ConstantOfShape":
            shape = shapes[node.input[0]]
            noise = rng.standard_normal(shape, np.float32)
            weight = noise / np.float32(np.sqrt(np.prod(shape[1:]))) if len(shape) > 1 else 0.5 + np.abs(noise) / 4
            made.graph.initializer.append(numpy_helper.from_array(weight, node.output[0]))
    del made.graph.node[:]
    made.graph.node.extend(kept)
    return made


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.onnx")), ids=lambda path: path.stem)
def test_logits_are_those_of_onnx_runtime(path):
    runtime = pytest.importorskip("onnxruntime")
    made = weighted(path)
    net = cl.load(made)
    logits = net.logits_name
    if all(logits not in node.output for node in made.graph.node):  # a reshape of ours between two nodes of the file
        logits = net.output_name
    elif logits != net.output_name:
        made.graph.output.append(helper.make_tensor_value_info(logits, onnx.TensorProto.FLOAT, None))
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(made.SerializeToString(), options)
    x = np.random.default_rng(1).standard_normal((2, *net.input_shape)).astype(np.float32)
    names = [output.name for output in session.get_outputs()]
    parts = [dict(zip(names, session.run(None, {net.input_name: image[None]}), strict=True))[logits] for image in x]
    want = np.concatenate(parts)
    assert want.std() > 1e-6 * np.abs(want).max()
    np.testing.assert_allclose(net.activations(x, logits)[logits], want, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.onnx")), ids=lambda path: path.stem)
def test_network_is_the_same_after_export(path, tmp_path):
    """Through files: the largest has weights of half a gigabyte."""
    runtime = pytest.importorskip("onnxruntime")
    first = cl.load(weighted(path))
    cl.onnx.export(first, tmp_path / "net.onnx", max_bytes=1 << 26)
    valid(str(tmp_path / "net.onnx"))
    again = cl.load(tmp_path / "net.onnx")
    unchanged(first.graph, again.graph)
    x = np.random.default_rng(1).standard_normal((2, *first.input_shape)).astype(np.float32)
    session = runtime.InferenceSession(str(tmp_path / "net.onnx"))
    (found,) = session.run([first.output_name], {first.input_name: x})
    np.testing.assert_allclose(found, again(x), atol=1e-4 * np.abs(found).max())
