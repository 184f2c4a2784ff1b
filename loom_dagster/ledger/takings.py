"""How the source of each run looked when the run began to read it: what a trigger compares with what is there now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select, update

from loom_dagster.clock import Clock
from loom_dagster.ledger import leases
from loom_dagster.ledger.database import Database
from loom_dagster.ledger.rows import RunRow
from loom_dagster.ledger.tables import runs

__all__ = ["Takings"]


class Takings:
    """Of every pipeline and partition."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    def note(self, run_id: str, taken: Mapping[str, Any]) -> None:
        """Before the source is read: what comes later is then seen as new, and nothing is missed."""
        statement = update(runs).where(runs.c.run_id == run_id).values(taken=dict(taken))
        self._database.write(lambda connection: connection.execute(statement))

    def newest(self, pipeline: str, partition: str = "") -> RunRow | None:
        """The newest run with a note."""

        def work(connection: Connection) -> RunRow | None:
            found = connection.execute(
                select(runs)
                .where(runs.c.pipeline == pipeline, runs.c.partition == partition, runs.c.taken.is_not(None))
                .order_by(runs.c.run_id.desc())
                .limit(1)
            )
            return next((RunRow(**row) for row in found.mappings()), None)

        return self._database.read(work)

    def is_running(self, pipeline: str, partition: str = "") -> bool:
        """Whether a run holds the lease and is alive."""
        now = self._clock.now()
        return self._database.read(lambda connection: leases.is_taken(connection, pipeline, partition, now))
