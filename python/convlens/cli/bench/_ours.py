"""convlens in its two ways: a Program with packed weights, and the eager kernels."""

from __future__ import annotations

from ... import UnsupportedError
from ._call import Array, Call, eager
from ._case import Case


def layer(case: Case, threads: int) -> Call:
    """A network, or a problem as a Program of one operator, its weights packed beforehand."""
    from ...ops import set_num_threads
    from ...program import Entry, ReplayTable, Weights, replayed_by
    from ...program import compile as compile_program

    set_num_threads(threads)
    if case.network is not None:
        net, x = case.network, case.arrays["x"]
        return Call(lambda: net(x))
    graph, feeds = case.graph, tuple(case.feeds.values())
    entry = Entry(inputs=tuple(graph.inputs), outputs=graph.outputs)
    program = compile_program(graph, {"run": entry}, dtype=case.dtype)
    weights = Weights(graph.constants)
    output = graph.outputs[0]

    @replayed_by(ReplayTable(1))  # as the calls of a network are
    def run(first: Array, second: Array | None = None) -> Array:
        given = (first,) if second is None else (first, second)
        return program.run("run", dict(zip(graph.inputs, given, strict=True)), weights)[output]

    return Call(lambda: run(*feeds))


def ops(case: Case, threads: int) -> Call:
    """`convlens.ops` on NumPy arrays."""
    from ... import ops as library

    if case.problem is None:
        raise UnsupportedError("a network runs as a Program")
    library.set_num_threads(threads)
    return Call(eager(library, case))
