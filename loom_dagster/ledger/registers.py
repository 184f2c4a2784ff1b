"""A ledger, opened: its database, and the registers in it that have nothing to do with each other."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from loom_dagster.clock import Clock, SystemClock
from loom_dagster.ledger.audit import Audit
from loom_dagster.ledger.batches import Batches
from loom_dagster.ledger.books import Books
from loom_dagster.ledger.database import Database
from loom_dagster.ledger.history import History
from loom_dagster.ledger.kept import Kept
from loom_dagster.ledger.migrations import migrate
from loom_dagster.ledger.outbox import Outbox
from loom_dagster.ledger.past_runs import PastRuns
from loom_dagster.ledger.retention import Retention
from loom_dagster.ledger.takings import Takings
from loom_dagster.ledger.trying import Trying
from loom_dagster.ledger.watermarks import Watermarks

__all__ = ["Registers"]


class Registers:
    """``where``: a path, ``sqlite:///PATH`` or ``postgresql://USER:PASSWORD@HOST/DATABASE?schema=NAME``; the tables are
    made, or brought up to date, when needed."""

    def __init__(self, where: Path | str, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._database = Database(where)
        migrate(self._database, self._clock)
        self.watermarks = Watermarks(self._database, self._clock)
        self.takings = Takings(self._database, self._clock)
        self.audit = Audit(self._database, self._clock)
        self.retention = Retention(self._database, self._clock)
        self.outbox = Outbox(self._database, self._clock)
        self.past_runs = PastRuns(self._database)
        self.batches = Batches(self._database, self._clock)
        self.books = Books(self._database, self._clock)
        self.kept = Kept(self._database)
        self.history = History(self._database, self._clock)
        self.trying = Trying(self._database, self._clock)

    @property
    def database(self) -> Database:
        """For those who keep something in it for as long as they work."""
        return self._database

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
