"""Which rows and columns of a table or a query are read, as one statement for any database.

Values stand in it by name only; whoever runs it binds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from loom_dagster.connectors.contract import Scalar, Window
from loom_dagster.connectors.sql.addresses import Table
from loom_dagster.connectors.sql.query import Query

__all__ = ["ROWS", "Selection", "by_name"]

ROWS = "_loom_rows"  # what the rows are called within a statement

Written = Callable[[str], str]


def by_name(name: str) -> str:
    """A value as SQLAlchemy's ``text`` has it."""
    return f":{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """``given``: values of the query's placeholders. ``order``: columns whose values decide which row comes first.
    ``after``: only rows whose ``order`` columns are at or behind these values. ``last_nulls``: the database puts
    nulls at the end."""

    table: Table
    query: Query | None = None
    given: Mapping[str, Scalar] = field(default_factory=dict)
    window: Window | None = None
    order: tuple[str, ...] = ()
    limit: int | None = None
    after: tuple[Scalar, ...] = ()
    last_nulls: bool = False

    @property
    def values(self) -> dict[str, Scalar]:
        """What has to be bound, by its name in the statement."""
        found: dict[str, Scalar] = {}
        if self.query is not None:
            found |= {f"p{at}": self.given[name] for at, name in enumerate(self.query.names)}
        if self.window is not None:
            window = self.window
            bounds = {"w_start": window.start, "w_end": window.end, "w_equal": window.equal}
            found |= {name: value for name, value in bounds.items() if value is not None}
        return found | {f"a{at}": value for at, value in enumerate(self.after)}

    def plain(self, written: Written = by_name) -> sa.TextClause:
        """The query as it is written, with its own order."""
        return sa.text(self._text(written))

    def statement(
        self,
        names: Sequence[str],
        *,
        columns: Callable[[sa.FromClause], Sequence[sa.ColumnElement[Any]]] | None = None,
        written: Written = by_name,
        limit: int | None = None,
    ) -> sa.Select[Any]:
        """The statement. ``names`` are the columns that it may speak of; ``columns`` makes what is selected
        (default: everything), ``written`` how a value stands there."""
        rows = self._rows(names, written)
        selected = [sa.text("*")] if columns is None else columns(rows)
        statement = sa.select(*selected).select_from(rows)
        if self.window is not None:
            column = rows.c[self.window.column]
            if self.window.start is not None:
                statement = statement.where(column >= sa.text(written("w_start")))
            if self.window.end is not None:
                statement = statement.where(column < sa.text(written("w_end")))
            if self.window.equal is not None:
                statement = statement.where(column == sa.text(written("w_equal")))
        if self.after:
            statement = statement.where(self._behind([rows.c[name] for name in self.order], written))
        statement = statement.order_by(*(rows.c[name] for name in self.order))
        most = self.limit if limit is None else limit
        return statement if most is None else statement.limit(sa.literal_column(str(int(most))))

    def _rows(self, names: Sequence[str], written: Written) -> sa.FromClause:
        columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in names]
        if self.query is None:
            table = sa.table(self.table.name, *columns, schema=self.table.schema)
            return table.alias(ROWS)
        return sa.text(self._text(written) + "\n").columns(*columns).subquery(ROWS)

    def _text(self, written: Written) -> str:
        """The query in the language of ``text``, where a colon begins a name."""
        assert self.query is not None  # noqa: S101 - only asked for where there is one
        names = iter(range(len(self.query.names)))
        return self.query.written(lambda text: text.replace(":", "\\:"), lambda _: written(f"p{next(names)}"))

    def _behind(self, columns: Sequence[Any], written: Written) -> Any:
        """Rows at or behind ``after`` in the order of these columns, of which only a single one may be null."""
        values = [sa.text(written(f"a{at}")) for at in range(len(columns))]
        found = columns[-1] >= values[-1]
        for column, value in zip(columns[-2::-1], values[-2::-1], strict=True):
            found = sa.or_(column > value, sa.and_(column == value, found))
        if len(columns) > 1:  # what an index can use
            return sa.and_(columns[0] >= values[0], found)
        return sa.or_(found, columns[0].is_(None)) if self.last_nulls else found
