"""What is timed: a problem string or a network, with its arrays, and as a graph for libraries that take one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...graph import BATCH, ConvProblem, Graph, GraphBuilder, PoolProblem, parse_problem, problem_of
from ...nn import Network
from .._common import load_network
from . import numpy_best
from ._networks import NETWORKS

Array = npt.NDArray[Any]
#: Networks in files.
_ENDINGS = (".npz", ".safetensors", ".onnx")


@dataclass(frozen=True)
class Case:
    """One thing to time.

    ``graph`` is one node for a problem, its weights constants; ``feeds`` are its inputs. ``arrays`` are what eager
    functions take: ``x``, ``weight``, ``grad_output``, ``indices``. ``work`` is floating-point operations, or bytes
    for pools.
    """

    title: str
    group: str
    n: int
    graph: Graph
    feeds: Mapping[str, Array]
    arrays: Mapping[str, Array]
    work: int
    unit: str
    problem: ConvProblem | PoolProblem | None = None
    network: Network | None = None

    @property
    def dtype(self) -> str:
        """float32 or float64."""
        return next(iter(self.graph.inputs.values())).dtype

    @property
    def keywords(self) -> dict[str, Any]:
        """Stride, padding and, for a convolution, dilation and groups, as :mod:`convlens.ops` takes them."""
        p = self.problem
        if p is None:
            return {}
        top, left, bottom, right = p.pads
        found: dict[str, Any] = {"stride": p.stride, "padding": ((top, bottom), (left, right))}
        if isinstance(p, ConvProblem):
            found |= {"dilation": p.dilation, "groups": p.groups}
        return found


def case_of(text: str, n: int | None = None) -> Case:
    """Make a case from what the command line was given; equal texts give equal bits in every process.

    Parameters
    ----------
    text : str
        A problem string, the name of a network, or the path of a saved one.
    n : int, optional
        Images; by default the problem's own number, 1 for a network.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if text in NETWORKS:
        return _network_case(text, NETWORKS[text](), n or 1)
    if text.endswith(_ENDINGS):
        return _network_case(Path(text).stem, load_network(text), n or 1)
    if len(text.split()) < 2:
        raise ValueError(
            f"PROBLEM (={text!r}) must be a problem string such as 'n1 c64 h56 w56 k64 r3 s3 st1 p1 d1 g1 f32 fwd', "
            f"a network (.npz, .safetensors, .onnx), one of the networks {', '.join(NETWORKS)}, or a group"
        )
    problem = parse_problem(text)
    if n is not None:
        problem = replace(problem, n=n)
    problem.window.output_size((problem.h, problem.w))
    return _conv_case(problem) if isinstance(problem, ConvProblem) else _pool_case(problem)


def _conv_case(p: ConvProblem) -> Case:
    if p.c % p.groups or p.k % p.groups:
        raise ValueError(f"problem {str(p)!r}: `c` (={p.c}) and `k` (={p.k}) must be divisible by `g` (={p.groups})")
    kernel = (p.k, p.c // p.groups, p.r, p.s)
    arrays = {
        "x": _normal(0, p.dtype, p.n, p.c, p.h, p.w),
        "weight": _normal(1, p.dtype, *kernel),
        "grad_output": _normal(2, p.dtype, *p.output_shape),
    }
    builder = GraphBuilder()
    attributes = {
        "kernel_shape": kernel[2:],
        "strides": p.stride,
        "pads": p.pads,
        "dilations": p.dilation,
        "group": p.groups,
    }
    if p.direction == "fwd":
        x = builder.input("x", p.dtype, (BATCH, p.c, p.h, p.w))
        y = builder.add("Conv", [x, builder.constant(arrays["weight"], "weight")], attributes, name="y")
    else:
        dy = builder.input("grad_output", p.dtype, (BATCH, *p.output_shape[1:]))
        if p.direction == "grad_input":
            more = {**attributes, "input_shape": (p.c, p.h, p.w)}
            y = builder.add("ConvGradInput", [dy, builder.constant(arrays["weight"], "weight")], more, name="y")
        else:
            x = builder.input("x", p.dtype, (BATCH, p.c, p.h, p.w))
            y = builder.add("ConvGradWeight", [dy, x], {**attributes, "weight_shape": kernel}, name="y")
    graph = builder.build([y])
    depthwise = "depthwise" if p.groups == p.c > 1 else "conv"
    feeds = {name: arrays[name] for name in graph.inputs}
    return Case(str(p), f"{depthwise} {p.direction}", p.n, graph, feeds, arrays, p.flops, "GFLOP/s", problem=p)


def _pool_case(p: PoolProblem) -> Case:
    p.window.check_covers((p.h, p.w))
    x = _normal(0, p.dtype, p.n, p.c, p.h, p.w)
    arrays = {"x": x, "grad_output": _normal(2, p.dtype, *p.output_shape)}
    attributes: dict[str, Any] = {"kernel_shape": (p.r, p.s), "strides": p.stride, "pads": p.pads}
    if p.kind == "avg":
        attributes["count_include_pad"] = 1
    name = {"max": "MaxPool", "avg": "AveragePool"}[p.kind]
    builder = GraphBuilder()
    if p.direction == "fwd":
        inputs = [builder.input("x", p.dtype, (BATCH, p.c, p.h, p.w))]
    else:
        name += "Grad"
        attributes["input_shape"] = (p.c, p.h, p.w)
        inputs = [builder.input("grad_output", p.dtype, (BATCH, *p.output_shape[1:]))]
        if p.kind == "max":
            sides = ((p.pads[0], p.pads[2]), (p.pads[1], p.pads[3]))
            indices = numpy_best.max_pool2d_indices(x, (p.r, p.s), stride=p.stride, padding=sides)
            arrays |= {"indices": indices, "offset": _offset(indices, p)}
            inputs.append(builder.input("offset", "uint8", (BATCH, *p.output_shape[1:])))
    graph = builder.build([builder.add(name, inputs, attributes, name="y")])
    feeds = {given: arrays[given] for given in graph.inputs}
    return Case(str(p), f"{p.kind} pool {p.direction}", p.n, graph, feeds, arrays, p.nbytes, "GB/s", problem=p)


def _network_case(name: str, network: Network, n: int) -> Case:
    x = np.random.default_rng(0).random((n, *network.input_shape)).astype(network.dtype)
    graph = network.graph
    work = 0
    for node in graph.nodes:
        if node.op == "Conv":
            work += problem_of(node, graph.types, n).flops
        elif node.op == "Gemm":
            work += 2 * n * math.prod(int(size) for size in graph.types[node.inputs[1]].shape)
    feeds = {network.input_name: x}
    return Case(f"n{n} {name}", "network", n, graph, feeds, {"x": x}, work, "GFLOP/s", network=network)


def _offset(indices: Array, p: PoolProblem) -> Array:
    """Winners as places in their windows, from their places in the image."""
    rows, columns = np.divmod(indices, p.w)
    i = rows - (np.arange(indices.shape[2])[:, None] * p.stride[0] - p.pads[0])
    j = columns - (np.arange(indices.shape[3]) * p.stride[1] - p.pads[1])
    return (i * p.s + j).astype(np.uint8)


def _normal(seed: int, dtype: str, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32).astype(dtype)
