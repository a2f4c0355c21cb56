"""Parses arguments, runs one command, turns what it raises into one line and an exit code."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from .. import UnsupportedError, __version__
from . import _bench, _compile, _demo, _explain, _info
from ._common import one_line

_COMMANDS = (_demo, _info, _explain, _compile, _bench)
#: What a user can act on; anything else is a defect and shows its traceback.
_EXPECTED = (ValueError, TypeError, UnsupportedError, OSError, ImportError, MemoryError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default ``sys.argv[1:]``.

    Returns
    -------
    int
        0 done, 1 an error that its one line explains, 2 wrong usage, 130 interrupted.
    """
    _ready_streams()
    parser = argparse.ArgumentParser(
        prog="convlens",
        description="Convolutional networks on the CPU, and why they answered as they did.",
        epilog="exit codes: 0 done, 1 an error, 2 wrong usage, 130 interrupted. "
        "`convlens COMMAND --help` says more about a command.",
    )
    parser.add_argument("--version", action="version", version=f"convlens {__version__}")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_to(commands)
    options = parser.parse_args(arguments)
    try:
        code = int(options.run(options))
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("convlens: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of a pipe went away; what is still buffered has nowhere to go.
        sys.stderr.close()
        return 1
    except _EXPECTED as error:
        if options.traceback:
            raise
        print(f"convlens: error: {one_line(error)}", file=sys.stderr)
        return 1
    return code


def _ready_streams() -> None:
    """Streams that are closed take everything, and characters that a stream does not know stop nothing."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - to the process's end
        elif isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
