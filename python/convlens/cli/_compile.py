"""`convlens compile`: a network and its explanations as one file that runs without Python."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..nn._npz import replacing
from ..nn._records import in_bytes
from ._common import Commands, command, load_network, names


def add_to(commands: Commands) -> None:
    """Register the command."""
    parser = command(
        commands,
        "compile",
        help="write a network with its explanations as a file that runs from C",
        description="Write a network, and the explanations asked for, as one .cvl file. A C program opens it with "
        "convlens.h; no Python is needed there. See examples/c.",
        example="convlens compile digits.npz --explain saliency,grad_cam --out digits.cvl",
    )
    parser.add_argument("net", metavar="NET", help="a network: .onnx (extra [onnx]), or what net.save wrote")
    parser.add_argument(
        "--explain",
        metavar="METHODS",
        type=names,
        default=[],
        help="methods to compile in, with commas between; those that are one program: " + ", ".join(_programs()),
    )
    parser.add_argument("--layer", metavar="NAME", help="the layer of grad_cam; default: chosen, and printed")
    parser.add_argument("--out", metavar="FILE", help="where to write; default: NET with the ending .cvl")
    parser.add_argument(
        "--memory",
        choices=("fast", "low"),
        default="fast",
        help="low: no weights transformed beforehand, for a smaller file at up to 1.3 times the time",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compile, write, and say what is in the file."""
    from ..explain import graph_of
    from ..program import Entry
    from ..program import compile as compile_program

    net = load_network(options.net, memory=options.memory)
    out = Path(options.out or Path(options.net).with_suffix(".cvl"))
    if options.explain:
        graph, entries = graph_of(net, options.explain, layer=options.layer)
    else:
        if options.layer:
            raise ValueError("--layer belongs to --explain grad_cam")
        graph = net.graph
        entries = {"forward": Entry(inputs=tuple(net.graph.inputs), outputs=net.graph.outputs)}
    program = compile_program(graph, entries, dtype=net.dtype, memory=net.memory)
    data = program.to_bytes(net.weights)
    with replacing(out) as file:
        file.write(data)
    print(f"{out}: {in_bytes(len(data))}, {in_bytes(program.arena_bytes(1, 1))} of memory to run one image")
    for name, entry in entries.items():
        print(f"  {name}: {_ports(graph.types, entry.inputs)} -> {_ports(graph.types, entry.outputs)}")
    return 0


def _ports(types: object, tensors: tuple[str, ...]) -> str:
    return ", ".join(f"{name} {types[name]}" for name in tensors)  # type: ignore[index]


def _programs() -> list[str]:
    from ..explain import methods

    return [name for name, row in methods().items() if row.program is not None]
