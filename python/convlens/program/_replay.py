"""Calls that go straight to the Program which the first one of their shapes made.

What a function computes of arrays is one Program known by their shapes and by its other arguments, unless it looks at
the numbers in them. So the first such call is watched: which Program ran, which argument each port was, what became of
its outputs. The next ones skip Python. A call that is anything else stays with Python, its checks and its errors.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from inspect import signature
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from .. import _core

Array = npt.NDArray[Any]
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Run:
    """One run of an entry without states, which reads no other entry."""

    program: Any
    entry: int
    n: int
    names: tuple[str, ...]
    inputs: Mapping[str, Array]
    outputs: list[Array]
    weights: Any


class _Tape(threading.local):
    runs: list[Run | None] | None = None


_tape = _Tape()


def note(run: Callable[[], Run | None]) -> None:
    """Add a run to what is being watched in this thread; None is one that cannot be made again."""
    if _tape.runs is not None:
        _tape.runs.append(run())


class Replay:
    """The recorded calls of one function, among those of `table`."""

    def __init__(self, table: _core.ReplayTable, parameters: tuple[str, ...]) -> None:
        self._parameters = parameters
        self._core = _core.Replay(table, parameters)
        #: call(args, kwargs): the result; NotImplemented of a new call, for `first`; None of one to be left to Python.
        self.call = self._core.call

    def first(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function in Python, and record the call for the next of its kind."""
        outer, _tape.runs = _tape.runs, []
        recording = _core.set_recording(True)
        try:
            result = function(*args, **kwargs)
            runs = _tape.runs
        finally:
            _core.set_recording(recording)
            _tape.runs = outer
        if outer is not None:
            outer.extend(runs)
        self._record(args, kwargs, runs, result)
        return result

    def _record(self, args: tuple[Any, ...], kwargs: dict[str, Any], runs: list[Run | None], result: Any) -> None:
        values = dict(zip(self._parameters, args, strict=False)) | kwargs
        run = runs[0] if len(runs) == 1 else None
        sources = None if run is None else self._sources(run, values)
        returned = None if run is None else _returned(run, result)
        if run is None or sources is None or returned is None:
            self._core.refuse(args, kwargs)
            return
        outputs, results, form = returned
        self._core.put(args, kwargs, run.program, run.entry, run.n, run.weights, sources, outputs, results, form)

    def _sources(self, run: Run, values: Mapping[str, Any]) -> list[int | Array] | None:
        """By port, which argument it is, or the array of a number; None when one is something else."""
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        sources: list[int | Array] = []
        unread = set(arrays)
        for name in run.names:
            given = run.inputs[name]
            same = [parameter for parameter, array in arrays.items() if _same(array, given)]
            if name in same or len(same) == 1:
                parameter = name if name in same else same[0]
                sources.append(self._parameters.index(parameter))
                unread.discard(parameter)
            elif name in self._parameters and _decides(values.get(name)) and isinstance(given, np.ndarray):
                sources.append(given)
            else:
                return None
        # The numbers of an array that no port reads may still have made the Program.
        return None if unread else sources


def _returned(run: Run, result: Any) -> tuple[list[Array], list[int], Any] | None:
    """The outputs in the shapes that are returned, which of them are, and what holds them; None for anything else."""
    form: Any = None
    results = [result]
    if type(result) in (tuple, list):
        form, results = type(result), list(result)
    elif type(result) is dict:
        form, results = tuple(result), list(result.values())
    outputs, places = list(run.outputs), []
    for array in results:
        same = [i for i, made in enumerate(run.outputs) if isinstance(array, np.ndarray) and _same(array, made)]
        if len(same) != 1 or same[0] in places:
            return None
        outputs[same[0]] = array
        places += same
    return (outputs, places, form) if places else None


def _decides(value: Any) -> bool:
    """Whether what a function makes of an argument is the same every time: a number, or what stands for None."""
    return value is None or type(value) in (int, float)


def _same(array: Array, other: Array) -> bool:
    """Whether both are the same numbers in the same memory, in shapes that may differ."""
    return (
        array.dtype == other.dtype
        and array.size == other.size
        and array.flags.c_contiguous
        and other.flags.c_contiguous
        and array.__array_interface__["data"][0] == other.__array_interface__["data"][0]
    )


def replayed_by(table: _core.ReplayTable) -> Callable[[Function], Function]:
    """Let a function's calls go straight to their Programs.

    For functions whose Program is known by the shapes of arrays and the other arguments: not for one that looks at
    numbers, to check labels for instance.
    """

    def wrap(function: Function) -> Function:
        replay = Replay(table, tuple(signature(function).parameters))
        again, first = replay.call, replay.first

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            result = again(args, kwargs)
            if result is NotImplemented:
                return first(function, args, kwargs)
            return function(*args, **kwargs) if result is None else result

        return call  # type: ignore[return-value]

    return wrap
