"""A run whose last try died where nobody can look: waited for, taken over, or refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from loom_dagster.clock import SystemClock
from loom_dagster.ledger import Ledger, RunHandle, Taken
from loom_dagster.ledger.tables import leases
from loom_dagster.pipeline import Stop
from loom_dagster.pipeline.begin import begin_when_free


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def elsewhere(ledger: Ledger, *, silent: float) -> RunHandle:
    """A run of another container that gave its last sign of life so many seconds ago."""
    run = ledger.begin_run("reviews", "", "f")
    beat_at = SystemClock().now() - timedelta(seconds=silent)
    with ledger._database.writing() as connection:
        connection.execute(update(leases).values(host="pod-1", pid=1, beat_at=beat_at))
    return run


def test_one_that_stays_silent_is_taken_over_and_said_to_be_waited_for(ledger: Ledger) -> None:
    run, notes = elsewhere(ledger, silent=58.5), []
    again = begin_when_free(lambda: ledger.begin_run("reviews", "", "f"), Stop(), notes.append)
    assert (again.run_id, again.resumed) == (run.run_id, True)
    [note] = notes
    assert "another run of reviews is going on" in note and "process 1 on pod-1" in note


def test_one_that_gives_a_sign_of_life_is_left_alone(ledger: Ledger) -> None:
    run = elsewhere(ledger, silent=30)
    with pytest.raises(Taken, match="another run of reviews is going on"):
        begin_when_free(lambda: ledger.begin_run("reviews", "", "f"), Stop(), lambda _: ledger.heartbeat(run))


def test_one_of_this_machine_that_is_alive_is_not_waited_for(ledger: Ledger) -> None:
    ledger.begin_run("reviews", "", "f")
    notes: list[str] = []
    with pytest.raises(Taken):
        begin_when_free(lambda: ledger.begin_run("reviews", "", "f"), Stop(), notes.append)
    assert notes == []


def test_whoever_is_stopped_while_it_waits_waits_no_longer(ledger: Ledger) -> None:
    elsewhere(ledger, silent=0)
    stop = Stop()
    with pytest.raises(Taken):
        begin_when_free(lambda: ledger.begin_run("reviews", "", "f"), stop, lambda _: stop.request())
