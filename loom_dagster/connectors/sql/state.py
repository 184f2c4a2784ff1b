"""How a table looks from outside: its rows counted and its cursor's highest value, by the server."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from loom_dagster.connectors.contract import State, Window
from loom_dagster.connectors.sql.cursor import CursorReader
from loom_dagster.connectors.sql.selection import Selection
from loom_dagster.errors import Misconfigured
from loom_dagster.spec.models import Extract

__all__ = ["checked_state", "column_of", "state_of"]


def state_of(selection: Selection, extract: Extract) -> State:
    """One statement, for which an index of the cursor, or of the window's column, is enough."""
    uri, cursor = selection.table.uri, column_of(extract, selection.table.uri, selection.window)
    reader = CursorReader(selection.table.connection, f"{uri} cannot be watched")

    def columns(rows: sa.FromClause) -> list[sa.ColumnElement[Any]]:
        if cursor is None:
            return [sa.func.count(), sa.literal(0), sa.null()]
        value = rows.c[cursor]
        return [sa.func.count(value), sa.func.count(sa.distinct(value)), sa.func.max(value)]

    return checked_state(uri, cursor, *reader.first(selection, [cursor] if cursor else [], columns))


def column_of(extract: Extract, uri: str, window: Window | None) -> str | None:
    """Which column tells of new rows; None for a query that binds a partition. Raises Misconfigured where nothing does."""
    if extract.incremental is not None and extract.incremental.cursor is not None:
        return extract.incremental.cursor
    if extract.partitions is None:
        raise Misconfigured(
            f"{uri} cannot be watched", fix="name a column: `extract.incremental: {cursor: ...}`"
        )
    return None if window is None else window.column


def checked_state(uri: str, cursor: str | None, rows: int, values: int, highest: Any) -> State:
    """Raises Misconfigured for a cursor of a type that has no order that we know."""
    if highest is not None and not isinstance(highest, str | int | float | Decimal | date):
        raise Misconfigured(
            f"{uri} cannot be watched: its cursor `{cursor}` is a {type(highest).__name__}",
            fix="name a column of times, numbers or texts",
        )
    return State(rows=rows, values=values, highest=highest)
