"""Write the tables of docs/performance.md and README.md from a file of `convlens bench all --json FILE`.

    convlens bench all --threads 1 2 --batch 1 8 --json build/bench.json
    python benchmarks/tables.py build/bench.json [--performance docs/performance.md] [--readme README.md]

docs/performance.md gets every case, losses in bold; README.md, between its markers, the geometric means. A loss is a
case whose ratio of times lies above 1 with its whole 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- bench: written by benchmarks/tables.py -->", "<!-- /bench -->"
#: What `python -m benchmarks.compare --write` puts between these stays.
COMPARED, COMPARED_END = "<!-- compare -->", "<!-- /compare -->"
LEAST_ROUNDS = 20
#: The ways of convlens; the tables' ratios are those of the first.
OURS = ("convlens", "convlens_ops")


def conditions(report: dict[str, Any]) -> str:
    """Where, when and with what it was measured."""
    machine, versions = report["machine"], {}
    for name, row in report["libraries"].items():
        versions.setdefault(row["version"], name)
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, kernels {report['isa']}; {report['date']}; "
        f"Python {report['python']}, {', '.join(f'{name} {version}' for version, name in versions.items())}. "
        f"{report['rounds']} rounds, each library in a process of its own, idle threads {report['wait']}."
    )


def every_case(report: dict[str, Any]) -> str:
    """One table for each group and number of threads: milliseconds, and the ratio of convlens to each library."""
    lines = []
    for (group, threads), results in _grouped(report["results"], "group", "threads").items():
        names = [name for name in report["libraries"] if any(_timed(result, name) for result in results)]
        lines += ["", f"### {group}, {_threads(threads)}", ""]
        lines += [f"| case | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
        for result in results:
            cells = [_cell(result["rows"].get(name)) for name in names]
            lines.append(f"| `{result['title']}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None or row["ms"] is None:
        return "" if row is None or row["state"] == "unsupported" else row["state"]
    ms, ratio = row["ms"], row["ratios"].get("convlens")
    text = f"{ms['median']:.3g} [{ms['low']:.3g} {ms['high']:.3g}]"
    if ratio is not None:
        part = f"{ratio['median']:.2f} ({ratio['low']:.2f} {ratio['high']:.2f})"
        text += f" {f'**{part}**' if ratio['low'] > 1 else part}"
    return text if row["state"] == "ok" else f"{text} {row['state']}"


def summary(report: dict[str, Any]) -> str:
    """For each group, threads and batch: geometric mean of the ratios to each library, and losses."""
    peers = [name for name in report["libraries"] if name not in OURS]
    lines = [f"| what | threads | batch | cases | {' | '.join(peers)} |", f"|---|---|---|---|{'---|' * len(peers)}"]
    for (group, threads, n), results in _grouped(report["results"], "group", "threads", "n").items():
        cells = [_mean(result["rows"].get(name) for result in results) for name in peers]
        lines.append(f"| {group} | {threads} | {n} | {len(results)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(rows: Iterable[dict[str, Any] | None]) -> str:
    ratios = [row["ratios"]["convlens"] for row in rows if row and row["state"] == "ok" and "convlens" in row["ratios"]]
    if not ratios:
        return ""
    mean = math.exp(sum(math.log(ratio["median"]) for ratio in ratios) / len(ratios))
    lost = sum(ratio["low"] > 1 for ratio in ratios)
    return f"{mean:.2f}{f', {lost} lost' if lost else ''}"


def performance(report: dict[str, Any]) -> str:
    """The whole of docs/performance.md."""
    notes = "\n".join(f"| {name} | {row['version']} | {row['note']} |" for name, row in report["libraries"].items())
    return f"""# Performance

Written by `benchmarks/tables.py` from `convlens bench all`. {conditions(report)}

| library | version | its call |
|---|---|---|
{notes}

## Summary

Geometric mean of convlens's time by the library's, a layer with its weights packed once; below 1 convlens is faster.
"lost" counts the cases whose ratio lies above 1 with its whole 95 % interval.

{summary(report)}

## Every case

Milliseconds [10th and 90th percentile], and convlens's time by the library's (95 % bounds); losses in bold.
{every_case(report)}
"""


def kept(text: str) -> str:
    """The section of a page that is written by another program."""
    if COMPARED not in text:
        return ""
    return f"\n{COMPARED}{text.split(COMPARED)[1].split(COMPARED_END)[0]}{COMPARED_END}\n"


def readme(text: str, report: dict[str, Any]) -> str:
    """README.md with the summary between its markers."""
    if BEGIN not in text or END not in text:
        raise SystemExit(f"README.md must hold the lines {BEGIN} and {END}")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    note = (
        "Geometric mean of convlens's time by the library's, below 1 where convlens is faster, and how many cases are "
        "lost beyond doubt; [docs/performance.md](docs/performance.md) has every case."
    )
    return f"{before}{BEGIN}\n{note}\n\n{summary(report)}\n\n{conditions(report)}\n{END}{after}"


def _timed(result: dict[str, Any], name: str) -> bool:
    return result["rows"].get(name, {}).get("ms") is not None


def _grouped(results: list[dict[str, Any]], *keys: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault(tuple(result[key] for key in keys), []).append(result)
    return groups


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="what `convlens bench --json` wrote")
    parser.add_argument("--performance", type=Path, help="the file to write with every case")
    parser.add_argument("--readme", type=Path, help="the file whose table to replace")
    options = parser.parse_args()
    report = json.loads(options.results.read_text(encoding="utf-8"))
    if report["rounds"] < LEAST_ROUNDS and (options.performance or options.readme):
        raise SystemExit(f"{options.results} has {report['rounds']} rounds: a table needs at least {LEAST_ROUNDS}")
    if options.performance is not None:
        old = options.performance.read_text(encoding="utf-8") if options.performance.exists() else ""
        options.performance.write_text(performance(report) + kept(old), encoding="utf-8")
    if options.readme is not None:
        options.readme.write_text(readme(options.readme.read_text(encoding="utf-8"), report), encoding="utf-8")
    if options.performance is None and options.readme is None:
        print(summary(report))


if __name__ == "__main__":
    main()
