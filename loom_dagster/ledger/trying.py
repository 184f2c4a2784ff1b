"""Those who spend without a run: prompt tests. Their money stands in the books like any other, under an entry that is no
run of the pipeline's: it holds no lease, and is not listed."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection, insert, select

from loom_dagster.clock import Clock
from loom_dagster.ledger import runs
from loom_dagster.ledger.database import Database
from loom_dagster.ledger.rows import RunHandle

__all__ = ["TESTS", "Trying"]

TESTS = runs.TESTS


class Trying:
    """Of every pipeline."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    def handle(self, pipeline: str, shared: str = "") -> RunHandle:
        """What to spend under. All who name the same ``shared`` have one budget of a run together, also of other pipelines."""
        shared = shared or uuid.uuid4().hex
        place = runs.runs.c

        def work(connection: Connection) -> RunHandle:
            now = self._clock.now()
            known = select(place.run_id).where(place.partition == TESTS, place.fingerprint == shared)
            run_id = connection.scalar(known)
            if run_id is None:
                run_id = runs.new_id(connection, pipeline, TESTS, now, self._clock.random())
                connection.execute(
                    insert(runs.runs).values(
                        run_id=run_id,
                        pipeline=pipeline,
                        partition=TESTS,
                        fingerprint=shared,
                        status="succeeded",
                        started_at=now,
                        finished_at=now,
                        resumes=0,
                        outcome={},
                        allowance=0,
                    )
                )
            return RunHandle(
                run_id=run_id,
                pipeline=pipeline,
                partition=TESTS,
                fingerprint=shared,
                resumed=False,
                started_at=now,
                token="",
            )

        return self._database.write(work)
