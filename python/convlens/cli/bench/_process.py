"""Libraries in processes of their own, called in turn: while one works the others sleep in a read of their pipe."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Any, Protocol

from ... import UnsupportedError

#: Threads of OpenMP and BLAS sleep as soon as they have nothing to do, or they would take the next library's processor.
PASSIVE = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0", "OPENBLAS_THREAD_TIMEOUT": "4"}
#: Of a process that is not our own, GCC's default: every process imports convlens before its library, PyTorch may share
#: the OpenMP that is loaded then, and convlens has its threads spin for less.
THEIRS = {"GOMP_SPINCOUNT": "300000"}
#: The libraries' environment, and the seconds that threads get to fall asleep after a turn. OpenBLAS's would
#: spin on into the turns of the others; 2^25 ticks are far more than lie between a turn's calls.
WAITS: dict[str, tuple[dict[str, str], float]] = {
    "passive": (PASSIVE, 0.0),
    "active": ({"OPENBLAS_THREAD_TIMEOUT": "25"}, 0.03),
}
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "CONVLENS_NUM_THREADS")
#: Seconds that a process gets to leave by itself.
_PATIENCE = 3.0

Handler = Callable[..., Any]


class WorkerError(RuntimeError):
    """A library's process failed: what it said in one line, then its own traceback."""


class Worker:
    """A process that answers messages; a context manager.

    Parameters
    ----------
    name : str
        Whose process it is: for errors, and what begins with "convlens" is ours.
    factory : callable
        Called in the process with `arguments`; returns the handler of messages. A function of a module, as it travels.
    threads : int
        For the libraries that read it from the environment.
    environment : mapping of str to str
        Set before the process starts, as libraries read it when they are loaded.
    """

    def __init__(
        self,
        name: str,
        factory: Callable[..., Handler],
        *arguments: Any,
        threads: int = 1,
        environment: Mapping[str, str] = PASSIVE,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, factory, arguments), name=name, daemon=True)
        theirs = {} if name.startswith("convlens") else THEIRS
        with _inherited({**dict.fromkeys(_THREADS, str(threads)), **theirs, **environment}):
            self._process.start()
        other.close()

    def ask(self, *message: Any) -> Any:
        """Send a message and wait for its answer.

        Raises
        ------
        UnsupportedError
            When the library cannot do what was asked.
        WorkerError
            When its handler raised anything else, or its process is gone.
        """
        try:
            self._connection.send(message)
            outcome, *values = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(_PATIENCE)
            raise WorkerError(f"{self.name}: its process ended with exit code {self._process.exitcode}") from None
        if outcome == "unsupported":
            raise UnsupportedError(values[0])
        if outcome == "error":
            raise WorkerError(f"{self.name}: {values[0]}")
        return values[0]

    def hang_up(self) -> None:
        """Close the pipe: the process leaves when it notices."""
        self._connection.close()

    def close(self) -> None:
        """End the process: hang up, and make it leave when it is too busy to notice."""
        self.hang_up()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()


class Asked(Protocol):
    """What can be asked: a worker, or something that asks one."""

    def ask(self, *message: Any) -> Any: ...


@contextmanager
def workers(
    factories: Mapping[str, Callable[..., Handler]],
    arguments: Sequence[Any] = (),
    *,
    threads: int = 1,
    environment: Mapping[str, str] = PASSIVE,
) -> Iterator[dict[str, Worker]]:
    """Start a worker for each factory, with the same arguments; all end with the block."""
    with ExitStack() as stack:
        running: dict[str, Worker] = {}
        for name, factory in factories.items():
            worker = Worker(name, factory, *arguments, threads=threads, environment=environment)
            running[name] = stack.enter_context(worker)
        try:
            yield running
        finally:
            for worker in running.values():  # all at once, before each is waited for
                worker.hang_up()


def alternate(
    libraries: Mapping[str, Asked],
    message: Sequence[Any],
    rounds: int,
    *,
    warm_up: int = 0,
    pause: float = 0.0,
) -> dict[str, list[float]]:
    """Ask every library the same, one after the other, `rounds` times; answers by library, those of `warm_up` left out.

    The order turns round after every round, so that no library always follows the same one. `pause` is seconds of sleep
    after each answer, for threads that spin before they sleep.
    """
    answers: dict[str, list[float]] = {name: [] for name in libraries}
    order = list(libraries)
    for turn in range(warm_up + rounds):
        for name in order if turn % 2 == 0 else reversed(order):
            answer = libraries[name].ask(*message)
            if pause:
                time.sleep(pause)
            if turn >= warm_up:
                answers[name].append(answer)
    return answers


def _serve(connection: Connection, factory: Callable[..., Handler], arguments: tuple[Any, ...]) -> None:
    """Answer messages until the pipe closes. An interrupt is the parent's to act on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    handler: Handler | None = None
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            return
        try:
            if handler is None:
                handler = factory(*arguments)
            answer: tuple[Any, ...] = ("answer", handler(*message))
        except UnsupportedError as error:
            answer = ("unsupported", str(error))
        except Exception as error:  # whatever a library raises is shown by the parent
            answer = ("error", f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
        try:
            connection.send(answer)
        except OSError:
            return


@contextmanager
def _inherited(environment: Mapping[str, str]) -> Iterator[None]:
    """What a process started here inherits: the environment, and deafness to interrupts until it sets its own."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGINT, handler or signal.SIG_DFL)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
