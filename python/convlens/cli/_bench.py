"""`convlens bench`: time one convolution, given as a problem string."""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from ..graph import BATCH, ConvProblem, Graph, GraphBuilder, parse_problem
from ._common import Commands, command

_EXAMPLE = "n1 c64 h56 w56 k64 r3 s3 st1 p1 d1 g1 f32 fwd"


def add_to(commands: Commands) -> None:
    """Register the command."""
    parser = command(
        commands,
        "bench",
        help="time one convolution",
        description="Time one convolution from NumPy array to NumPy array, the conversions of layout included. The "
        "problem says images n, channels c, rows h, columns w, kernels k of r x s, stride st, padding p (one number, "
        "rows,columns or top,left,bottom,right), dilation d, groups g, f32 or f64, and fwd, grad_input or grad_weight.",
        example=f'convlens bench "{_EXAMPLE}"',
    )
    parser.add_argument("problem", metavar="PROBLEM", nargs="?", default=_EXAMPLE, help=f'default: "{_EXAMPLE}"')
    parser.add_argument("--repeat", metavar="COUNT", type=int, default=50, help="timed calls (default: 50)")
    parser.add_argument("--threads", metavar="COUNT", type=int, help="threads (default: what `convlens info` prints)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Time and print."""
    from .._core import get_num_threads, info, set_num_threads
    from ..program import Entry, Weights
    from ..program import compile as compile_program

    problem = parse_problem(options.problem)
    if options.repeat < 1:
        raise ValueError(f"--repeat (={options.repeat}) must be at least 1")
    if options.threads is not None:
        set_num_threads(options.threads)
    graph = _graph(problem)
    entry = Entry(inputs=tuple(graph.inputs), outputs=graph.outputs)
    program = compile_program(graph, {"run": entry}, dtype=problem.dtype)
    weights = Weights(graph.constants)
    rng = np.random.default_rng(0)
    inputs = {
        name: rng.standard_normal((problem.n, *kind.per_image)).astype(problem.dtype)
        for name, kind in graph.inputs.items()
    }
    workspace = program.workspace(problem.n)
    for _ in range(3):
        workspace.run("run", inputs, weights)
    times = []
    for _ in range(options.repeat):
        begun = time.perf_counter()
        workspace.run("run", inputs, weights)
        times.append(time.perf_counter() - begun)
    workspace.release()
    median = statistics.median(times)
    print(f"{problem}: {median * 1e3:.4g} ms, {problem.flops / median / 1e9:.4g} GFLOP/s")
    print(
        f"median of {len(times)}, fastest {min(times) * 1e3:.4g} ms, slowest {max(times) * 1e3:.4g} ms; "
        f"{get_num_threads()} thread(s), {info()['isa']}"
    )
    return 0


def _graph(problem: ConvProblem) -> Graph:
    """The problem as a graph of one node over random weights."""
    builder = GraphBuilder()
    kernel = (problem.k, problem.c // problem.groups, problem.r, problem.s)
    attributes = {
        "kernel_shape": kernel[2:],
        "strides": problem.stride,
        "pads": problem.pads,
        "dilations": problem.dilation,
        "group": problem.groups,
    }
    image = (problem.c, problem.h, problem.w)
    weight = np.random.default_rng(1).standard_normal(kernel).astype(problem.dtype)
    if problem.direction == "fwd":
        x = builder.input("x", problem.dtype, (BATCH, *image))
        y = builder.add("Conv", [x, builder.constant(weight, "weight")], attributes, name="y")
    else:
        dy = builder.input("dy", problem.dtype, (BATCH, *problem.output_shape[1:]))
        if problem.direction == "grad_input":
            more = {**attributes, "input_shape": image}
            y = builder.add("ConvGradInput", [dy, builder.constant(weight, "weight")], more, name="y")
        else:
            x = builder.input("x", problem.dtype, (BATCH, *image))
            y = builder.add("ConvGradWeight", [dy, x], {**attributes, "weight_shape": kernel}, name="y")
    return builder.build([y])
