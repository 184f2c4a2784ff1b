"""What is kept of runs for those who ask where an output came from: the texts they used, and where their snapshots are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, insert, select

from loom_dagster.ledger.database import Database
from loom_dagster.ledger.rows import SnapshotPlace, VersionRow
from loom_dagster.ledger.tables import snapshots, texts

__all__ = ["Kept", "keep_texts"]


class Kept:
    """Of every pipeline."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def texts(self, hashes: Iterable[str]) -> dict[str, str]:
        """By hash, those that are kept."""
        query = select(texts.c.hash, texts.c.text).where(texts.c.hash.in_(list(hashes)))
        return self._database.read(lambda c: {row.hash: row.text for row in c.execute(query)})

    def places(
        self, pipeline: str, partition: str | None = None, *, run_id: str | None = None
    ) -> list[SnapshotPlace]:
        """Newest first; of every partition (but trials) when none is named."""
        place = snapshots.c
        query = select(place.run_id, place.partition, place.folder).where(place.pipeline == pipeline)
        if run_id is not None:
            query = query.where(place.run_id == run_id)
        elif partition is None:
            query = query.where(place.partition.not_like("~%"))
        if partition is not None:
            query = query.where(place.partition == partition)
        rows = query.order_by(place.run_id.desc())
        return self._database.read(lambda c: [SnapshotPlace(**row) for row in c.execute(rows).mappings()])


def keep_texts(connection: Connection, versions: Sequence[VersionRow]) -> None:
    """The texts among ``versions``, each once."""
    new = {v.hash: v for v in versions if v.text is not None}
    new_ones = select(texts.c.hash).where(texts.c.hash.in_(list(new)))
    for known in connection.scalars(new_ones).all() if new else ():
        del new[known]
    for v in new.values():
        text = (v.text or "").replace("\0", "\\u0000")  # Postgres keeps no NUL
        row = {"hash": v.hash, "kind": v.kind, "name": v.name, "version": v.version, "text": text}
        connection.execute(insert(texts).values(row))
