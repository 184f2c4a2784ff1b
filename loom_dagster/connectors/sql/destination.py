"""Tables as destinations: staged and merged in one transaction, as often as one likes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from sqlalchemy import Engine

from loom_dagster.connections import Connection
from loom_dagster.connectors.contract import Loaded, Place, Refused, Shipment
from loom_dagster.connectors.sql.addresses import Table, table_at
from loom_dagster.connectors.sql.engines import engine_of
from loom_dagster.connectors.sql.failures import asking
from loom_dagster.connectors.sql.fit import check_name
from loom_dagster.connectors.sql.merge import emptied, is_empty, merged
from loom_dagster.connectors.sql.reach import check_reach
from loom_dagster.connectors.sql.side_tables import SideTables
from loom_dagster.connectors.sql.staging import staged
from loom_dagster.connectors.sql.target import made, schema_in
from loom_dagster.connectors.sql.transactions import opened, transaction
from loom_dagster.errors import Misconfigured, Transient
from loom_dagster.spec.models import Load

__all__ = ["SqlDestination"]

_PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0, *[8.0] * 6)  # a minute in all: a server restarts in less


class SqlDestination:
    """Tables of PostgreSQL, MySQL, MariaDB and SQLite. A load that a server's end cuts short is done again,
    whole; ``sleep`` lets seconds pass."""

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep

    def load(self, place: Place, load: Load, shipment: Shipment) -> Loaded:
        where, engine = _known(place)
        for pause in _PAUSES:
            try:
                return _load(engine, where, shipment)
            except Transient:
                self._sleep(pause)
        return _load(engine, where, shipment)

    def check(self, place: Place, load: Load, *, reach: bool) -> None:
        where, engine = _known(place)
        if reach:
            check_reach(engine, where, load)


def _known(place: Place) -> tuple[Table, Engine]:
    where = table_at(place)
    engine = engine_of(where.connection)
    check_name(where.name, engine.dialect.name)
    if where.name.lower().startswith("_loom_"):
        raise Misconfigured(f"{where.uri} is a table of our own", fix="choose another name")
    return where, engine


def _load(engine: Engine, where: Table, shipment: Shipment) -> Loaded:
    """Two transactions: one makes what is missing (MySQL ends a transaction when a table is made), one loads."""
    incoming, mode = shipment.incoming, shipment.mode
    parts = bool(shipment.partition)  # whose rows are known by it, and replaced
    patience = max(1.0, where.connection.query_timeout * 0.9)  # less than the driver waits for an answer
    with asking(where.connection, f"{where.uri} cannot be loaded"), opened(engine) as connection:
        schema = schema_in(connection, where)
        side = SideTables(connection, schema, where.name)
        with transaction(connection, f"{schema}", patience):
            side.make()
            target = made(connection, where, schema, incoming.schema, shipment.key, mode, partitioned=parts)
        with transaction(connection, f"{schema}.{where.name}", patience):
            empty = is_empty(connection, target.table)
            tracked = not parts and (mode == "append" or side.tracked())
            if tracked and (empty or mode == "overwrite"):
                side.forget()  # also where somebody took the rows out by hand
            rows = staged(connection, target, shipment, marked=tracked)
            if mode == "append" and not parts:
                side.drop_known(rows)
            elif mode != "upsert" and not empty:
                emptied(connection, target, shipment)
            refused = rows.refused | merged(connection, target, rows, shipment)
            if tracked:
                side.remember(rows)
            loaded = Loaded(
                rows=incoming.rows - len(refused), refused=_named(shipment, refused, where.connection)
            )
            side.note(shipment, loaded.rows)
    return loaded


def _named(shipment: Shipment, refused: Mapping[int, str], connection: Connection) -> list[Refused]:
    """The refused rows by their record ids, in order."""
    if not refused:
        return []
    found, at = [], 0
    for ids, _ in shipment.incoming.with_ids():
        for n in sorted(refused.keys() & range(at, at + len(ids))):
            reason = refused[n]
            for secret in connection.secrets:
                reason = reason.replace(secret, "***")
            found.append(Refused(record_id=ids[n - at], reason=reason))
        at += len(ids)
    return found
