"""Workers: answers, failures, and leaving."""

from __future__ import annotations

import os
import signal
import time

import pytest

from convlens import UnsupportedError
from convlens.cli.bench import PASSIVE, WAITS, Worker, WorkerError, alternate, workers


def echo(prefix):
    def handle(what, value=None):
        if what == "fail":
            raise KeyError("no such thing")
        if what == "refuse":
            raise UnsupportedError("not here")
        if what == "die":
            os._exit(7)
        if what == "sleep":
            time.sleep(600)
        return {"say": (prefix, value), "environment": os.environ.get(str(value)), "pid": os.getpid()}[what]

    return handle


def broken():
    raise ImportError("no module named peer")


@pytest.fixture(scope="module")
def worker():
    with Worker("peer", echo, "p", threads=3) as running:
        yield running


def test_a_worker_answers_from_a_process_of_its_own(worker):
    assert worker.ask("say", 5) == ("p", 5)
    assert worker.ask("pid") != os.getpid()


def test_threads_and_waiting_are_in_its_environment_and_not_in_ours(worker):
    before = os.environ.get("OMP_WAIT_POLICY")
    assert worker.ask("environment", "OPENBLAS_NUM_THREADS") == "3"
    assert worker.ask("environment", "OMP_WAIT_POLICY") == PASSIVE["OMP_WAIT_POLICY"]
    assert os.environ.get("OMP_WAIT_POLICY") == before


def test_a_peers_threads_wait_as_they_would_without_convlens():
    seen = {}
    for name in ("convlens_ops", "torch"):
        with Worker(name, echo, "p", environment=WAITS["active"][0]) as running:
            seen[name] = running.ask("environment", "GOMP_SPINCOUNT")
    assert seen == {"convlens_ops": os.environ.get("GOMP_SPINCOUNT"), "torch": "300000"}


def test_a_failure_is_shown_with_its_traceback_and_the_worker_goes_on(worker):
    with pytest.raises(WorkerError, match="peer: KeyError: 'no such thing'") as raised:
        worker.ask("fail")
    assert "in handle" in str(raised.value)
    with pytest.raises(UnsupportedError, match="not here"):
        worker.ask("refuse")
    assert worker.ask("say", 1) == ("p", 1)


def test_an_interrupt_is_the_parents_to_act_on(worker):
    os.kill(worker.ask("pid"), signal.SIGINT)
    assert worker.ask("say", 2) == ("p", 2)


def test_a_process_that_ends_says_how():
    with Worker("peer", echo, "p") as dying, pytest.raises(WorkerError, match="ended with exit code 7"):
        dying.ask("die")


def test_a_library_that_cannot_be_loaded_is_an_error():
    with Worker("peer", broken) as empty, pytest.raises(WorkerError, match="ImportError: no module named peer"):
        empty.ask("say")


def test_closing_ends_even_a_process_that_is_busy(monkeypatch):
    monkeypatch.setattr("convlens.cli.bench._process._PATIENCE", 0.2)
    with Worker("peer", echo, "p") as busy:
        pid = busy.ask("pid")
        busy._connection.send(("sleep",))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_libraries_take_turns_whose_order_turns_round():
    asked = []

    class Recorder:
        def __init__(self, name):
            self.name = name

        def ask(self, *message):
            asked.append(self.name)
            return len(asked)

    answers = alternate({name: Recorder(name) for name in "ab"}, ("x",), 2, warm_up=1)
    assert asked == ["a", "b", "b", "a", "a", "b"]
    assert answers == {"a": [4, 5], "b": [3, 6]}


def test_every_factory_gets_a_worker_with_the_same_arguments():
    with workers({"one": echo, "two": echo}, ("same",)) as running:
        assert {name: worker.ask("say") for name, worker in running.items()} == dict.fromkeys(
            ("one", "two"), ("same", None)
        )
