"""Compare a Program with the interpreter of graphs."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

from convlens import _core, reference
from convlens.graph import Graph
from convlens.program import Entry, Program, Weights, compile


def random_inputs(graph: Graph, n: int, dtype: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Normal numbers for every input; labels are class 0 to 2."""
    rng = np.random.default_rng(seed)
    made = {}
    for name, kind in graph.inputs.items():
        shape = tuple(n if d == "N" else int(d) for d in kind.shape)
        if kind.dtype == "int64":
            made[name] = rng.integers(0, 3, shape)
        elif kind.dtype == "bool":
            made[name] = rng.random(shape) > 0.5
        else:
            made[name] = rng.standard_normal(shape).astype(dtype)
    return made


def run_program(
    program: Program,
    entries: Mapping[str, Entry],
    inputs: Mapping[str, np.ndarray],
    weights: Weights,
    n: int,
    **options,
) -> dict[str, np.ndarray]:
    """All entries in order, in one workspace."""
    results: dict[str, np.ndarray] = {}
    with program.workspace(n) as workspace:
        for name, entry in entries.items():
            results |= workspace.run(name, {i: inputs[i] for i in entry.inputs}, weights, **options)
    return results


def check(
    graph: Graph,
    entries: Mapping[str, Entry] | None = None,
    n: int = 3,
    dtypes: tuple[str, ...] = ("float32", "float64"),
    inputs: Mapping[str, np.ndarray] | None = None,
    winograd: bool | str = True,
    memory: str = "fast",
) -> Program:
    """Every output within rounding of the oracle's in float64: 1e-10 of the largest in float64, 2e-5 in float32."""
    entries = entries or {"run": Entry(tuple(graph.inputs), graph.outputs)}
    program = None
    for dtype in dtypes:
        given = inputs or random_inputs(graph, n, dtype)
        program = compile(graph, entries, dtype=dtype, winograd=winograd, memory=memory)
        given = {k: v.astype(dtype) if v.dtype.kind == "f" else v for k, v in given.items()}
        results = run_program(program, entries, given, Weights(graph.constants), n)
        wide = {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in given.items()}
        expected = reference.run(graph, wide, list(results), dtype="float64")
        for name, value in results.items():
            close(value, expected[name], dtype, name)
    assert program is not None
    return program


def close(value: np.ndarray, expected: np.ndarray, dtype: str, name: str = "") -> None:
    """Shapes are equal and no element is further off than `dtype` explains."""
    assert value.shape == expected.shape, (name, value.shape, expected.shape)
    if value.dtype.kind != "f":
        np.testing.assert_array_equal(value, expected, err_msg=name)
        return
    assert value.dtype == dtype
    scale = float(np.max(np.abs(expected[np.isfinite(expected)]), initial=1e-3))
    limit = scale * (2e-5 if dtype == "float32" else 1e-10)
    np.testing.assert_allclose(value, expected, rtol=0, atol=limit, err_msg=name)


def instructions(program: Program, graph: Graph) -> list[str]:
    """The ops of a compiled file: section 1, 16 bytes each, the number first."""
    data = program.to_bytes(Weights(graph.constants))
    start, size = struct.unpack_from("<QQ", data, 56 + 16)
    names = {number: name for name, number in _core.op_codes().items()}
    return [names[struct.unpack_from("<H", data, at)[0]] for at in range(start, start + size, 16)]
