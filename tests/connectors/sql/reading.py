"""What the tests of reading share: a database as a pipeline sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from loom_dagster.connections import Connection
from loom_dagster.connectors import Chunk, Rows, Wanted, place_of, source_at
from loom_dagster.connectors.sql.engines import url_of
from loom_dagster.spec.models import Extract

__all__ = ["Database"]


class Database:
    """The database behind ``url``; its connection is called ``shop``."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.connection = Connection(name="shop", url=url, **settings)
        self.root = Path("/nowhere")

    def run(self, *statements: str) -> None:
        """As somebody else, who may write."""
        engine = sa.create_engine(url_of(self.connection), poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection = connection.execution_options(no_parameters=True)
            for statement in statements:
                connection.exec_driver_sql(statement)
        engine.dispose()

    @contextmanager
    def open(
        self,
        name: str = "reviews",
        *,
        values: Any = None,
        window: Any = None,
        rows: int = 8192,
        **extract: Any,
    ) -> Iterator[Rows]:
        kind = self.connection.url.partition(":")[0]
        scheme = kind if kind in ("postgresql", "mysql", "sqlite") else "postgres"
        uri = f"{scheme}://shop/{name}" if name else f"{scheme}://shop"
        place = place_of(uri, self.root, connections={"shop": self.connection})
        wanted = Wanted(
            extract=Extract(source=place.uri, **extract), values=values or {}, window=window, rows=rows
        )
        found = source_at(place).open(place, wanted)
        try:
            yield found
        finally:
            found.close()

    def chunks(self, name: str = "reviews", **wanted: Any) -> list[Chunk]:
        with self.open(name, **wanted) as found:
            chunks = list(found.chunks())
            assert all(chunk.table.schema == found.schema for chunk in chunks)
            return chunks

    def rows(self, name: str = "reviews", **wanted: Any) -> list[dict[str, Any]]:
        chunks = self.chunks(name, **wanted)
        assert not any(chunk.unreadable for chunk in chunks)
        return [row for chunk in chunks for row in chunk.table.to_pylist()]

    def query(self, query: str, **wanted: Any) -> list[dict[str, Any]]:
        return self.rows("", query=query, **wanted)
