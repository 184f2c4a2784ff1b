"""What a run's workers have reserved, a row each: their calls in flight, and the last exchange that is in it.

The owner of a row is the process of the run, not the till's: so a till that begins anew takes them over, and those of a
run that was killed are settled as any other's.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, TextClause, delete, select, text, update

from loom_dagster.ledger.process import Process
from loom_dagster.ledger.rows import RunHandle
from loom_dagster.ledger.tables import Moment, reservations
from loom_dagster.records import to_json

__all__ = ["Held", "WorkerRow", "WorkerRows"]

_STEP = 32  # rows a statement
_COLUMNS = (
    *("token", "run_id", "allowance", "pipeline", "host", "pid", "process_start"),
    *("amount", "calls", "beat_at", "exchange"),
)
_CHANGING = ("amount", "calls", "beat_at", "exchange")


class Held(NamedTuple):
    """A call in flight: its worst case in picodollars, and as JSON what is kept of it, its ticket last."""

    amount: int
    text: str


class WorkerRow(NamedTuple):
    """What is kept of a worker."""

    exchange: int
    calls: Mapping[int, Held]


class WorkerRows:
    """Of one run, which ``owner`` drives."""

    def __init__(self, run: RunHandle, owner: Process) -> None:
        self._run, self._owner = run, owner
        self.first, self.last = f"{run.token}/", f"{run.token}0"  # "0" follows "/"

    def read(self, connection: Connection) -> dict[str, WorkerRow]:
        """By the worker's name."""
        found = connection.execute(select(reservations).where(self._mine()))
        return {
            row.token.removeprefix(self.first): WorkerRow(
                row.exchange or 0,
                {call[-1]: Held(call[1], to_json(call).decode()) for call in orjson.loads(row.calls)},
            )
            for row in found
        }

    def write(self, connection: Connection, rows: Sequence[tuple[str, int, int, str]], now: datetime) -> None:
        """``rows``: name, number of the exchange, sum in picodollars, calls as JSON."""
        run, owner, at = self._run, self._owner, Moment().process_bind_param(now, connection.dialect)
        shared = {
            "run_id": run.run_id,
            "allowance": run.allowance,
            "pipeline": run.pipeline,
            "host": owner.host,
            "pid": owner.pid,
            "process_start": owner.start,
            "beat_at": at,
        }
        for start in range(0, len(rows), _STEP):
            step = rows[start : start + _STEP]
            given = dict(shared)
            for n, (name, exchange, amount, calls) in enumerate(step):
                given |= {
                    f"token{n}": self.first + name,
                    f"amount{n}": amount,
                    f"calls{n}": calls,
                    f"exchange{n}": exchange,
                }
            connection.execute(_upsert(len(step)), given)

    def drop(self, connection: Connection, names: Sequence[str]) -> None:
        """They are gone, and what they had is settled."""
        for name in names:
            connection.execute(delete(reservations).where(reservations.c.token == self.first + name))

    def beat(self, connection: Connection, now: datetime) -> None:
        """A sign of life for all of them."""
        connection.execute(update(reservations).where(self._mine()).values(beat_at=now))

    def _mine(self) -> ColumnElement[bool]:
        return reservations.c.token.between(self.first, self.last)


@functools.cache
def _upsert(rows: int) -> TextClause:
    # one statement for many: between two of them the interpreter's lock has to be won back, and a server is far away
    own = {"token", "amount", "calls", "exchange"}
    values = ", ".join(
        f"({', '.join(f':{name}{n}' if name in own else f':{name}' for name in _COLUMNS)})"
        for n in range(rows)
    )
    changing = ", ".join(f"{name} = excluded.{name}" for name in _CHANGING)
    return text(
        f"INSERT INTO reservations ({', '.join(_COLUMNS)}) VALUES {values} "  # noqa: S608 - our own names
        f"ON CONFLICT (token) DO UPDATE SET {changing}"
    )
