"""Tables of a DuckDB file as destinations: staged beside them, then merged in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from loom_dagster.connectors.contract import Loaded, Place, Shipment
from loom_dagster.connectors.duckdb.database import address, asking, opened
from loom_dagster.connectors.duckdb.merge import ID, MARK, ROW, STAGE, Merge
from loom_dagster.connectors.duckdb.refusals import settled
from loom_dagster.connectors.files.manifest import mark_of
from loom_dagster.errors import Misconfigured
from loom_dagster.spec.models import Load

__all__ = ["DuckDbDestination"]


class DuckDbDestination:
    """The table is made, and gets new columns, as the shipment needs them; ``_loom_loads`` and
    ``_loom_marks`` beside it say what was loaded."""

    def load(self, place: Place, load: Load, shipment: Shipment) -> Loaded:
        table, file = address(place)
        what = f"{table.uri} cannot be loaded"
        with opened(file, write=True) as connection, asking(what):
            _stage(connection, shipment)
            refused = settled(connection, Merge(table=table, shipment=shipment))
        return Loaded(rows=shipment.incoming.rows - len(refused), refused=refused)

    def check(self, place: Place, load: Load, *, reach: bool) -> None:
        table, file = address(place)
        if file.is_dir():
            raise Misconfigured(f"the DuckDB file {file} is a folder")
        if file.exists():
            with opened(file) as connection, asking(f"{table.uri} cannot be loaded"):
                connection.execute("SELECT 1")


def _stage(connection: Any, shipment: Shipment) -> None:
    """The shipment in a table of this connection alone, which goes to disk where it is large."""
    incoming = shipment.incoming
    extra = [pa.field(ROW, pa.int64()), pa.field(ID, pa.string()), pa.field(MARK, pa.binary())]
    schema = pa.schema([*incoming.schema, *extra])

    def batches() -> Iterator[pa.RecordBatch]:
        at = 0
        for ids, batch in incoming.with_ids():
            marks = [mark_of(shipment.partition, i, shipment.fingerprint) for i in ids]
            numbers = pa.array(range(at, at + len(ids)), pa.int64())
            more = [numbers, pa.array(ids, pa.string()), pa.array(marks, pa.binary())]
            yield pa.RecordBatch.from_arrays([*batch.columns, *more], schema=schema)
            at += len(ids)

    connection.register("_loom_incoming", pa.RecordBatchReader.from_batches(schema, batches()))
    connection.execute(f"CREATE TEMP TABLE {STAGE} AS SELECT * FROM _loom_incoming")
    connection.unregister("_loom_incoming")
