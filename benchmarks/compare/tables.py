"""The tables of docs/performance.md, from the file of a run."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from convlens.cli.bench import Ratio, paired_ratio, spread

from ..tables import COMPARED, COMPARED_END
from .made import Library
from .records import Result

OURS = "convlens"
#: The smallest and largest of so many ratios enclose their median with 94 %.
LEAST_TURNS = 5
TITLES = {
    "forward": "Networks forward",
    "explain": "Explanations",
    "layer": "Single layers",
    "train": "A training step of the 28x28 network",
    "callers": "Thirty-two images, one at a time, from four callers at once",
    "load": "From a file to a network, and to its first answer",
    "memory": "Memory, MB",
}


@dataclass(frozen=True)
class Beaten:
    """The peer that is hardest to beat on a case, and how convlens stands to it."""

    name: str
    ratio: Ratio


def ratios(result: Result) -> dict[str, Ratio]:
    """Of convlens to each other library that was timed and is right, over the turns that both had."""
    ours = result.rows.get(OURS)
    found = {}
    for name, row in result.rows.items():
        if ours is not None and name != OURS and row.state == "ok":
            both = [(a, b) for a, b in zip(ours.times, row.times, strict=True) if not math.isnan(a + b)]
            if both:
                found[name] = paired_ratio(*zip(*both, strict=True))
    return found


def lost(result: Result, ratio: Ratio) -> bool:
    """Whether convlens is slower beyond doubt, or takes more memory, which one figure says."""
    return ratio.low > 1 and (result.turns >= LEAST_TURNS or result.case.once)


def fastest(result: Result) -> Beaten | None:
    """The peer with the largest ratio."""
    found = {name: ratio for name, ratio in ratios(result).items() if result.rows[name].peer}
    if not found:
        return None
    name = max(found, key=lambda name: found[name].median)
    return Beaten(name, found[name])


def section(runs: list[dict[str, Any]], results: Mapping[str, Result], libraries: Callable[[str], Any]) -> str:
    """Everything between the markers."""
    lines = [COMPARED, "## Beside the peers", "", _conditions(runs), "", *_summary(results)]
    for group, title in TITLES.items():
        members = [result for result in results.values() if result.case.group == group]
        if members:
            lines += ["", f"### {title}", "", *_notes(libraries(group), members), *_tables(members)]
    return "\n".join([*lines, COMPARED_END])


def put(text: str, made: str) -> str:
    """A page with the section replaced, or at its end."""
    pattern = re.compile(f"{re.escape(COMPARED)}.*?{re.escape(COMPARED_END)}", re.DOTALL)
    if pattern.search(text):
        return pattern.sub(lambda _: made, text)
    return f"{text.rstrip()}\n\n{made}\n"


def _conditions(runs: list[dict[str, Any]]) -> str:
    first, machine = runs[0], runs[0]["machine"]
    dates = sorted({run["date"] for run in runs})
    versions = {name: number for run in runs for name, number in run["versions"].items()}
    return (
        f"Written by `python -m benchmarks.compare --write`. {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['system']}, kernels {first['isa']}; {' to '.join(dict.fromkeys((dates[0], dates[-1])))}; Python "
        f"{first['python']}, {', '.join(f'{name} {number}' for name, number in versions.items())}. Each library in a "
        f"process of its own on the same processors, idle threads {first['wait']}; calls alternate. A cell has the "
        "median of all turns in milliseconds [10th and 90th percentile], and the median of convlens's time by the "
        "library's, turn by turn (95 % bounds; of fewer than six turns the smallest and largest): below 1 convlens is "
        "faster, a loss is in bold."
    )


def _summary(results: Mapping[str, Result]) -> list[str]:
    """Geometric means of the ratios to the fastest peer of each case, and losses to it."""
    groups: dict[tuple[Any, ...], list[tuple[Result, Beaten]]] = {}
    for result in results.values():
        beaten, case = fastest(result), result.case
        if beaten is not None:
            what = case.what if case.group in ("forward", "explain", "load", "memory") else _kind(case)
            groups.setdefault((case.group, what, case.threads, case.n), []).append((result, beaten))
    lines = [
        "Convlens's time by that of the fastest peer of each case: geometric mean, and cases lost beyond doubt.",
        "",
        "| what | threads | images | cases | by the fastest peer | lost |",
        "|---|---|---|---|---|---|",
    ]
    for (group, what, threads, n), rows in groups.items():
        mean = math.exp(sum(math.log(beaten.ratio.median) for _, beaten in rows) / len(rows))
        losses = sum(lost(result, beaten.ratio) for result, beaten in rows)
        name = " ".join(part for part in (group, what.replace("_", " ")) if part)
        lines.append(f"| {name} | {threads} | {n} | {len(rows)} | {mean:.2f} | {losses or ''} |")
    return lines


def _kind(case: Any) -> str:
    """What sort of layer a problem string is."""
    if case.group != "layer":
        return ""
    words = case.subject.split()
    if words[-3] in ("max", "avg"):
        return f"{words[-3]} pool {words[-1]}"
    depthwise = f"c{words[-3].removeprefix('g')}" == words[1] != "c1"
    return f"{'depthwise' if depthwise else 'conv'} {words[-1]}"


def _notes(libraries: Mapping[str, Library], members: Iterable[Result]) -> list[str]:
    names = dict.fromkeys(name for result in members for name in result.rows)
    told = [f"`{name}`: {libraries[name].note}" for name in names if name in libraries]
    return [f"{'; '.join(told)}.", ""] if told else []


def _tables(members: list[Result]) -> list[str]:
    """A table of a group: a row a case, a column a library."""
    names = list(dict.fromkeys(name for result in members for name, row in result.rows.items() if row.measured))
    lines = [f"| case | turns | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for result in members:
        found = ratios(result)
        case = result.case
        key = case.key.removeprefix(f"{case.group} ")
        if case.group == "layer":
            key = f"{case.subject} t{case.threads}"
        cells = [_cell(result, name, found.get(name)) for name in names]
        lines.append(f"| `{key}` | {result.turns} | {' | '.join(cells)} |")
    return lines


def _cell(result: Result, name: str, ratio: Ratio | None) -> str:
    row = result.rows.get(name)
    if row is None or not row.measured:
        return "" if row is None or row.state == "unsupported" else row.state
    unit = 1.0 if result.case.group == "memory" else 1e3
    ms = spread([unit * value for value in row.measured])
    text = f"{ms.median:.3g}" if len(row.measured) == 1 else f"{ms.median:.3g} [{ms.low:.3g} {ms.high:.3g}]"
    if ratio is not None:
        part = (
            f"{ratio.median:.2f}"
            if len(row.measured) == 1
            else f"{ratio.median:.2f} ({ratio.low:.2f} {ratio.high:.2f})"
        )
        text += f" {f'**{part}**' if row.peer and lost(result, ratio) else part}"
    return text if row.state == "ok" else f"{text} {row.state}"
