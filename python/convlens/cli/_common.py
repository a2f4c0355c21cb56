"""What several commands share."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from .._load import load
from ..nn import Network

Commands = Any  # argparse keeps the type of its subparsers private


def command(commands: Commands, name: str, *, help: str, description: str, example: str) -> argparse.ArgumentParser:
    """Add one command with an example under its help."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=textwrap.fill(description, 100),
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def load_network(path: str, layout: str | None = None, memory: str = "fast") -> Network:
    """Read NET of the command line."""
    return load(path, layout=layout, memory=memory)


def add_layout(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """The option of :func:`load_network`."""
    parser.add_argument(
        "--layout",
        choices=("NCHW", "NHWC"),
        help="where the channels of an ONNX file's input are (default: as the file suggests; info says it)",
    )


def names(text: str) -> list[str]:
    """Split a list given as a,b,c."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    if not found:
        raise argparse.ArgumentTypeError("give one name, or several with commas between")
    return found


def one_line(error: BaseException) -> str:
    """What an error says, for people."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    text = " ".join(str(error).split())
    return text or type(error).__name__
