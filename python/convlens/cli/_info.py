"""`convlens info`: what this build and processor have, or what a network is."""

from __future__ import annotations

import argparse
import platform
from collections import Counter
from pathlib import Path

import numpy as np

from .. import UnsupportedError, __version__
from ..graph import Graph
from ..nn import Network
from ..nn._records import in_bytes, table
from ..transform import TABLES, RuleTable
from ._common import Commands, add_layout, command, load_network


def add_to(commands: Commands) -> None:
    """Register the command."""
    parser = command(
        commands,
        "info",
        help="describe this installation, or a network",
        description="Describe this installation: version, kernels chosen and why, threads. With MODEL, describe a "
        "network before anything runs: every layer with its shape, parameters, receptive field (size, stride and start "
        "in pixels of the input) and arithmetic; which operators run and which have a rule for each kind of gradient; "
        "the memory that a forward pass takes, the algorithm of each convolution, and the concatenations in place.",
        example="convlens info model.onnx",
    )
    parser.add_argument(
        "net", metavar="MODEL", nargs="?", help="a network: .onnx (extra [onnx]), or what net.save wrote"
    )
    parser.add_argument("--layers", action="store_true", help="the table of layers alone")
    add_layout(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the description; 1 if the network has an operator that does not run."""
    if options.net is None:
        print(_installation())
        return 0
    try:
        net = load_network(options.net, options.layout)
    except UnsupportedError:
        if Path(options.net).suffix == ".onnx":
            print(_imports(options.net))
        raise
    if options.layers:
        print(net.summary())
        return 0
    print(net)
    for note in net.notes:
        print(f"note: {note}")
    print(f"{net.summary()}\n{_forward(net)}\n\n{_rules(net.graph)}")
    return 0


def _forward(net: Network) -> str:
    """What a forward pass takes beside the file, and the algorithm of every convolution."""
    from ..program import Entry
    from ..program import compile as compile_program

    entry = Entry(inputs=tuple(net.graph.inputs), outputs=net.graph.outputs)
    program = compile_program(net.graph, {"forward": entry}, dtype=net.dtype, winograd=net.winograd, memory=net.memory)
    memory = f"memory {in_bytes(program.arena_bytes(1, 1))} to run one image on one thread, beside the weights"
    tables = [
        table(heads, [(each.node, each.problem, each.algorithm) for each in made])
        for heads, made in (
            (("convolution", "problem", "algorithm"), program.convolutions),
            (("concatenation", "sizes", "how"), program.concatenations),
        )
        if made
    ]
    return "\n\n".join([memory, *tables])


def _rules(graph: Graph) -> str:
    """The operators of a graph, and which tables of rules have them."""
    counts = Counter(node.op for node in graph.nodes)
    rows = [(op, str(count), *(_cell(rules, op) for rules in TABLES)) for op, count in counts.items()]
    return table(("operator", "nodes", *(rules.name for rules in TABLES)), rows, right=(1,))


def _cell(rules: RuleTable, op: str) -> str:
    if op not in rules:
        return "no rule"
    return "extension" if op in rules.notes else "rule"


def _imports(path: str) -> str:
    """The operators of a file that does not import as a whole."""
    from ..onnx import operators, supported

    known = supported()
    rows = [(op, str(count), "yes" if op in known else "no") for op, count in operators(path).items()]
    return table(("operator", "nodes", "imports"), rows, right=(1,))


def _installation() -> str:
    from .._core import info

    found = info()
    lines = [
        f"convlens {__version__} (core {found['version']}), Python {platform.python_version()}, NumPy {np.__version__}",
        f"kernels  {found['isa'] or 'none'}: {found['reason']}",
    ]
    for isa in found["isas"]:
        state = f"lacks {isa['lacking']}" if isa["lacking"] else "runs here"
        lines.append(f"         {isa['name']:<10} {state:<24} {isa['description']}")
    features = " ".join(name for name, there in found["cpu"].items() if there)
    lines += [
        f"cpu      {platform.machine()}: {features}",
        f"threads  {found['threads']}" + ("" if found["openmp"] else ", built without OpenMP"),
        f"float64  {'yes' if found['float64'] else 'left out of this build'}",
    ]
    return "\n".join(lines)
