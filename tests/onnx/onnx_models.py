"""Small models, built with onnx.helper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import onnx
from convlens.graph import Graph
from onnx import ModelProto, TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def node(op: str, inputs: str, outputs: str, name: str = "", **attributes: Any) -> Any:
    """A node; "x w" names two tensors, "-" an absent one."""
    split = [["" if part == "-" else part for part in names.split()] for names in (inputs, outputs)]
    return helper.make_node(op, *split, name=name, **attributes)


def model(
    nodes: Sequence[Any],
    shape: Sequence[Any] = ("batch", 2, 6, 5),
    *,
    weights: Mapping[str, Any] | None = None,
    outputs: Sequence[str] = ("y",),
    inputs: Mapping[str, Sequence[Any]] | None = None,
    opset: int = 21,
    kind: int = FLOAT,
    listed: bool = False,
) -> ModelProto:
    """A model over the input "x"; `listed` repeats the initialisers as inputs, as IR version 3 had it."""
    stored = [
        w if isinstance(w, TensorProto) else numpy_helper.from_array(np.asarray(w)) for w in (weights or {}).values()
    ]
    for tensor, name in zip(stored, weights or {}, strict=True):
        tensor.name = name
    given = [helper.make_tensor_value_info("x", kind, shape)]
    given += [helper.make_tensor_value_info(name, FLOAT, sizes) for name, sizes in (inputs or {}).items()]
    if listed:
        given += [helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in stored]
    ends = [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "graph", given, ends, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    """Standard normal float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def reference(made: ModelProto, x: np.ndarray) -> list[np.ndarray]:
    """What the onnx package's own evaluator answers."""
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(made).run(None, {"x": x})


def valid(made: ModelProto | str) -> Any:
    """The model, or the path of one, after every check that the onnx package has."""
    onnx.checker.check_model(made, full_check=True)
    if not isinstance(made, str):
        onnx.shape_inference.infer_shapes(made, check_type=True, strict_mode=True, data_prop=True)
    return made


def unchanged(first: Graph, second: Graph) -> None:
    """Check that two graphs are one: names, operators, attributes, types, and constants to the bit."""
    assert second.nodes == first.nodes
    assert (dict(second.inputs), second.outputs) == (dict(first.inputs), first.outputs)
    assert dict(second.types) == dict(first.types)
    assert set(second.constants) == set(first.constants)
    for name, array in first.constants.items():
        other = second.constants[name]
        assert (other.dtype, other.shape, other.tobytes()) == (array.dtype, array.shape, array.tobytes())
