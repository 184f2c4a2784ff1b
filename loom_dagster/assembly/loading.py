"""Loading what is released: every snapshot the destination does not have yet, and what it refuses."""

from __future__ import annotations

import time
from collections.abc import Sequence

from loom_dagster.assembly.identity import columns_to_load
from loom_dagster.assembly.places import destination_place
from loom_dagster.connectors import Refused
from loom_dagster.ledger import IndexRow, Ledger
from loom_dagster.load import load_snapshot
from loom_dagster.pipeline import LoadResult
from loom_dagster.release import Snapshot
from loom_dagster.settings import Settings
from loom_dagster.spec import PipelineFile, load_mode

__all__ = ["load_snapshots"]

_REASON = 1_000  # characters of a database's words


def load_snapshots(
    file: PipelineFile, settings: Settings, ledger: Ledger, snapshots: Sequence[Snapshot]
) -> LoadResult:
    """Load ``snapshots``, oldest first, each with its watermark. Rows that the destination refuses go to
    quarantine, stage load; those of an earlier try that it takes now leave it."""
    spec, began = file.spec, time.monotonic()
    rows = 0
    refused: list[Refused] = []
    notes: list[str] = []
    for snapshot in snapshots:
        loaded = load_snapshot(
            snapshot.transformed,
            destination_place(spec, settings),
            load=spec.load,
            key=spec.extract.key,
            pipeline=spec.name,
            columns=columns_to_load(file, settings, snapshot.transformed),
            snapshot=snapshot.id,
            fingerprint=snapshot.fingerprint,
        )
        ledger.loaded(spec.name, snapshot.id, refused=[_entry(row) for row in loaded.refused])
        rows += loaded.rows
        refused += loaded.refused
        notes += [note for note in loaded.notes if note not in notes]
    return LoadResult(
        loaded=True,
        destination=spec.load.destination,
        mode=load_mode(spec),
        rows=rows,
        refused=len(refused),
        reason=refused[0].reason if refused else "",
        notes=tuple(notes),
        snapshot=snapshots[-1].id,
        seconds=time.monotonic() - began,
    )


def _entry(row: Refused) -> IndexRow:
    return IndexRow(record_id=row.record_id, stage="load", kind="refused_row", reason=row.reason[:_REASON])
