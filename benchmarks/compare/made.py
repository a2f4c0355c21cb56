"""What a library makes of a case, and what serves it in the library's own process."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convlens import UnsupportedError

from .cases import Case

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Made:
    """A case as a library has it.

    ``run()`` is timed. ``array`` makes what it returns comparable, None where libraries answer differently by design.
    ``figure`` gives the number to keep where that is not the duration of ``run``. ``keep`` holds memory that the
    library borrows.
    """

    run: Callable[[], Any]
    array: Callable[[Any], Array] | None = np.asarray
    figure: Callable[[], float] | None = None
    keep: Any = None


Make = Callable[[Case, Path], Made]


@dataclass(frozen=True)
class Library:
    """A column of a table.

    ``make(case, folder)`` prepares a case or raises UnsupportedError; ``modules`` must be installed, the first is the
    one whose version counts. ``peer`` is False for another way of convlens itself, which is shown and not beaten.
    """

    make: Make
    modules: tuple[str, ...]
    note: str
    peer: bool = True

    @property
    def missing(self) -> str:
        """The first module that cannot be imported, or nothing."""
        return next((module for module in self.modules if importlib.util.find_spec(module) is None), "")


def version(module: str) -> str:
    """Of the distribution that has a module."""
    if module == "convlens":
        from convlens import __version__

        return __version__
    names = importlib.metadata.packages_distributions().get(module, [module])
    return importlib.metadata.version(names[0])


def libraries(group: str) -> dict[str, Library]:
    """The libraries of a group of cases, convlens first."""
    found: dict[str, Library] = importlib.import_module(f"{__package__}.groups.{group}").LIBRARIES
    return found


def serve(group: str, name: str, threads: int, folder: Path) -> Callable[..., Any]:
    """Answer the driver, in the library's process.

    ``"prepare", case`` gives the seconds it took; ``"output"`` the result as an array, or None where it is not
    compared; ``"turn", count, warm`` makes `count` calls, after `warm` that do not count, and gives the figure of one.
    """
    if hasattr(os, "sched_setaffinity"):  # before the library is loaded: its threads inherit it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    made: Made | None = None

    def handle(message: str, *arguments: Any) -> Any:
        nonlocal made
        begun = time.perf_counter()
        if message == "prepare":
            made = None  # before the next one takes memory
            made = libraries(group)[name].make(*arguments, folder)
            return time.perf_counter() - begun
        if made is None:
            raise RuntimeError("prepare a case first")
        if message == "output":
            return None if made.array is None else np.array(made.array(made.run()), copy=True)
        count, warm = arguments
        if made.figure is not None:
            return made.figure()
        for _ in range(warm):
            made.run()
        begun = time.perf_counter()
        for _ in range(count):
            made.run()
        return (time.perf_counter() - begun) / count

    return handle


def refuse(library: str, what: str) -> UnsupportedError:
    """What to raise for a case that a library has not."""
    return UnsupportedError(f"{library} has no {what}")
