"""The ledger's tables as the code sees them. How they came about is in migrations.py; a test
holds the two together."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, MetaData, String, Table, TypeDecorator
from sqlalchemy.engine import Dialect

from loom_dagster.records import to_json

__all__ = [
    "Json",
    "Moment",
    "evaluations",
    "last_writes",
    "leases",
    "limit_shares",
    "metadata",
    "quarantine",
    "reservations",
    "run_metrics",
    "runs",
    "schema_version",
    "snapshots",
    "spend",
    "texts",
    "versions",
    "watermarks",
]


class Moment(TypeDecorator[datetime]):
    """A point in time as ISO 8601 text in UTC: sorts as it reads, the same in every database."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        return None if value is None else value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


class Json(TypeDecorator[Any]):
    """Canonical JSON as text."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else to_json(value).decode()

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else orjson.loads(value)


metadata = MetaData()

schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("applied_at", Moment, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("pipeline", String, nullable=False),
    Column("partition", String, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("version", String),
    Column("status", String, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("resumes", Integer, nullable=False),
    Column("dagster_run_id", String),
    Column("outcome", Json),
    Column("allowance", Integer, nullable=False),
    Column("taken", Json),
)

leases = Table(
    "leases",
    metadata,
    Column("pipeline", String, primary_key=True),
    Column("partition", String, primary_key=True),
    Column("run_id", String, nullable=False),
    Column("token", String, nullable=False),
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_start", String, nullable=False),
    Column("taken_at", Moment, nullable=False),
    Column("beat_at", Moment, nullable=False),
)

run_metrics = Table(
    "run_metrics",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("value", Float, nullable=False),
)

evaluations = Table(
    "evaluations",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("type", String, nullable=False),
    Column("threshold", Float, nullable=False),
    Column("passed", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("errors", Integer, nullable=False),
    Column("mean", Float),
    Column("std", Float),
    Column("min", Float),
    Column("max", Float),
    Column("histogram", Json, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("kind", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("version", String, primary_key=True),
    Column("hash", String, primary_key=True),
    Column("first_run_id", String, nullable=False),
)

texts = Table(
    "texts",
    metadata,
    Column("hash", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("name", String, nullable=False),
    Column("version", String, nullable=False),
    Column("text", String, nullable=False),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("pipeline", String, nullable=False),
    Column("partition", String, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("folder", String, nullable=False),
    Column("data_version", String, nullable=False),
    Column("counts", Json, nullable=False),
    Column("verdict_passed", Boolean, nullable=False),
    Column("verdict_reason", String, nullable=False),
    Column("pass_rate", Float),
    Column("threshold", Float),
    Column("released_at", Moment),
    Column("released_by", String),
    Column("why", String),
    Column("increment", Boolean, nullable=False),
    Column("watermark", Json),
    Column("loaded_at", Moment),
    Column("cleaned_at", Moment),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("pipeline", String, primary_key=True),
    Column("partition", String, primary_key=True),
    Column("record_id", String, primary_key=True),
    Column("run_id", String, nullable=False),
    Column("stage", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("sample", Integer, nullable=False),
    Column("quarantined_at", Moment, nullable=False),
    Column("resolved_at", Moment),
    Column("resolution", String),
    Column("resolved_by", String),
)

spend = Table(
    "spend",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("allowance", Integer, primary_key=True),
    Column("day", String, primary_key=True),
    Column("purpose", String, primary_key=True),
    Column("model", String, primary_key=True),
    Column("prompt", String, primary_key=True),
    Column("pipeline", String, nullable=False),
    Column("spent", BigInteger, nullable=False),
    Column("unconfirmed", BigInteger, nullable=False),
    Column("calls", BigInteger, nullable=False),
    Column("unpriced", BigInteger, nullable=False),
    Column("lost", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
)

reservations = Table(
    "reservations",
    metadata,
    Column("token", String, primary_key=True),
    Column("run_id", String, nullable=False),
    Column("allowance", Integer, nullable=False),
    Column("pipeline", String, nullable=False),
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_start", String, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("calls", String, nullable=False),
    Column("beat_at", Moment, nullable=False),
    Column("exchange", BigInteger),
)

limit_shares = Table(
    "limit_shares",
    metadata,
    Column("name", String, primary_key=True),
    Column("token", String, primary_key=True),
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_start", String, nullable=False),
    Column("most", Integer, nullable=False),
    Column("wanted", Integer, nullable=False),
    Column("held", Integer, nullable=False),
    Column("beat_at", Moment, nullable=False),
)

watermarks = Table(
    "watermarks",
    metadata,
    Column("pipeline", String, primary_key=True),
    Column("partition", String, primary_key=True),
    Column("watermark", Json, nullable=False),
    Column("moved_at", Moment, nullable=False),
    Column("moved_by", String, nullable=False),
)

last_writes = Table(
    "last_writes",
    metadata,
    Column("writer", String, primary_key=True),
    Column("mark", String, nullable=False),
    Column("written_at", Moment, nullable=False),
)
