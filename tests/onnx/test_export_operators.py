"""Every operator of the graph as ONNX: valid, and the same answers in ONNX Runtime and after import."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip("onnx.helper")

from onnx.reference import ReferenceEvaluator
from onnx_models import valid

import convlens as cl
import onnx
from convlens import UnsupportedError, reference
from convlens.graph import OPERATORS, GraphBuilder, attribute
from convlens.onnx._package import schema_of
from convlens.onnx._registry import FORMS
from convlens.onnx._writer import types_of
from graph.test_shapes import CASES as SHAPES
from transform.test_gradient import CASES as GRADIENTS

F, N = "float32", "N"
POSITIVE = {"Log", "Sqrt", "Log1p", "Pow", "BatchNormalization", "Reciprocal"}
# Written in operators that do not import (numbers of places, RandomUniformLike), that have no handler themselves, or, a
# table to look up in, of data.
ONE_WAY = {"MaxPoolOffset", "DropoutMask", "SoftmaxCrossEntropyLoss", "Gather"}

WINDOW = {"kernel_shape": (3, 2), "strides": (2, 1), "pads": (1, 0, 2, 1), "dilations": (1, 2)}
POOL = {"kernel_shape": (3, 2), "strides": (2, 2), "pads": (1, 1, 0, 1), "ceil_mode": 1}
CEIL = {"kernel_shape": (2, 2), "ceil_mode": 1}
MIXED = {**CEIL, "strides": (3, 2), "pads": (1, 0, 1, 0)}
AXES = {"axes": (2, 3)}
SIGNAL = {"kernel_shape": (3,), "strides": (2,), "pads": (1, 0), "ceil_mode": 1}
EDGES = [
    ("ConvGradWeight", [(F, N, 6, 5, 5), (F, N, 4, 8, 6)], {**WINDOW, "group": 2, "weight_shape": (6, 2, 3, 2)}),
    ("ConvTranspose", [(F, N, 4, 5), (F, 4, 3, 3)], {"strides": (2,), "pads": (0, 2), "output_padding": (3,)}),
    ("MaxPoolOffset", [(F, N, 3, 8, 7)], {**POOL, "dilations": (2, 1)}),
    ("MaxPoolOffset", [(F, N, 3, 8)], SIGNAL),
    ("MaxPoolGrad", [(F, N, 3, 4, 4), ("uint8", N, 3, 4, 4)], {**POOL, "input_shape": (3, 7, 6)}),
    ("MaxPoolGrad", [(F, N, 3, 4), ("uint8", N, 3, 4)], {**SIGNAL, "input_shape": (3, 7)}),
    # Rounded up there are 3 windows along each axis; the last would begin beyond the image. Then along one axis alone.
    ("AveragePool", [(F, N, 3, 4, 4)], {**CEIL, "strides": (3, 3), "pads": (1, 1, 1, 1)}),
    ("MaxPool", [(F, N, 3, 4, 5)], MIXED),
    ("SliceGrad", [(F, 2, 3)], {"axes": (0, 1), "starts": (4, 0), "steps": (-3, 2), "input_shape": (5, 9)}),
    ("Resize", [(F, N, 3, 7, 5), None, None, np.array([9, 6])], {**AXES, "mode": "windows", "window_shape": (3, 3)}),
    ("Resize", [(F, N, 3, 7, 5), None, None, np.array([3, 5])], {**AXES, "mode": "area"}),
    ("Resize", [(F, N, 3, 5), None, np.array([1, 1, 2.3000001])], {"mode": "linear"}),
    ("Clip", [(F, N, 3), np.array([-0.5], np.float32)], {}),
    ("Reshape", [(F, N, 6), np.array([0, 2, 3], np.int32)], {}),
    *[(op, [("bool", N, 3), ("bool", 3)], {}) for op in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal")],
]


def _as_float32(op, operands):
    """Operands as test_gradient writes them: shapes, positive ones, and constants in double."""
    for operand in operands:
        if isinstance(operand, np.ndarray):
            labels = op.startswith("SoftmaxCrossEntropyLoss")
            narrow = operand.astype(F) if operand.dtype == np.float64 and op != "Resize" else operand
            yield ("int64", N, *operand.shape[1:]) if labels else narrow
        else:
            yield None if operand is None else (F, *(operand[1:] if operand[:1] == ("positive",) else operand))


CASES = [
    *[(op, operands, attributes, len(outputs)) for op, operands, attributes, outputs in SHAPES],
    *[(op, [*_as_float32(op, given)], attributes, 2 if op == "Split" else 1) for op, given, attributes in GRADIENTS],
    *[(*case, 1) for case in EDGES],
]


def _built(op, operands, attributes, n_outputs):
    """The graph of one node, its operands inputs or constants, and values for two images."""
    rng, builder, names, values = np.random.default_rng(0), GraphBuilder(), [], {}
    for place, operand in enumerate(operands):
        name = "" if operand is None else f"t{place}"
        names.append(name)
        if isinstance(operand, np.ndarray):
            builder.constant(operand, name)
        elif operand is not None:
            dtype, *shape = operand
            builder.input(name, dtype, shape)
            shape = [2 if dim == N else dim for dim in shape]
            values[name] = rng.integers(0, 3, shape).astype(dtype)
            if dtype == F:
                noise = rng.standard_normal(shape).astype(F)
                values[name] = np.abs(noise) + np.float32(0.5) if op in POSITIVE else noise
    outputs = [f"y{i}" for i in range(n_outputs)]
    builder.add(op, names, attributes, name="node", outputs=outputs)
    return builder.build(outputs), values


def _close(got, want, op):
    for name, expected in want.items():
        assert (got[name].shape, got[name].dtype) == (expected.shape, expected.dtype)
        if op != "DropoutMask":  # other bits
            np.testing.assert_allclose(got[name], expected, rtol=1e-5, atol=1e-5)


def _ids(value):
    return value if isinstance(value, str) else ""


def test_every_operator_is_exported():
    assert {case[0] for case in CASES} == set(OPERATORS)
    assert all(op in FORMS or schema_of(op) for op in OPERATORS)


@pytest.mark.parametrize(("op", "operands", "attributes", "n_outputs"), CASES, ids=_ids)
def test_operator_is_valid_and_means_the_same_when_imported(op, operands, attributes, n_outputs):
    graph, values = _built(op, operands, attributes, n_outputs)
    want = reference.run(graph, values)
    model = valid(cl.onnx.to_model(graph))
    assert [node.name for node in model.graph.node].count("node") == 1
    assert list(model.graph.node[-1].output) == list(graph.outputs)
    if op in ONE_WAY or (op == "Dequantize" and any(node.op_type == "Cast" for node in model.graph.node)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = ReferenceEvaluator(model).run(None, values)
        _close(dict(zip(graph.outputs, found, strict=True)), want, op)
        return
    for info in model.graph.input:  # sums over images import where their number is fixed
        for dim in info.type.tensor_type.shape.dim:
            if dim.HasField("dim_param"):
                dim.dim_value = 2
    again = cl.onnx.import_model(model, batched=False).graph
    _close(reference.run(again, {name: values[name] for name in again.inputs}), want, op)


@pytest.mark.parity
@pytest.mark.parametrize(("op", "operands", "attributes", "n_outputs"), CASES, ids=_ids)
def test_operator_is_that_of_onnx_runtime(op, operands, attributes, n_outputs):
    runtime = pytest.importorskip("onnxruntime")
    graph, values = _built(op, operands, attributes, n_outputs)
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # it warns of nodes that it folds
    session = runtime.InferenceSession(cl.onnx.to_model(graph).SerializeToString(), options)
    found = session.run(None, values)
    _close(dict(zip(graph.outputs, found, strict=True)), reference.run(graph, values), op)


@pytest.mark.parametrize("op", sorted(op for op in OPERATORS if schema_of(op)))
def test_defaults_are_those_of_onnx(op):
    """What a node leaves out stands for the same in a file."""
    for name, described in schema_of(op).attributes.items():
        default = OPERATORS[op].attributes.get(name)
        if default is None or not described.default_value.name:
            continue
        theirs = onnx.helper.get_attribute_value(described.default_value)
        theirs = theirs.decode() if isinstance(theirs, bytes) else theirs
        assert theirs == (np.float32(default) if isinstance(default, float) else default)


def test_mask_of_dropout_lets_through_the_share_it_should():
    runtime = pytest.importorskip("onnxruntime")
    graph, _ = _built("DropoutMask", [(F, N, 1000), ("int64", 2)], {"ratio": 0.25}, 1)
    session = runtime.InferenceSession(cl.onnx.to_model(graph).SerializeToString())
    (mask,) = session.run(None, {"t0": np.zeros((4, 1000), F), "t1": np.zeros(2, np.int64)})
    assert abs(mask.mean() - 0.75) < 0.05


def test_winner_is_the_first_maximum():
    graph, _ = _built("MaxPoolOffset", [(F, N, 1, 3, 3)], {"kernel_shape": (3, 3)}, 1)
    x = np.array([[0, 1, 0], [1, 1, 0], [0, 0, 1]], F).reshape(1, 1, 3, 3)
    (found,) = ReferenceEvaluator(cl.onnx.to_model(graph)).run(None, {"t0": x})
    assert found.item() == reference.run(graph, {"t0": x})["y0"].item() == 1


# -- what has no form --------------------------------------------------------------------------------------------------


def test_type_that_onnx_does_not_take_is_refused():
    graph, _ = _built("Neg", [("uint8", N, 3)], {}, 1)
    assert "uint8" not in types_of("Neg", 0)
    with pytest.raises(UnsupportedError, match=r"node 'node' \(Neg\): ONNX's Neg takes .*int8.* 't0' is uint8"):
        cl.onnx.to_model(graph)


def test_operator_without_a_form_is_refused(monkeypatch):
    graph, _ = _built("Expm1", [(F, N, 3)], {}, 1)
    monkeypatch.delitem(FORMS, "Expm1")
    with pytest.raises(UnsupportedError, match=r"node 'node' \(Expm1\): it has no form in ONNX"):
        cl.onnx.to_model(graph)


def test_pool_whose_windows_onnx_counts_otherwise_is_refused():
    graph, _ = _built("AveragePool", [(F, N, 3, 4, 5)], {**MIXED, "count_include_pad": 1}, 1)
    with pytest.raises(
        UnsupportedError, match=r"node 'node' \(AveragePool\): `ceil_mode` \(=1\) with `count_include_pad`"
    ):
        cl.onnx.to_model(graph)


def test_numbers_that_no_float32_is_stand_beside_the_node():
    graph, _ = _built("LeakyRelu", [(F, N, 3)], {"alpha": 0.1}, 1)
    (node,) = cl.onnx.to_model(graph).graph.node
    assert [(a.name, a.f) for a in node.attribute] == [("alpha", np.float32(0.1))]
    assert [(entry.key, entry.value) for entry in node.metadata_props] == [("convlens.attributes", '{"alpha":0.1}')]
    assert attribute(graph.nodes[0], "alpha") == 0.1
