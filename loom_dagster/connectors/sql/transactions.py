"""A connection for one load: strict, in UTC, one load into a table at a time, and nothing left on it afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from loom_dagster.errors import Transient

__all__ = ["opened", "transaction"]

_SETTINGS = {
    "postgresql": (
        "SET TIME ZONE 'UTC'",
        "SET datestyle TO 'ISO, YMD'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED",
    ),
    "mysql": (
        # strict: a value that does not fit is an error, never cut
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
        "SET SESSION time_zone = '+00:00'",
        "SET SESSION foreign_key_checks = 1, SESSION unique_checks = 1",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    ),
    "sqlite": ("PRAGMA foreign_keys = ON",),
}


@contextmanager
def opened(engine: Engine) -> Iterator[Connection]:
    """A connection that is not given back: its settings, temporary tables and locks end with it, and whatever
    was not committed is undone."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.detach()
        raw: Any = connection.connection.dbapi_connection
        if connection.dialect.name == "postgresql" and raw.encoding != "UTF8":  # as the database is
            raw.set_client_encoding("UTF8")
        for setting in _SETTINGS[connection.dialect.name]:
            connection.exec_driver_sql(setting)
        yield connection


@contextmanager
def transaction(connection: Connection, table: str, patience: float) -> Iterator[None]:
    """All or nothing, and no other load into ``table`` meanwhile: it waits, MySQL's at most ``patience`` seconds.

    In MySQL making a table ends a transaction; the lock stays until the end of this all the same.
    """
    name = hashlib.blake2b(table.encode(), digest_size=16).hexdigest()
    match connection.dialect.name:
        case "postgresql":
            connection.exec_driver_sql("BEGIN")
            number = int.from_bytes(bytes.fromhex(name)[:8], signed=True)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.literal(number, sa.BigInteger()))))
            connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")  # refused now, not at the end
        case "mysql":
            if connection.scalar(sa.select(sa.func.GET_LOCK(f"loom-{name}", patience))) != 1:
                raise Transient(
                    f"another load into {table} has not ended", fix="it is tried again", kind="locked"
                )
            connection.exec_driver_sql("BEGIN")
        case _:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
    yield  # an error ends the connection, and with it all of this
    connection.exec_driver_sql("COMMIT")
    if connection.dialect.name == "mysql":
        connection.execute(sa.select(sa.func.RELEASE_LOCK(f"loom-{name}")))
