"""`convlens bench`: time kernels and networks beside NumPy's best and every peer that is installed."""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ._common import Commands, command
from .bench import LIBRARIES, NETWORKS, OURS, WAITS, Result, case_of, convolutions, machine, measure, pools

_EXAMPLE = "n1 c64 h56 w56 k64 r3 s3 st1 p1 d1 g1 f32 fwd"
#: What PROBLEM may be beside problem strings and networks.
_GROUPS: dict[str, Callable[[], list[str]]] = {
    "fwd": lambda: convolutions("fwd"),
    "grad_input": lambda: convolutions("grad_input"),
    "grad_weight": lambda: convolutions("grad_weight"),
    "pools": lambda: [*pools("fwd"), *pools("grad_input")],
    "networks": lambda: list(NETWORKS),
}


def add_to(commands: Commands) -> None:
    """Register the command."""
    parser = command(
        commands,
        "bench",
        help="time kernels and networks beside NumPy and the peers installed",
        description="Time convolutions, pools and networks beside NumPy's best and the peers installed. A convolution "
        f"is '{_EXAMPLE}': images n, channels c, rows h, columns w, kernels k of r x s, stride st, padding p (one "
        "number, rows,columns or top,left,bottom,right), dilation d, groups g, f32 or f64, and fwd, grad_input or "
        "grad_weight. A pool is 'n8 c64 h56 w56 r2 s2 st2 p0 max f32 fwd': max or avg, fwd or grad_input. Every "
        "library runs in a process of its own on the same arrays with the same number of threads; outputs are "
        "compared first, then calls alternate while the other processes sleep. x is the median of the ratios of "
        "convlens to the library, round by round, with its 95 % bounds: below 1 convlens is faster.",
        example=f'convlens bench "{_EXAMPLE}" --threads 1 2',
    )
    parser.add_argument(
        "what",
        metavar="PROBLEM",
        nargs="*",
        default=[_EXAMPLE],
        help=f"a problem string, a network ({', '.join(NETWORKS)}, or a file saved by net.save), or a group: "
        f"{', '.join(_GROUPS)}, all; default: '{_EXAMPLE}'",
    )
    parser.add_argument("--threads", metavar="COUNT", type=int, nargs="+", help="default: what `convlens info` prints")
    parser.add_argument("--batch", metavar="N", type=int, nargs="+", help="images, instead of a problem's own number")
    parser.add_argument(
        "--peers",
        metavar="NAME",
        nargs="*",
        help=f"default: all that are installed of {', '.join(name for name in LIBRARIES if name not in OURS)}",
    )
    parser.add_argument("--rounds", metavar="COUNT", type=int, default=25, help="turns of every library (default: 25)")
    parser.add_argument(
        "--wait",
        choices=WAITS,
        default="active",
        help="active (default): as each library ships, and a pause after every turn in which idle threads fall asleep; "
        "passive: those of OpenMP and BLAS sleep at once, in every process alike",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write machine, versions and results")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure, print a table for each case, write the file; 1 if a peer failed or computed something else."""
    from .._core import get_num_threads

    for name, values in (("--rounds", [options.rounds]), ("--threads", options.threads), ("--batch", options.batch)):
        for value in values or ():
            if value < 1:
                raise ValueError(f"{name} (={value}) must be at least 1")
    libraries = _libraries(options.peers)
    texts = [text for what in options.what for text in _expand(what)]
    cases = [(text, n) for text in texts for n in options.batch or [None]]
    for text, n in dict.fromkeys(cases):
        case_of(text, n)  # a mistake in the last one is found before the first is timed
    absent = [name for name, row in LIBRARIES.items() if not row.installed]
    report = _header(libraries, options)
    print(_describe(report))
    if absent and options.peers is None:
        print(f"not installed: {', '.join(absent)}")
    bad = []
    environment, pause = WAITS[options.wait]
    for threads in options.threads or [get_num_threads()]:
        for result in measure(
            cases, libraries, threads=threads, rounds=options.rounds, environment=environment, pause=pause
        ):
            print(f"\n{_table(result)}", flush=True)
            report["results"].append(result.as_dict())
            bad += [
                f"{result.title}: {name}: {row.reason}"
                for name, row in result.rows.items()
                if row.state in ("wrong", "error")
            ]
            if options.json is not None:
                _write(options.json, report)
    for line in bad:
        print(f"convlens: error: {line}", file=sys.stderr)
    return 1 if bad else 0


def _libraries(peers: list[str] | None) -> list[str]:
    """Ours, then those asked for or all that are installed."""
    if peers is None:
        return [name for name, row in LIBRARIES.items() if row.installed]
    for name in peers:
        if name not in LIBRARIES or name in OURS:
            known = ", ".join(name for name in LIBRARIES if name not in OURS)
            raise ValueError(f"--peers (={name!r}) must be one of {known}")
        if not LIBRARIES[name].installed:
            missing = ", ".join(LIBRARIES[name].modules)
            raise ValueError(f"--peers (={name!r}) is not installed: it needs {missing}; pip install {missing}")
    return [*OURS, *dict.fromkeys(peers)]


def _expand(what: str) -> list[str]:
    if what == "all":
        return [text for group in _GROUPS.values() for text in group()]
    return _GROUPS[what]() if what in _GROUPS else [what]


def _header(libraries: list[str], options: argparse.Namespace) -> dict[str, Any]:
    from .._core import info

    found = info()
    return {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "python": platform.python_version(),
        "isa": found["isa"],
        "wait": options.wait,
        "rounds": options.rounds,
        "libraries": {name: {"version": LIBRARIES[name].version, "note": LIBRARIES[name].note} for name in libraries},
        "results": [],
    }


def _describe(report: dict[str, Any]) -> str:
    machine = report["machine"]
    versions = {row["version"]: name for name, row in reversed(report["libraries"].items())}
    return (
        f"{machine['cpu']}, {machine['cores']} core(s), kernels {report['isa']}; {report['date']}\n"
        f"{', '.join(f'{name} {version}' for version, name in reversed(versions.items()))}\n"
        f"{report['rounds']} rounds, idle threads {report['wait']}; spread is the 10th to 90th percentile"
    )


def _table(result: Result) -> str:
    """One case: a line for each library."""
    threads = f"{result.threads} thread{'s' if result.threads > 1 else ''}"
    ours = [name for name in OURS if result.rows[name].ms is not None]
    columns = [f"x {name}" for name in ours]
    lines = [f"{result.title}, {threads}"]
    lines.append(
        f"  {'':<20}{'ms':>9}  {'spread':<18}{result.unit:>8}  {'differs':>8}"
        + "".join(f"  {column:<20}" for column in columns).rstrip()
    )
    for name, row in result.rows.items():
        if row.ms is None:
            lines.append(f"  {name:<20}{row.state}: {row.reason}")
            continue
        spread = f"{row.ms.low:.4g} ... {row.ms.high:.4g}"
        differs = "" if row.difference is None or name == ours[0] else f"{row.difference:.1e}"
        line = f"  {name:<20}{row.ms.median:9.4g}  {spread:<18}{row.rate:8.3g}  {differs:>8}"
        for other in ours:
            ratio = row.ratios.get(other)
            text = "" if ratio is None else f"{ratio.median:.3g} ({ratio.low:.3g} ... {ratio.high:.3g})"
            line += f"  {text:<20}"
        lines.append(f"{line.rstrip()}{'  WRONG' if row.state == 'wrong' else ''}")
    return "\n".join(lines)


def _write(path: Path, report: dict[str, Any]) -> None:
    """The results so far: a long run that is interrupted keeps them."""
    path.write_text(json.dumps(report) + "\n", encoding="utf-8")
