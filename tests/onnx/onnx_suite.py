"""The onnx package's backend tests, run by convlens: node tests, and the files that PyTorch's exporter once made."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx.backend.test.case.node import collect_testcases
from onnx.backend.test.loader import load_model_tests

import convlens.onnx
import onnx
from convlens import reference
from convlens.onnx._importer import Importer
from convlens.onnx._registry import FOLDS
from convlens.program import Entry, Weights
from convlens.program import compile as compile_program
from onnx import numpy_helper

SHIPPED = ("pytorch-converted", "pytorch-operator", "simple")


@dataclass(frozen=True)
class Case:
    """A model of the suite with what it must answer."""

    kind: str
    name: str
    model: Any
    data: list[tuple[list[np.ndarray], list[np.ndarray]]]
    rtol: float
    atol: float

    @property
    def operators(self) -> set[str]:
        return {node.op_type for node in self.model.graph.node}


def cases() -> list[Case]:
    """Every case whose operators have a handler or a fold, that newer operators are not written out in."""
    known = {*convlens.onnx.supported(), *FOLDS}
    found = [*_nodes(), *(case for kind in SHIPPED for case in _files(kind))]
    return [case for case in found if case.operators <= known and "_expanded" not in case.name]


def _nodes() -> list[Case]:
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite's own casts overflow
        collected = collect_testcases(None)
    for case in collected:
        values = [value for given, wanted in case.data_sets for value in (*given, *wanted)]
        if any(isinstance(value, (list, dict, type(None))) for value in values):
            continue  # sequences, maps and optional values
        data = [([_array(v) for v in given], [_array(v) for v in wanted]) for given, wanted in case.data_sets]
        found.append(Case("node", case.name, case.model, data, case.rtol, case.atol))
    return found


def _files(kind: str) -> list[Case]:
    found = []
    for case in load_model_tests(kind=kind):
        folder = Path(case.model_dir)
        model = onnx.load(folder / "model.onnx")
        sets = sorted(folder.glob("test_data_set*"))
        if any(not info.type.HasField("tensor_type") for info in (*model.graph.input, *model.graph.output)):
            continue  # sequences and maps
        data = [(_stored(path, "input"), _stored(path, "output")) for path in sets]
        found.append(Case(kind, case.name, model, data, case.rtol, case.atol))
    return found


def _stored(folder: Path, stem: str) -> list[np.ndarray]:
    count = len(list(folder.glob(f"{stem}_*.pb")))
    texts = ((folder / f"{stem}_{i}.pb").read_bytes() for i in range(count))
    return [numpy_helper.to_array(onnx.TensorProto.FromString(text)) for text in texts]


def _array(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def run(case: Case) -> str:
    """Run a case in the first way that it can be, compare, and return which way that was.

    ``batched``: every input has images along its first axis, and the kernels run. ``weights``: the first input alone
    has, the others are weights, axes, sizes. ``plain``: no axis is the batch, and the interpreter runs. ``folded``: the
    importer itself computes the answer.
    """
    errors = []
    for way in ("batched", "weights", "plain", "plain weights", "folded"):
        try:
            for given, wanted in case.data:
                got = _run(case.model, given, way)
                for ours, theirs in zip(got, wanted, strict=True):
                    theirs = _narrow(theirs)
                    assert np.shape(ours) == theirs.shape
                    rtol, atol = max(case.rtol, 1e-3), max(case.atol, 1e-6)  # the suite's own, but for half precision
                    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)
        except Exception as error:  # the next way may do; what none does is told
            errors.append(f"{way}: {type(error).__name__}: {error}")
        else:
            return way
    raise AssertionError("\n".join(errors))


def _run(model: Any, given: list[np.ndarray], way: str) -> list[np.ndarray]:
    stored = {tensor.name for tensor in model.graph.initializer}
    names = [info.name for info in model.graph.input if info.name not in stored]
    feeds = dict(zip(names, given, strict=True))
    if "weights" in way or way == "folded":
        model = _with_weights(model, {name: feeds[name] for name in (names if way == "folded" else names[1:])})
    wanted = [info.name for info in model.graph.output]
    if way == "folded":
        importer = Importer(model, None, {}, False)
        importer.convert()
        values = [importer.value(name) for name in wanted]
        assert all(value is not None for value in values)
        return [_narrow(value) for value in values]
    graph = convlens.onnx.import_model(model, batched=not way.startswith("plain")).graph
    fed = {name: _given(array, graph.inputs[name].dtype) for name, array in feeds.items() if name in graph.inputs}
    if way.startswith("plain"):
        results = reference.run(graph, fed)
    else:
        program = compile_program(graph, {"forward": Entry(inputs=tuple(graph.inputs), outputs=graph.outputs)})
        results = program.run("forward", fed, Weights(graph.constants))
    return [results[name] for name in wanted]


def _with_weights(model: Any, weights: dict[str, np.ndarray]) -> Any:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    changed.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return changed


def _given(array: np.ndarray, dtype: str) -> np.ndarray:
    """As an input takes it: bytes as floats where the importer said so."""
    narrow = _narrow(array)
    return narrow.astype(dtype) if narrow.dtype.itemsize == 1 and dtype == "float32" else narrow


def _narrow(array: Any) -> np.ndarray:
    """As convlens has it: float32 for every floating-point type."""
    array = np.asarray(array)
    other = array.dtype.name in ("float16", "float64", "bfloat16")
    with np.errstate(over="ignore"):
        return array.astype(np.float32) if other else array
