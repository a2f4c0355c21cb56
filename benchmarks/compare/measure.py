"""The driver: prepare a case in every library's process, compare what they compute, then time them in turn."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from convlens import UnsupportedError
from convlens.cli.bench import WAITS, Worker, WorkerError, alternate, workers

from .cases import Case
from .made import Library, serve
from .records import Records, Row

#: Seconds that a turn lasts at least, a short call repeating, and that calls before it warm up: threads that just woke
#: may share a processor until the system parts them (MobileNetV2, 2 threads: the first two calls take 5 or 15 ms, later
#: ones 5). A call above LONG needs no warming; one above SLOW is not made once more to see how long it takes.
TURN, WARM, LONG, SLOW = 0.1, 0.05, 0.5, 2.0
#: Turns of a case at least, where they take no more than twice its seconds: with fewer a ratio has no bounds of 95 %.
LEAST = 6
#: Largest difference from convlens as a part of the values, by their root mean square. In a float32 gradient units near
#: zero flip: PyTorch's own is 4e-2 from float64 on ResNet-50.
TOLERANCE = {"explain": 0.1}
Serve = Callable[..., Callable[..., Any]]


@dataclass(frozen=True)
class Settings:
    """How much is measured: rounds and seconds of a case, seconds of the whole, how idle threads wait."""

    rounds: int = 5
    seconds: float = 10.0
    limit: float = math.inf
    wait: str = "active"


class Stopped(Exception):
    """The whole took as long as it may."""


@dataclass(frozen=True)
class _Turn:
    """A worker asked to time the number of calls that suits it."""

    worker: Worker
    count: int
    warm: int

    def ask(self) -> float:
        return float(self.worker.ask("turn", self.count, self.warm))


def measure(
    cases: Sequence[Case],
    libraries: Callable[[str], Mapping[str, Library]],
    records: Records,
    folder: Path,
    settings: Settings,
    say: Callable[[str], None] = print,
    serve: Serve = serve,
) -> None:
    """Measure every case that has not its rounds yet.

    Parameters
    ----------
    cases : sequence of Case
    libraries : callable
        The libraries of a group of cases, by name.
    records : Records
        What is measured goes there at once.
    folder : Path
        Of the networks' files.
    settings : Settings
    say : callable
        Shows progress.
    serve : callable
        What runs in each process: ``serve(group, name, threads, folder)`` gives the handler of its messages.

    Raises
    ------
    Stopped
        Before a round that would pass the limit.
    """
    driver = _Driver(records, settings, say, time.monotonic())
    for (group, threads), members in itertools.groupby(cases, lambda case: (case.group, case.threads)):
        left = [case for case in members if records.rounds(case) < driver.rounds(case)]
        while left:
            driver.check(0.0)
            factories = {name: partial(serve, group, name) for name in libraries(group)}
            environment, pause = WAITS[settings.wait]
            with workers(factories, (threads, folder), threads=threads, environment=environment) as running:
                fresh = True
                while left and fresh:
                    case = left.pop(0)
                    fresh = driver.case(case, running, libraries(group), pause) and not case.once


@dataclass
class _Driver:
    records: Records
    settings: Settings
    say: Callable[[str], None]
    begun: float
    told: set[str] = field(default_factory=set)

    def rounds(self, case: Case) -> int:
        return 1 if case.once else self.settings.rounds

    def check(self, needed: float) -> None:
        """Stop before what would pass the limit."""
        if time.monotonic() - self.begun + needed > self.settings.limit:
            raise Stopped

    def case(self, case: Case, running: Mapping[str, Worker], libraries: Mapping[str, Library], pause: float) -> bool:
        """Measure one case; False if a process was lost."""
        self.check(0.0)
        self.say(f"{case.key}: prepare")
        rows, outputs, seconds = self._prepare(case, running, libraries)
        reference = next(iter(outputs), None)
        for name, output in outputs.items():
            if reference is not None and name != reference:
                _compare(rows[name], outputs[reference], output, TOLERANCE.get(case.group, 1e-3))
        turns: dict[str, _Turn] = {}
        once: dict[str, list[float]] = {}
        for name, row in rows.items():
            if row.state not in ("ok", "wrong"):
                continue
            try:
                first = seconds.get(name, 0.0)
                if first < SLOW:
                    first = float(running[name].ask("turn", 1, 0))
                once[name] = [first]
                turns[name] = _Turn(running[name], *_counts(first))
            except WorkerError as error:
                row.state, row.reason = "error", str(error).splitlines()[0]
        for name, row in rows.items():
            told = f"  {name}: {row.state}: {row.reason}"
            if row.reason and (row.state != "unsupported" or told not in self.told):
                self.say(told)
                self.told.add(told)
        self.records.prepared(case, rows)
        if case.once:
            self.records.round(case, once)
        elif turns:
            self._time(case, turns, sum(max(TURN + WARM, values[0]) for values in once.values()), pause)
        return all("process ended" not in row.reason for row in rows.values())

    def _prepare(
        self, case: Case, running: Mapping[str, Worker], libraries: Mapping[str, Library]
    ) -> tuple[dict[str, Row], dict[str, Any], dict[str, float]]:
        """Each library's state, what it computes where that is compared, and the seconds of its first call."""
        rows, outputs, seconds = {}, {}, {}
        for name, worker in running.items():
            row = rows[name] = Row("ok", peer=libraries[name].peer)
            try:
                worker.ask("prepare", case)
                begun = time.monotonic()
                output = worker.ask("output")
                if output is not None:
                    outputs[name], seconds[name] = output, time.monotonic() - begun
            except UnsupportedError as error:
                row.state, row.reason = "unsupported", str(error)
            except WorkerError as error:
                row.state, row.reason = "error", str(error).splitlines()[0]
        return rows, outputs, seconds

    def _time(self, case: Case, turns: dict[str, _Turn], cost: float, pause: float) -> None:
        """Rounds of turns; the order turns round from one turn to the next, over the rounds too."""
        wanted = self.settings.rounds
        count = max(1, round(self.settings.seconds / wanted / cost))
        if cost * LEAST <= 2 * self.settings.seconds:
            count = max(count, math.ceil(LEAST / wanted))
        done = 0
        for number in range(self.records.rounds(case), wanted):
            self.check(cost * count)
            begun = time.monotonic()
            order = dict(turns if (number * count) % 2 == 0 else reversed(turns.items()))
            times = alternate(order, (), count, pause=pause)
            self.records.round(case, {name: times[name] for name in turns})
            done, cost = done + 1, (time.monotonic() - begun) / count
        medians = {name: float(np.median(self.records.results[case.key].rows[name].measured)) for name in turns}
        self.say("  " + ", ".join(f"{name} {1e3 * value:.3g} ms" for name, value in medians.items()))


def _counts(first: float) -> tuple[int, int]:
    """How many calls of so many seconds a turn has, and how many warm it up."""
    return math.ceil(TURN / first), math.ceil(WARM / first) if first < LONG else 0


def _compare(row: Row, ours: Any, theirs: Any, tolerance: float) -> None:
    """Note how far an output is from ours; it is wrong beyond the tolerance."""
    if ours.shape != theirs.shape:
        row.state, row.reason = "wrong", f"its output has shape {theirs.shape}, convlens's {ours.shape}"
        return
    size = float(np.sqrt(np.mean(np.square(ours, dtype=np.float64)))) or 1.0
    row.difference = float(np.sqrt(np.mean(np.square(ours.astype(np.float64) - theirs)))) / size
    if not row.difference <= tolerance:  # NaN too
        row.state = "wrong"
        row.reason = f"it differs from convlens by {row.difference:.2g} of the values: one of the two is wrong"
