"""ONNX Runtime and OpenVINO, each given the case as an ONNX model."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ... import UnsupportedError
from ...graph import BATCH, Graph, TensorType
from ._call import Call, forward_only
from ._case import Case

_OPSET = 21
_PROTO = {"float32": "FLOAT", "float64": "DOUBLE", "int64": "INT64", "int32": "INT32", "bool": "BOOL"}
#: Attributes that ONNX's operators do not have.
_OURS = ("gradient_at_bounds",)


def model(graph: Graph, n: int) -> bytes:
    """The graph as a serialized ONNX model of `n` images: its operators are ONNX's already."""
    from onnx import TensorProto, checker, defs, helper, numpy_helper

    def port(name: str, kind: TensorType) -> Any:
        shape = [n if size == BATCH else int(size) for size in kind.shape]
        return helper.make_tensor_value_info(name, getattr(TensorProto, _PROTO[kind.dtype]), shape)

    nodes = []
    for node in graph.nodes:
        if not defs.has(node.op):
            raise UnsupportedError(f"ONNX has no operator {node.op}")
        attributes = {name: value for name, value in node.attributes.items() if name not in _OURS}
        nodes.append(helper.make_node(node.op, node.inputs, node.outputs, name=node.name, **attributes))
    made = helper.make_graph(
        nodes,
        "case",
        [port(name, kind) for name, kind in graph.inputs.items()],
        [port(name, graph.types[name]) for name in graph.outputs],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in graph.constants.items()],
    )
    proto = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=10)
    checker.check_model(proto)
    return bytes(proto.SerializeToString())


def session_options(threads: int) -> Any:
    """ONNX Runtime's: its threads wait as those of OpenMP do; where they may spin, they stop with the call."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    passive = os.environ.get("OMP_WAIT_POLICY") == "passive"
    options.add_session_config_entry("session.intra_op.allow_spinning", "0" if passive else "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    return options


def make_onnxruntime(case: Case, threads: int) -> Call:
    """Input and output are bound to arrays beforehand."""
    import onnxruntime

    forward_only("ONNX Runtime", case)
    session = onnxruntime.InferenceSession(
        model(case.graph, case.n), session_options(threads), providers=["CPUExecutionProvider"]
    )
    (name,), output = case.graph.inputs, case.graph.outputs[0]
    binding = session.io_binding()
    x = onnxruntime.OrtValue.ortvalue_from_numpy(case.arrays["x"])
    binding.bind_ortvalue_input(name, x)
    shape = [case.n if size == BATCH else int(size) for size in case.graph.types[output].shape]
    y = onnxruntime.OrtValue.ortvalue_from_numpy(np.empty(shape, case.dtype))
    binding.bind_ortvalue_output(output, y)

    def run() -> Any:
        session.run_with_iobinding(binding)
        return y

    return Call(run, lambda value: np.array(value.numpy()), keep=(case, x))


def make_openvino(case: Case, threads: int) -> Call:
    """One stream, for latency, in float32."""
    import openvino

    forward_only("OpenVINO", case)
    if case.dtype != "float32":
        raise UnsupportedError("OpenVINO computes in float32 at most on the CPU")
    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": 1,
    }
    compiled = core.compile_model(core.read_model(model(case.graph, case.n)), "CPU", settings)
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(case.arrays["x"], shared_memory=True))

    def run() -> Any:
        request.infer()
        return request

    return Call(run, lambda done: np.array(done.get_output_tensor().data), keep=case)
