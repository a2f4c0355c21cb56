"""`convlens info`: what this build and processor have, or what a network is."""

from __future__ import annotations

import argparse
import platform

import numpy as np

from .. import __version__
from ._common import Commands, command, load_network


def add_to(commands: Commands) -> None:
    """Register the command."""
    parser = command(
        commands,
        "info",
        help="describe this installation, or a network",
        description="Describe this installation: version, kernels chosen and why, threads. With NET, describe a "
        "network.",
        example="convlens info digits.npz --layers",
    )
    parser.add_argument("net", metavar="NET", nargs="?", help="a network: .onnx (extra [onnx]), or what net.save wrote")
    parser.add_argument("--layers", action="store_true", help="list every layer: shape, parameters, receptive field")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the description."""
    if options.net is None:
        if options.layers:
            raise ValueError("--layers needs NET, the network whose layers to list")
        print(_installation())
        return 0
    net = load_network(options.net)
    print(net)
    for note in net.notes:
        print(f"note: {note}")
    print(net.summary() if options.layers else "\n".join(net.summary().splitlines()[-3:]))
    return 0


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
