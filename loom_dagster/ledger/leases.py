"""One run per pipeline and partition at a time: a lease that its owner keeps alive."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from loom_dagster.errors import Misconfigured
from loom_dagster.ledger.process import Process, is_gone, kernel_of, this_process
from loom_dagster.ledger.rows import RunHandle
from loom_dagster.ledger.tables import leases

__all__ = [
    "Taken",
    "alive",
    "beat",
    "check",
    "give_back",
    "is_taken",
    "refuse_if_taken",
    "refuse_other_machines",
    "take",
]

_LIFE = timedelta(seconds=60)
_FRESH = timedelta(seconds=20)  # two beats


class Taken(Misconfigured):
    """Another run holds the lease. ``beat_at``: its last sign of life, when that is all that can be known of it, since its
    process is on another machine or in another container; None: it is alive."""

    kind = "lease"

    def __init__(self, what: str, *, why: str, fix: str, beat_at: datetime | None) -> None:
        super().__init__(what, why=why, fix=fix)
        self.beat_at = beat_at


def refuse_if_taken(connection: Connection, pipeline: str, partition: str, now: datetime) -> None:
    """Raises Taken while another run is alive here."""
    row = _alive(connection, pipeline, partition, now)
    if row is None:
        return
    of = f"{pipeline}, partition {partition}," if partition else pipeline
    raise Taken(
        f"another run of {of} is going on since {row.taken_at:%Y-%m-%d %H:%M:%S} UTC",
        why=f"run {row.run_id}, process {row.pid} on {row.host.split()[0]}",
        fix="wait for it or stop it",
        beat_at=None if row.host == this_process().host else row.beat_at,
    )


def refuse_other_machines(connection: Connection, now: datetime) -> None:
    """For a ledger that is a file: raises Misconfigured (kind ``ledger``) when another machine uses it at this moment."""
    here = kernel_of(this_process())
    for row in connection.execute(select(leases)):
        there = kernel_of(_owner(row))
        if there and here and there != here and abs(now - row.beat_at) < _FRESH:
            raise Misconfigured(
                f"another machine, {row.host.split()[0]}, is using this ledger, which is a file",
                why="SQLite on a file system that machines share loses data without a word",
                fix="keep the ledger on Postgres: [tool.loom] ledger, see docs/deployment.md",
                kind="ledger",
            )


def is_taken(connection: Connection, pipeline: str, partition: str, now: datetime) -> bool:
    """Whether a run is alive here."""
    return _alive(connection, pipeline, partition, now) is not None


def alive(connection: Connection, now: datetime) -> list[tuple[str, str]]:
    """The slots in which a run is alive."""
    return [
        (row.pipeline, row.partition) for row in connection.execute(select(leases)) if not _over(row, now)
    ]


def _over(row: Row[Any], now: datetime) -> bool:
    return is_gone(_owner(row), silent=now - row.beat_at > _LIFE)


def _alive(connection: Connection, pipeline: str, partition: str, now: datetime) -> Row[Any] | None:
    row = connection.execute(select(leases).where(*_slot(pipeline, partition))).one_or_none()
    return None if row is None or _over(row, now) else row


def take(connection: Connection, pipeline: str, partition: str, run_id: str, now: datetime) -> str:
    """Take the lease of a slot that ``refuse_if_taken`` found free; gives its token."""
    me, token = this_process(), uuid.uuid4().hex
    connection.execute(delete(leases).where(*_slot(pipeline, partition)))
    connection.execute(
        insert(leases).values(
            pipeline=pipeline,
            partition=partition,
            run_id=run_id,
            token=token,
            host=me.host,
            pid=me.pid,
            process_start=me.start,
            taken_at=now,
            beat_at=now,
        )
    )
    return token


def beat(connection: Connection, run: RunHandle, now: datetime) -> None:
    """Say that the run is alive. Raises like ``check``."""
    check(connection, run)
    connection.execute(update(leases).where(leases.c.token == run.token).values(beat_at=now))


def check(connection: Connection, run: RunHandle) -> None:
    """Raises Misconfigured (kind ``lease``) when another process has taken the run over."""
    if connection.execute(select(leases.c.pid).where(leases.c.token == run.token)).first() is None:
        raise Misconfigured(
            f"run {run.run_id} of {run.pipeline} has lost its lease",
            why=f"it gave no sign of life for {_LIFE.seconds} s and another process took over, or it ended",
            fix="leave it to the other one; nothing of this one was kept but its paid answers",
            kind="lease",
        )


def give_back(connection: Connection, run: RunHandle) -> None:
    connection.execute(delete(leases).where(leases.c.token == run.token))


def _slot(pipeline: str, partition: str) -> tuple[ColumnElement[bool], ...]:
    return leases.c.pipeline == pipeline, leases.c.partition == partition


def _owner(row: Row[tuple[object, ...]]) -> Process:
    return Process(host=row.host, pid=row.pid, start=row.process_start)
