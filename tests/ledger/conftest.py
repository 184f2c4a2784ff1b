"""A ledger, once in a file and once on Postgres; a clock that is set by hand; and short ways to say a run."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from loom_dagster.ledger import Ledger, SnapshotRow
from loom_dagster.ledger.answer_file import AnswerFile
from loom_dagster.ledger.answer_schema import AnswerSchema


class HandClock:
    """Stands still until it is moved."""

    def __init__(self):
        self.time = datetime(2026, 11, 21, 3, 15, tzinfo=UTC)
        self.luck = 0.5

    def now(self):
        return self.time

    def monotonic(self):
        return self.time.timestamp()

    async def sleep(self, seconds):
        self.time += timedelta(seconds=seconds)

    def random(self):
        return self.luck

    def move(self, seconds):
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture(scope="session")
def ledger_database(postgres):
    """One database of the server; every test has a schema of its own in it."""
    return postgres.database()


@pytest.fixture
def on_postgres(ledger_database):
    """Where a new ledger on Postgres may be."""
    return f"{ledger_database}?schema=t{uuid.uuid4().hex[:12]}"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.service)])
def path(request, tmp_path):
    """Where a new ledger may be."""
    if request.param == "postgres":
        return request.getfixturevalue("on_postgres")
    return tmp_path / ".loom" / "ledger.sqlite"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.service)])
def place_again(request, tmp_path):
    """Where answers may be: once more, as another process would see it."""
    if request.param == "postgres":
        url = request.getfixturevalue("on_postgres")
        return lambda: AnswerSchema(url)
    return lambda: AnswerFile(tmp_path / ".loom" / "answers.sqlite")


@pytest.fixture
def place(place_again):
    return place_again()


@pytest.fixture
def store(place, clock):
    opened = place.open(clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def ledger(path, clock):
    with Ledger(path, clock=clock) as opened:
        yield opened


@pytest.fixture
def snapshot_of():
    def make(run, *, passed=True, released=True, **changes):
        now = run.started_at
        given = {
            "run_id": run.run_id,
            "pipeline": run.pipeline,
            "partition": run.partition,
            "created_at": now,
            "folder": run.run_id,
            "data_version": "v",
            "counts": {"extracted": 3, "passed": 2, "quarantined": 1},
            "verdict_passed": passed,
            "verdict_reason": "2 of 3 records passed",
            "pass_rate": 2 / 3,
            "released_at": now if released else None,
            "released_by": "gate" if released else None,
        }
        return SnapshotRow(**{**given, **changes})

    return make


@pytest.fixture
def finished(ledger, snapshot_of):
    """Run and finish: ``finished(status, quarantine_rows=..., released=...)`` gives the handle."""

    def run(status="succeeded", *, released=True, fingerprint="f", partition="", **finish):
        handle = ledger.begin_run("reviews", partition, fingerprint)
        row = snapshot_of(handle, released=released, passed=released)
        ledger.finish_run(handle, status, outcome={"status": status}, snapshot=row, **finish)
        return handle

    return run
