"""How the ledger's tables came about: a numbered list that runs by itself.

A step that was released is never edited; a change is a new step at the end. The SQL is the
subset that SQLite and Postgres share; what is ``Only`` for one of them says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, func, insert, inspect, select

from loom_dagster.clock import Clock
from loom_dagster.errors import Misconfigured
from loom_dagster.ledger.database import Database
from loom_dagster.ledger.tables import schema_version

__all__ = ["MIGRATIONS", "Step", "migrate"]


@dataclass(frozen=True, slots=True)
class Only:
    """A statement for one of the two databases."""

    dialect: Literal["sqlite", "postgresql"]
    sql: str


Step = tuple[str | Only, ...]

_RUNS: Step = (
    """CREATE TABLE runs (
        run_id VARCHAR NOT NULL PRIMARY KEY, pipeline VARCHAR NOT NULL, partition VARCHAR NOT NULL,
        fingerprint VARCHAR NOT NULL, version VARCHAR, status VARCHAR NOT NULL, started_at VARCHAR NOT NULL,
        finished_at VARCHAR, resumes INTEGER NOT NULL, dagster_run_id VARCHAR, outcome VARCHAR)""",
    "CREATE INDEX runs_of_pipeline ON runs (pipeline, partition, run_id)",
    """CREATE TABLE leases (
        pipeline VARCHAR NOT NULL, partition VARCHAR NOT NULL, run_id VARCHAR NOT NULL,
        token VARCHAR NOT NULL, host VARCHAR NOT NULL, pid INTEGER NOT NULL, process_start VARCHAR NOT NULL,
        taken_at VARCHAR NOT NULL, beat_at VARCHAR NOT NULL, PRIMARY KEY (pipeline, partition))""",
    """CREATE TABLE run_metrics (
        run_id VARCHAR NOT NULL REFERENCES runs (run_id), name VARCHAR NOT NULL, value FLOAT NOT NULL,
        PRIMARY KEY (run_id, name))""",
    """CREATE TABLE evaluations (
        run_id VARCHAR NOT NULL REFERENCES runs (run_id), name VARCHAR NOT NULL, type VARCHAR NOT NULL,
        threshold FLOAT NOT NULL, passed INTEGER NOT NULL, failed INTEGER NOT NULL, errors INTEGER NOT NULL,
        mean FLOAT, std FLOAT, min FLOAT, max FLOAT, histogram VARCHAR NOT NULL,
        PRIMARY KEY (run_id, name))""",
    """CREATE TABLE versions (
        kind VARCHAR NOT NULL, name VARCHAR NOT NULL, version VARCHAR NOT NULL, hash VARCHAR NOT NULL,
        first_run_id VARCHAR NOT NULL REFERENCES runs (run_id), PRIMARY KEY (kind, name, version, hash))""",
)

_SNAPSHOTS: Step = (
    """CREATE TABLE snapshots (
        run_id VARCHAR NOT NULL PRIMARY KEY REFERENCES runs (run_id), pipeline VARCHAR NOT NULL,
        partition VARCHAR NOT NULL, created_at VARCHAR NOT NULL, folder VARCHAR NOT NULL,
        data_version VARCHAR NOT NULL, counts VARCHAR NOT NULL, verdict_passed BOOLEAN NOT NULL,
        verdict_reason VARCHAR NOT NULL, pass_rate FLOAT, threshold FLOAT, released_at VARCHAR,
        released_by VARCHAR, why VARCHAR)""",
    "CREATE INDEX snapshots_of_pipeline ON snapshots (pipeline, partition, run_id)",
    """CREATE TABLE quarantine (
        pipeline VARCHAR NOT NULL, partition VARCHAR NOT NULL, record_id VARCHAR NOT NULL,
        run_id VARCHAR NOT NULL REFERENCES runs (run_id), stage VARCHAR NOT NULL, kind VARCHAR NOT NULL,
        reason VARCHAR NOT NULL, sample INTEGER NOT NULL, quarantined_at VARCHAR NOT NULL,
        resolved_at VARCHAR, resolution VARCHAR, resolved_by VARCHAR,
        PRIMARY KEY (pipeline, partition, record_id))""",
)

_SPEND: Step = (
    "ALTER TABLE runs ADD COLUMN allowance INTEGER NOT NULL DEFAULT 0",
    """CREATE TABLE spend (
        run_id VARCHAR NOT NULL REFERENCES runs (run_id), allowance INTEGER NOT NULL, day VARCHAR NOT NULL,
        pipeline VARCHAR NOT NULL, spent BIGINT NOT NULL, unconfirmed BIGINT NOT NULL,
        PRIMARY KEY (run_id, allowance, day))""",
    "CREATE INDEX spend_of_day ON spend (day, pipeline)",
    """CREATE TABLE reservations (
        token VARCHAR NOT NULL PRIMARY KEY, run_id VARCHAR NOT NULL REFERENCES runs (run_id),
        allowance INTEGER NOT NULL, pipeline VARCHAR NOT NULL, host VARCHAR NOT NULL, pid INTEGER NOT NULL,
        process_start VARCHAR NOT NULL, amount BIGINT NOT NULL, calls VARCHAR NOT NULL, beat_at VARCHAR NOT NULL)""",
)

_SHARES: Step = (
    """CREATE TABLE limit_shares (
        name VARCHAR NOT NULL, token VARCHAR NOT NULL, host VARCHAR NOT NULL, pid INTEGER NOT NULL,
        process_start VARCHAR NOT NULL, most INTEGER NOT NULL, wanted INTEGER NOT NULL, held INTEGER NOT NULL,
        beat_at VARCHAR NOT NULL, PRIMARY KEY (name, token))""",
)

_WATERMARKS: Step = (
    "ALTER TABLE snapshots ADD COLUMN increment BOOLEAN NOT NULL DEFAULT FALSE",
    "ALTER TABLE snapshots ADD COLUMN watermark VARCHAR",
    "ALTER TABLE snapshots ADD COLUMN loaded_at VARCHAR",
    """CREATE TABLE watermarks (
        pipeline VARCHAR NOT NULL, partition VARCHAR NOT NULL, watermark VARCHAR NOT NULL,
        moved_at VARCHAR NOT NULL, moved_by VARCHAR NOT NULL, PRIMARY KEY (pipeline, partition))""",
)

_LAST_WRITES: Step = (  # whether a commit came through, which only a server makes one ask
    """CREATE TABLE last_writes (
        writer VARCHAR NOT NULL PRIMARY KEY, mark VARCHAR NOT NULL, written_at VARCHAR NOT NULL)""",
)

_ALERTS: Step = (
    """CREATE TABLE alerts (
        alert_id VARCHAR NOT NULL PRIMARY KEY, incident VARCHAR NOT NULL, event VARCHAR NOT NULL,
        pipeline VARCHAR NOT NULL, partition VARCHAR NOT NULL, check_name VARCHAR NOT NULL, run_id VARCHAR NOT NULL,
        dagster_run_id VARCHAR, created_at VARCHAR NOT NULL, facts VARCHAR NOT NULL, resolved_at VARCHAR,
        resolution VARCHAR, acked_at VARCHAR, acked_by VARCHAR, ack_why VARCHAR)""",
    "CREATE INDEX alerts_of_pipeline ON alerts (pipeline, partition, created_at)",
    "CREATE INDEX alerts_in_order ON alerts (created_at)",
    """CREATE TABLE alert_deliveries (
        alert_id VARCHAR NOT NULL REFERENCES alerts (alert_id), channel VARCHAR NOT NULL, state VARCHAR NOT NULL,
        queued_at VARCHAR NOT NULL, attempts INTEGER NOT NULL, delivered_at VARCHAR, last_error VARCHAR,
        PRIMARY KEY (alert_id, channel))""",
    "CREATE INDEX alert_deliveries_in_order ON alert_deliveries (state, channel, queued_at)",
    """CREATE TABLE alert_channels (
        channel VARCHAR NOT NULL PRIMARY KEY, failures INTEGER NOT NULL, failing_since VARCHAR, next_try_at VARCHAR,
        last_error VARCHAR, token VARCHAR, host VARCHAR, pid INTEGER, process_start VARCHAR, beat_at VARCHAR)""",
    """CREATE TABLE alert_mutes (
        pipeline VARCHAR NOT NULL, check_name VARCHAR NOT NULL, until VARCHAR NOT NULL, why VARCHAR NOT NULL,
        who VARCHAR NOT NULL, muted_at VARCHAR NOT NULL, PRIMARY KEY (pipeline, check_name))""",
    "CREATE TABLE alert_feeds (feed VARCHAR NOT NULL PRIMARY KEY, position VARCHAR NOT NULL)",
)

_TAKEN: Step = ("ALTER TABLE runs ADD COLUMN taken VARCHAR",)  # the state of the source that a run read

# what was spent, by what it was spent for; what was written before says nothing of that
_BOOKS: Step = (
    """CREATE TABLE books (
        run_id VARCHAR NOT NULL REFERENCES runs (run_id), allowance INTEGER NOT NULL, day VARCHAR NOT NULL,
        purpose VARCHAR NOT NULL, model VARCHAR NOT NULL, prompt VARCHAR NOT NULL, pipeline VARCHAR NOT NULL,
        spent BIGINT NOT NULL, unconfirmed BIGINT NOT NULL, calls BIGINT NOT NULL, unpriced BIGINT NOT NULL,
        lost BIGINT NOT NULL, input_tokens BIGINT NOT NULL, cached_tokens BIGINT NOT NULL,
        output_tokens BIGINT NOT NULL, PRIMARY KEY (run_id, allowance, day, purpose, model, prompt))""",
    """INSERT INTO books SELECT run_id, allowance, day, '', '', '', pipeline, spent, unconfirmed, 0, 0, 0, 0, 0, 0
        FROM spend""",
    "DROP TABLE spend",
    "ALTER TABLE books RENAME TO spend",
    "CREATE INDEX spend_of_day ON spend (day, pipeline)",
)

_TEXTS: Step = (  # what prompts, contexts and recipes of past runs said
    """CREATE TABLE texts (
        hash VARCHAR NOT NULL PRIMARY KEY, kind VARCHAR NOT NULL, name VARCHAR NOT NULL, version VARCHAR NOT NULL,
        text VARCHAR NOT NULL)""",
)

_AUDIT: Step = (  # what the database itself refuses: to change or to delete what somebody did
    """CREATE TABLE audit (
        number INTEGER NOT NULL PRIMARY KEY, at VARCHAR NOT NULL, who VARCHAR NOT NULL, action VARCHAR NOT NULL,
        pipeline VARCHAR NOT NULL, partition VARCHAR NOT NULL, subject VARCHAR NOT NULL, why VARCHAR NOT NULL,
        detail VARCHAR NOT NULL, previous VARCHAR NOT NULL, hash VARCHAR NOT NULL)""",
    "CREATE INDEX audit_of_pipeline ON audit (pipeline, number)",
    *(
        Only(
            "sqlite",
            f"CREATE TRIGGER audit_no_{what.lower()} BEFORE {what} ON audit"
            " BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END",
        )
        for what in ("UPDATE", "DELETE")
    ),
    Only(  # INSERT OR REPLACE deletes without the trigger of a DELETE
        "sqlite",
        "CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit"
        " WHEN EXISTS (SELECT 1 FROM audit WHERE number = NEW.number)"
        " BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END",
    ),
    Only(
        "postgresql",
        "CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'the audit is append-only'; END $$",
    ),
    Only(
        "postgresql",
        "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit"
        " FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()",
    ),
)

_BATCHES: Step = (
    """CREATE TABLE batches (
        batch_id VARCHAR NOT NULL PRIMARY KEY, run_id VARCHAR NOT NULL REFERENCES runs (run_id),
        allowance INTEGER NOT NULL, pipeline VARCHAR NOT NULL, partition VARCHAR NOT NULL, provider VARCHAR NOT NULL,
        endpoint VARCHAR NOT NULL, model VARCHAR NOT NULL, provider_id VARCHAR, file_id VARCHAR,
        state VARCHAR NOT NULL, provider_state VARCHAR, requests INTEGER NOT NULL, done INTEGER NOT NULL,
        failed INTEGER NOT NULL, reserved BIGINT NOT NULL, spent BIGINT NOT NULL, unconfirmed BIGINT NOT NULL,
        created_at VARCHAR NOT NULL, submitted_at VARCHAR, checked_at VARCHAR, ended_at VARCHAR, settled_at VARCHAR,
        cancelled_by VARCHAR, note VARCHAR, host VARCHAR NOT NULL, pid INTEGER NOT NULL,
        process_start VARCHAR NOT NULL, beat_at VARCHAR NOT NULL)""",
    "CREATE INDEX batches_of_state ON batches (state, pipeline, partition)",
)
_CLEANED: Step = ("ALTER TABLE snapshots ADD COLUMN cleaned_at VARCHAR",)
_EXCHANGES: Step = (  # the last exchange of a worker's with the till that is in its row; none for a run without workers
    "ALTER TABLE reservations ADD COLUMN exchange BIGINT",
)

MIGRATIONS: tuple[Step, ...] = (
    _RUNS,
    _SNAPSHOTS,
    _SPEND,
    _SHARES,
    _WATERMARKS,
    _LAST_WRITES,
    _ALERTS,
    _TAKEN,
    _BOOKS,
    _TEXTS,
    _AUDIT,
    _BATCHES,
    _CLEANED,
    _EXCHANGES,
)


def migrate(database: Database, clock: Clock, steps: Sequence[Step] = MIGRATIONS) -> None:
    """Bring the tables up to date, in one transaction; safe when several processes try at once.

    Raises Misconfigured (kind ``ledger``) when the ledger was written by newer code, and at once when it cannot
    be reached: a wrong address is not waited for. A server that has no connection free is.
    """
    database.begin(lambda: _migrate(database, clock, steps))


def _migrate(database: Database, clock: Clock, steps: Sequence[Step]) -> None:
    with database.reading() as connection:
        if _check(database, _version(connection), steps) == len(steps):
            return
    with database.writing() as connection:
        database.make_place(connection)
        schema_version.create(connection, checkfirst=True)
        for number in range(_check(database, _version(connection), steps) + 1, len(steps) + 1):
            for statement in steps[number - 1]:
                if (sql := _spelled(statement, connection)) is not None:
                    connection.exec_driver_sql(sql)
            connection.execute(insert(schema_version).values(version=number, applied_at=clock.now()))


def _spelled(statement: str | Only, connection: Connection) -> str | None:
    """Texts sort by their bytes everywhere, whatever the language of a server. None: not for this database."""
    if isinstance(statement, Only):
        return statement.sql if statement.dialect == connection.dialect.name else None
    by_bytes = 'VARCHAR COLLATE "C"' if connection.dialect.name == "postgresql" else "VARCHAR"
    return statement.replace("VARCHAR", by_bytes)


def _version(connection: Connection) -> int:
    if not inspect(connection).has_table("schema_version"):
        return 0
    return connection.scalar(select(func.max(schema_version.c.version))) or 0


def _check(database: Database, version: int, steps: Sequence[Step]) -> int:
    if version > len(steps):
        raise Misconfigured(
            f"this ledger was written by a newer loom-dagster (schema {version}, known here: {len(steps)})",
            where=database.name,
            fix="upgrade loom-dagster, or point the project at another state folder",
            kind="ledger",
        )
    return version
