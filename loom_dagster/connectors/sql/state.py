"""How a table looks from outside: its rows counted and its cursor's highest value, by the server."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from loom_dagster.connectors.contract import State
from loom_dagster.connectors.sql.cursor import CursorReader
from loom_dagster.connectors.sql.selection import Selection
from loom_dagster.errors import Misconfigured
from loom_dagster.spec.models import Extract

__all__ = ["checked_state", "cursor_of", "state_of"]


def state_of(selection: Selection, extract: Extract) -> State:
    """One statement, for which an index of the cursor is enough."""
    uri, cursor = selection.table.uri, cursor_of(extract, selection.table.uri)
    reader = CursorReader(selection.table.connection, f"{uri} cannot be watched")

    def columns(rows: sa.FromClause) -> list[sa.ColumnElement[Any]]:
        value = rows.c[cursor]
        return [sa.func.count(value), sa.func.count(sa.distinct(value)), sa.func.max(value)]

    return checked_state(uri, cursor, *reader.first(selection, [cursor], columns))


def cursor_of(extract: Extract, uri: str) -> str:
    """Raises Misconfigured where there is none."""
    if extract.incremental is None or extract.incremental.cursor is None:
        raise Misconfigured(
            f"{uri} cannot be watched", fix="name a column: `extract.incremental: {cursor: ...}`"
        )
    return extract.incremental.cursor


def checked_state(uri: str, cursor: str, rows: int, values: int, highest: Any) -> State:
    """Raises Misconfigured for a cursor of a type that has no order that we know."""
    if highest is not None and not isinstance(highest, str | int | float | Decimal | date):
        raise Misconfigured(
            f"{uri} cannot be watched: its cursor `{cursor}` is a {type(highest).__name__}",
            fix="name a column of times, numbers or texts",
        )
    return State(rows=rows, values=values, highest=highest)
