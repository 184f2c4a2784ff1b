"""The table of batches as the code sees it, and what the ledger hands out of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Column, Integer, String, Table

from loom_dagster.ledger.tables import Moment, metadata

__all__ = ["OPEN_BATCHES", "BatchRow", "batches"]

batches = Table(
    "batches",
    metadata,
    Column("batch_id", String, primary_key=True),
    Column("run_id", String, nullable=False),
    Column("allowance", Integer, nullable=False),
    Column("pipeline", String, nullable=False),
    Column("partition", String, nullable=False),
    Column("provider", String, nullable=False),
    Column("endpoint", String, nullable=False),
    Column("model", String, nullable=False),
    Column("provider_id", String),
    Column("file_id", String),
    Column("state", String, nullable=False),
    Column("provider_state", String),
    Column("requests", Integer, nullable=False),
    Column("done", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("spent", BigInteger, nullable=False),
    Column("unconfirmed", BigInteger, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("submitted_at", Moment),
    Column("checked_at", Moment),
    Column("ended_at", Moment),
    Column("settled_at", Moment),
    Column("cancelled_by", String),
    Column("note", String),
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_start", String, nullable=False),
    Column("beat_at", Moment, nullable=False),
)

OPEN_BATCHES = ("submitting", "submitted", "ended")
"""States of batches that may cost, or have cost, what is not in the books yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    """A batch. ``state``: spooling (gathered, nothing is sent), submitting (it may be with the provider), submitted,
    ended (its answers can be read), collected (they are in the store, and in the books), refused (by the provider, as
    a whole: nothing was paid), dropped (it was not sent, and nobody needs it) or lost (the provider knows of it no
    more: it counts at its worst case).
    ``provider_id`` and ``provider_state`` are the provider's words. ``reserved``, ``spent`` and ``unconfirmed`` in
    USD."""

    batch_id: str
    run_id: str
    allowance: int
    pipeline: str
    partition: str
    provider: str
    endpoint: str
    model: str
    provider_id: str | None
    file_id: str | None
    state: str
    provider_state: str | None
    requests: int
    done: int
    failed: int
    reserved: float
    spent: float
    unconfirmed: float
    created_at: datetime
    submitted_at: datetime | None
    checked_at: datetime | None
    ended_at: datetime | None
    settled_at: datetime | None
    cancelled_by: str | None
    note: str | None
