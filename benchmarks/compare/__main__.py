"""The command line: choose cases, build what they need, measure, write the tables."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from convlens import UnsupportedError
from convlens.cli.bench import WAITS, Worker, WorkerError

from . import tables
from .cases import Case, cases, select
from .made import Library, libraries
from .measure import Settings, Stopped, measure
from .networks import builder, onnx_file
from .records import Records, conditions, read

_WAIT = (
    "how idle threads wait: active (default), as each library ships, and a pause after every turn in which they fall "
    "asleep; passive: those of OpenMP and BLAS sleep at once, those of OpenVINO cannot be told to"
)
_EXAMPLES = """
  python -m benchmarks.compare "forward resnet*" "explain * saliency"          a part of the list
  python -m benchmarks.compare --resume --limit 50                             fifty seconds more of what is left
  python -m benchmarks.compare --tables --write docs/performance.md            the tables of what was measured
"""


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description="Time convlens beside every peer that is installed, each in a process of its own.",
        epilog=f"examples:{_EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("patterns", metavar="PATTERN", nargs="*", help="cases whose key holds it, * and ? as wildcards")
    parser.add_argument("--list", action="store_true", help="print the keys of the cases and end")
    parser.add_argument("--peers", metavar="NAME", nargs="*", help="columns beside convlens; all installed by default")
    parser.add_argument("--rounds", type=int, default=5, help="of each case (default: 5)")
    parser.add_argument("--seconds", type=float, default=10.0, help="that a case's rounds may take (default: 10)")
    parser.add_argument("--limit", type=float, default=float("inf"), help="seconds; no round begins that would pass it")
    parser.add_argument("--wait", choices=WAITS, default="active", help=_WAIT)
    parser.add_argument("--file", type=Path, default=Path("build/compare.jsonl"), help="where every time is kept")
    parser.add_argument("--resume", action="store_true", help="go on with the file where it ended")
    parser.add_argument("--folder", type=Path, default=Path(".benchmarks/networks"), help="of the networks' files")
    parser.add_argument("--tables", action="store_true", help="measure nothing: write or print the tables of the file")
    parser.add_argument("--write", metavar="PAGE", type=Path, help="the page whose section to replace")
    options = parser.parse_args(arguments)
    for name in ("rounds", "seconds", "limit"):
        if getattr(options, name) <= 0:
            parser.error(f"--{name} (={getattr(options, name)}) must be above 0")
    return options


def _chosen(peers: list[str] | None) -> Callable[[str], Mapping[str, Library]]:
    """The libraries of a group that are installed and asked for; convlens always."""

    def found(group: str) -> dict[str, Library]:
        return {
            name: row
            for name, row in libraries(group).items()
            if not row.missing and (peers is None or name == tables.OURS or name in peers)
        }

    return found


def _built(chosen: list[Case], folder: Path) -> list[Case]:
    """Build the networks whose files are missing, in a process that ends; without PyTorch leave their cases out."""
    names = dict.fromkeys(case.subject for case in chosen if case.network)
    absent = set()
    for name in names:
        if onnx_file(folder, name).exists():
            continue
        print(f"{name}: build {onnx_file(folder, name)}", flush=True)
        try:
            with Worker("torch", builder) as worker:
                worker.ask(folder, name)
        except (UnsupportedError, WorkerError) as error:
            print(f"{name}: left out: {str(error).splitlines()[0]}")
            absent.add(name)
    return [case for case in chosen if not case.network or case.subject not in absent]


def _measure(options: argparse.Namespace, chosen: list[Case]) -> int:
    groups = dict.fromkeys(case.group for case in chosen)
    known = {name: row for group in groups for name, row in libraries(group).items()}
    for name in options.peers or ():
        if name not in known:
            raise ValueError(
                f"--peers (={name!r}) must be of {', '.join(name for name in known if name != tables.OURS)}"
            )
    for name, row in known.items():
        if row.missing:
            print(f"{name}: left out: {row.missing} is not installed")
    records = Records(options.file, conditions(known.values(), options.wait), resume=options.resume)
    settings = Settings(options.rounds, options.seconds, options.limit, options.wait)
    say = partial(print, flush=True)
    try:
        measure(_built(chosen, options.folder), _chosen(options.peers), records, options.folder, settings, say)
    except Stopped:
        print(f"stopped at --limit (={options.limit:g}) seconds; --resume goes on")
        return 3
    except KeyboardInterrupt:
        print(f"interrupted; {options.file} keeps what was measured, --resume goes on")
        return 130
    return 0


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    try:
        chosen = select(options.patterns)
        if options.list:
            print("\n".join(case.key for case in chosen))
            return 0
        code = 0 if options.tables else _measure(options, chosen)
        runs, results = read(options.file)
    except (ValueError, OSError, WorkerError) as error:
        print(f"benchmarks.compare: error: {error}", file=sys.stderr)
        return 1
    order = {case.key: i for i, case in enumerate(cases())}
    keys = sorted((key for key in results if key in order), key=order.__getitem__)
    wanted = {case.key for case in chosen}
    made = tables.section(runs, {key: results[key] for key in keys if key in wanted}, libraries)
    if options.write is not None:
        options.write.write_text(tables.put(options.write.read_text(encoding="utf-8"), made), encoding="utf-8")
    else:
        print(made)
    return code


if __name__ == "__main__":
    sys.exit(main())
