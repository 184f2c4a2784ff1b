"""What a destination knows of its loads: a manifest of them, and marks of the records that were appended.

Both lie beside the tables that are loaded and are written in the transaction of the load, so they are true
whenever it ends.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import mysql
from sqlalchemy.schema import CreateTable
from sqlalchemy.types import TypeEngine

from loom_dagster.connectors.contract import Shipment
from loom_dagster.connectors.sql.marks import mark_type
from loom_dagster.connectors.sql.staging import Staged

__all__ = ["SideTables"]

_TEXTS = ("pipeline", "target", "partition", "snapshot", "fingerprint", "mode")


class SideTables:
    """``_loom_loads`` and ``_loom_marks`` in one schema, seen from one target there."""

    def __init__(self, connection: Connection, schema: str | None, target: str) -> None:
        self._connection, self._target = connection, target
        dialect = connection.dialect.name
        meta = sa.MetaData(schema=None if schema is None else sa.quoted_name(schema, quote=True))
        options: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4"}
        self._loads = sa.Table(
            "_loom_loads",
            meta,
            sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
            *(sa.Column(name, _text(dialect), nullable=False, quote=True) for name in _TEXTS),
            sa.Column("rows", sa.BigInteger(), nullable=False, quote=True),
            sa.Column("loaded_at", sa.TIMESTAMP(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql")),
            **options,
        )
        self._marks = sa.Table(
            "_loom_marks",
            meta,
            sa.Column("target", _text(dialect, 64), primary_key=True),
            sa.Column("mark", mark_type(dialect), primary_key=True),
            sqlite_with_rowid=False,
            **options,
        )

    def make(self) -> None:
        """Where they are not there yet."""
        for table in (self._loads, self._marks):
            self._connection.execute(CreateTable(table, if_not_exists=True))

    def tracked(self) -> bool:
        """Whether records were ever appended to the target."""
        known = sa.select(sa.literal(1)).where(self._marks.c.target == self._target).limit(1)
        return self._connection.scalar(known) is not None

    def forget(self) -> None:
        """Whatever was appended is not there any more."""
        self._connection.execute(sa.delete(self._marks).where(self._marks.c.target == self._target))

    def drop_known(self, staged: Staged) -> None:
        """Takes the rows that are there already out of those that are loaded."""
        known = sa.exists().where(
            self._marks.c.target == self._target, self._marks.c.mark == staged.table.c.mark
        )
        self._connection.execute(sa.delete(staged.table).where(known))

    def remember(self, staged: Staged) -> None:
        """Marks the rows that are loaded. In order: an index that grows at one end grows fast."""
        mark = staged.table.c.mark
        known = sa.exists().where(self._marks.c.target == self._target, self._marks.c.mark == mark)
        rows = sa.select(sa.literal(self._target), mark).where(~known).distinct().order_by(mark)
        self._connection.execute(sa.insert(self._marks).from_select(["target", "mark"], rows))

    def note(self, shipment: Shipment, rows: int) -> None:
        """One line a shipment, the last one last."""
        line = {
            "pipeline": shipment.pipeline,
            "target": self._target,
            "partition": shipment.partition,
            "snapshot": shipment.snapshot,
            "fingerprint": shipment.fingerprint,
            "mode": shipment.mode,
        }
        same = [self._loads.c[name] == value for name, value in line.items()]
        self._connection.execute(sa.delete(self._loads).where(*same))
        self._connection.execute(
            sa.insert(self._loads).values(**line, rows=rows, loaded_at=datetime.now(UTC))
        )


def _text(dialect: str, length: int | None = None) -> TypeEngine[Any]:
    """Compared byte by byte."""
    if dialect == "mysql" and length:
        return mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    if dialect == "mysql":
        return mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin")
    return sa.Text(collation="C" if dialect == "postgresql" else None)
