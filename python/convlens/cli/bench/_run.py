"""Measure cases: prepare every library, compare what they compute, then time them in turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import UnsupportedError
from ._case import Case, case_of
from ._libraries import OURS, library
from ._process import PASSIVE, Worker, WorkerError, alternate, workers
from ._statistics import Ratio, Spread, paired_ratio, spread

#: Seconds that a turn lasts at least, a short call repeating, and of the calls before it that wake the threads; above
#: LONG a turn is one call, without one to warm up. How many those are the best of some trials says.
TURN, WARM, LONG, _TRIALS = 0.008, 0.001, 0.05, 3
#: Largest difference from convlens, as a part of the largest value: far above rounding (a weight gradient sums 400,000
#: products), far below what a wrong weight, stride or padding does, which is of the size of the values.
TOLERANCE = {"float32": 1e-3, "float64": 1e-9}


@dataclass
class Row:
    """One library on one case: ``state`` is ok, unsupported, wrong or error, ``reason`` says why."""

    state: str
    reason: str = ""
    ms: Spread | None = None
    rate: float | None = None
    difference: float | None = None
    #: Of each of ours to this one.
    ratios: dict[str, Ratio] = field(default_factory=dict)


@dataclass
class Result:
    """One case with a number of threads."""

    title: str
    group: str
    n: int
    threads: int
    unit: str
    rows: dict[str, Row]

    def as_dict(self) -> dict[str, Any]:
        """Numbers and text alone, for JSON."""
        return asdict(self)


def measure(
    cases: Sequence[tuple[str, int | None]],
    libraries: Sequence[str],
    *,
    threads: int,
    rounds: int,
    environment: Mapping[str, str] = PASSIVE,
    pause: float = 0.0,
) -> Iterator[Result]:
    """Yield a result for each case, in order; the libraries' processes live as long as the iteration.

    Parameters
    ----------
    cases : sequence of (text, n)
        As :func:`case_of` takes them.
    libraries : sequence of str
        Names of LIBRARIES.
    threads, rounds : int
    environment : mapping of str to str
        How the libraries' threads wait.
    pause : float
        Seconds after each turn of more than one thread, for those that spin before they sleep.

    Raises
    ------
    WorkerError
        When convlens itself fails; a peer's failure is a row of its result.
    """
    factories: dict[str, Callable[..., Any]] = {name: partial(library, name) for name in libraries}
    with workers(factories, (threads,), threads=threads, environment=environment) as running:
        for text, n in cases:
            yield _measure(case_of(text, n), (text, n), running, threads, rounds, pause if threads > 1 else 0.0)


def _measure(
    case: Case, given: tuple[str, int | None], running: dict[str, Worker], threads: int, rounds: int, pause: float
) -> Result:
    rows: dict[str, Row] = {}
    timed: dict[str, Worker] = {}
    outputs: dict[str, npt.NDArray[Any]] = {}
    for name, worker in running.items():
        try:
            worker.ask("prepare", *given)
            outputs[name] = worker.ask("output")
            rows[name] = Row("ok")
            timed[name] = worker
        except UnsupportedError as error:
            rows[name] = Row("unsupported", str(error))
        except WorkerError as error:
            if name in OURS:
                raise
            rows[name] = Row("error", str(error).splitlines()[0])
    for name in timed:
        _compare(rows[name], outputs[next(iter(outputs))], outputs[name], case.dtype)
    counts: dict[str, tuple[int, ...]] = {}
    long = False
    for name, worker in timed.items():
        # The first regions of a process make threads and find them processors, which takes milliseconds.
        seconds = min(worker.ask("time", 1, 1) for _ in range(_TRIALS))
        counts[name] = tuple(max(1, min(200, math.ceil(span / seconds))) for span in (TURN, WARM))
        long = long or seconds > LONG
    turns = {name: _Turn(timed[name], count, 0 if long else warm) for name, (count, warm) in counts.items()}
    times = alternate(turns, (), rounds, warm_up=1, pause=pause)
    for name, values in times.items():
        rows[name].ms = spread([1e3 * value for value in values])
        rows[name].rate = case.work / float(np.median(values)) / 1e9
        rows[name].ratios = {ours: paired_ratio(times[ours], values) for ours in OURS if ours in times and name != ours}
    return Result(case.title, case.group, case.n, threads, case.unit, rows)


@dataclass(frozen=True)
class _Turn:
    """A worker asked to time the number of calls that suits it, after some others."""

    worker: Worker
    count: int
    warm: int

    def ask(self) -> float:
        return float(self.worker.ask("time", self.count, self.warm))


def _compare(row: Row, ours: npt.NDArray[Any], theirs: npt.NDArray[Any], dtype: str) -> None:
    """Note how far an output is from ours; it is wrong beyond TOLERANCE."""
    if ours.shape != theirs.shape:
        row.state, row.reason = "wrong", f"its output has shape {theirs.shape}, convlens's {ours.shape}"
        return
    largest = float(np.abs(ours).max(initial=0)) or 1.0
    row.difference = float(np.abs(ours - theirs).max(initial=0)) / largest
    if not row.difference <= TOLERANCE[dtype]:  # NaN too
        row.state = "wrong"
        row.reason = f"it differs from convlens by {row.difference:.2g} of the largest value: one of the two is wrong"
