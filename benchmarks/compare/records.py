"""The file of a run: JSON lines, appended as they are measured, so that what was measured stays when it stops.

A line is a ``run`` (machine, versions, settings), a ``case`` (each library's state) or a ``round`` (each library's
times, in seconds or MB). A file may hold many runs of one build on one machine.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from convlens.cli.bench import machine

from .cases import Case
from .made import Library, version

#: What all runs of a file must share, or their times could not be put together.
_SAME = ("source", "machine", "isa", "wait", "versions", "python")


@dataclass
class Row:
    """One library on one case: ``state`` is ok, unsupported, wrong or error.

    ``times`` has a place for every turn of the case, NaN where this library had none.
    """

    state: str
    reason: str = ""
    difference: float | None = None
    peer: bool = True
    times: list[float] = field(default_factory=list)

    @property
    def measured(self) -> list[float]:
        """The times there are."""
        return [seconds for seconds in self.times if not math.isnan(seconds)]


@dataclass
class Result:
    """One case as far as it was measured."""

    case: Case
    rows: dict[str, Row]
    rounds: int = 0
    turns: int = 0


def source() -> str:
    """A hash of the installed convlens: Python and compiled files."""
    import convlens

    found = hashlib.sha256()
    folder = Path(convlens.__file__).parent
    for file in sorted(folder.rglob("*")):
        if file.suffix in (".py", ".so", ".pyd"):
            found.update(file.relative_to(folder).as_posix().encode())
            found.update(file.read_bytes())
    return found.hexdigest()[:16]


def conditions(libraries: Iterable[Library], wait: str) -> dict[str, Any]:
    """Where, when, with what and how."""
    from convlens._core import info

    modules = dict.fromkeys(row.modules[0] for row in libraries if row.modules and not row.missing)
    return {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "python": platform.python_version(),
        "isa": info()["isa"],
        "wait": wait,
        "versions": {module: version(module) for module in modules},
        "source": source(),
    }


class Records:
    """A file of lines and what they say.

    Raises
    ------
    ValueError
        The file exists and is not to be continued, or was measured otherwise.
    """

    def __init__(self, path: Path, now: dict[str, Any], *, resume: bool) -> None:
        if path.exists() and not resume:
            raise ValueError(f"--file (={str(path)!r}) exists: --resume continues it, another name keeps it")
        self._path = path
        self.runs, self.results = read(path) if path.exists() else ([], {})
        for before in self.runs[:1]:
            for name in _SAME:
                if before[name] != now[name]:
                    raise ValueError(
                        f"--file (={str(path)!r}) was measured with another {name}, {before[name]} instead of "
                        f"{now[name]}: times of both could not be compared; name another file"
                    )
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            whole = path.read_bytes()
            path.write_bytes(whole[: whole.rfind(b"\n") + 1])  # without a line that was cut off
        self.runs.append(now)
        self._append("run", now)

    def prepared(self, case: Case, rows: dict[str, Row]) -> None:
        """Keep what each library made of a case before it is timed."""
        _merge(self.results, case, rows)
        self._append("case", {"case": asdict(case), "rows": {name: asdict(row) for name, row in rows.items()}})

    def round(self, case: Case, times: dict[str, list[float]]) -> None:
        """Keep a round."""
        _add(self.results, case, times)
        self._append("round", {"case": asdict(case), "times": times})

    def rounds(self, case: Case) -> int:
        """How many a case has."""
        result = self.results.get(case.key)
        return 0 if result is None else result.rounds

    def _append(self, kind: str, values: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, **values}) + "\n")


def read(path: Path) -> tuple[list[dict[str, Any]], dict[str, Result]]:
    """The runs of a file, and its results by key. A last line that was cut off is left out."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    runs: list[dict[str, Any]] = []
    results: dict[str, Result] = {}
    for line in map(json.loads, lines):
        kind = line.pop("kind")
        if kind == "run":
            runs.append(line)
            continue
        case = Case(**line["case"])
        if kind == "case":
            _merge(results, case, {name: Row(**row) for name, row in line["rows"].items()})
        else:
            _add(results, case, line["times"])
    return runs, results


def _merge(results: dict[str, Result], case: Case, rows: dict[str, Row]) -> None:
    """A case prepared again keeps its times."""
    result = results.setdefault(case.key, Result(case, {}))
    for name, row in rows.items():
        if name not in result.rows or not result.rows[name].measured:
            row.times = [math.nan] * result.turns
            result.rows[name] = row


def _add(results: dict[str, Result], case: Case, times: dict[str, list[float]]) -> None:
    result = results[case.key]
    turns = max(map(len, times.values()), default=0)
    for name, row in result.rows.items():
        row.times += times.get(name, [math.nan] * turns)
    result.rounds += 1
    result.turns += turns
