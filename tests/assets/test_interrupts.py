"""Terminate, Ctrl-C: the intake stops, what is in flight is stored, and Dagster hears of it."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import dagster as dg
import pytest

from loom_dagster.assets import materialize
from loom_dagster.assets.worker import run_in_thread
from loom_dagster.events import Listener, Note


def interrupted_while_running(drained: list[str]) -> Any:
    """A run that gets SIGINT and ends when it is asked to, after one more record."""

    def during(listen: Listener, stop: Any) -> None:
        asked = threading.Event()
        stop.when_requested(asked.set)
        os.kill(os.getpid(), signal.SIGINT)
        assert asked.wait(20), "nobody asked the run to stop"
        drained.append("the last one")

    return during


def test_a_run_that_is_terminated_is_drained_and_canceled(
    desk: Any, own_instance: dg.DagsterInstance, script: Any
) -> None:
    desk.write("p")
    drained: list[str] = []
    interrupt = interrupted_while_running(drained)

    def terminate(listen: Listener, stop: Any) -> None:
        (run,) = own_instance.get_runs()
        own_instance.report_run_canceling(run)  # what the button in the UI does first
        interrupt(listen, stop)

    desk.instance = own_instance
    loom = desk.loom(p=script(during=terminate))
    ran = desk.run(desk.definitions(loom))
    assert drained == ["the last one"]
    assert ran.materialized == set()
    assert loom.loads == []
    (run,) = own_instance.get_runs()
    assert run.status == dg.DagsterRunStatus.CANCELED


def test_an_interrupt_without_a_request_is_no_success(desk: Any, script: Any) -> None:
    desk.write("p")
    ran = desk.run(desk.definitions(desk.loom(p=script(during=interrupted_while_running([])))))
    assert not ran.ok
    assert "DagsterExecutionInterruptedError" in ran.failures["p__run"]


def test_loom_run_is_told_of_an_interrupted_run(desk: Any, script: Any) -> None:
    desk.write("p")
    desk.write("q")
    loom = desk.loom(p=script(during=interrupted_while_running([])))
    first, second = materialize(
        desk.root, ["p", "q"], open_loom=lambda _: loom, environ={"DAGSTER_HOME": str(desk.home)}
    )
    assert (first.status, first.exit_code, first.counts.extracted) == ("interrupted", 130, 3)
    assert [name for name, _ in loom.ran] == ["p"]
    assert (second.status, second.exit_code) == ("interrupted", 130)


def test_an_interrupt_before_the_run_begins_starts_nothing() -> None:
    for _ in range(20):  # the signal comes while the thread is starting, or just before or after
        begun: list[str] = []

        def work(listen: Listener, stop: Any, begun: list[str] = begun) -> Any:
            begun.append("begun")
            asked = threading.Event()
            stop.when_requested(asked.set)
            assert asked.wait(20)
            begun.append("drained")

        previous = signal.signal(signal.SIGINT, _raise)
        try:
            with pytest.raises(Interrupted):
                _run_with_a_signal_soon(work)
        finally:
            signal.signal(signal.SIGINT, previous)
        assert begun in ([], ["begun", "drained"])


def _run_with_a_signal_soon(work: Any) -> None:
    threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()
    run_in_thread(work, lambda event: None)


def _raise(number: int, frame: Any) -> None:
    raise Interrupted


class Interrupted(BaseException):
    pass


def test_whatever_interrupts_the_waiting_is_raised_again_after_the_drain() -> None:
    seen: list[str] = []

    def work(listen: Listener, stop: Any) -> Any:
        listen(Note(pipeline="p", text="go"))
        asked = threading.Event()
        stop.when_requested(asked.set)
        assert asked.wait(20)
        seen.append("drained")

    def listen(event: Any) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        run_in_thread(work, listen)
    assert seen == ["drained"]


def test_an_error_of_the_run_is_raised_in_the_thread_that_waits() -> None:
    def work(listen: Listener, stop: Any) -> Any:
        raise KeyError("oops")

    with pytest.raises(KeyError):
        run_in_thread(work, lambda event: None)


def test_events_arrive_in_the_thread_that_waits() -> None:
    threads: list[threading.Thread] = []

    def work(listen: Listener, stop: Any) -> Any:
        listen(Note(pipeline="p", text="go"))
        return "outcome"

    assert run_in_thread(work, lambda event: threads.append(threading.current_thread())) == "outcome"
    assert threads == [threading.current_thread()]
