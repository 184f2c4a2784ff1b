"""Loading what is released: every snapshot the destination does not have yet, and what it refuses."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import time
from collections.abc import Iterator, Sequence

from loom_dagster.assembly.identity import columns_to_load
from loom_dagster.assembly.places import destination_place
from loom_dagster.connectors import Refused
from loom_dagster.ledger import IndexRow, Ledger
from loom_dagster.load import load_snapshot
from loom_dagster.pipeline import LoadResult
from loom_dagster.records import digest
from loom_dagster.release import Releases, Snapshot
from loom_dagster.settings import Settings
from loom_dagster.spec import PipelineFile, load_mode

__all__ = ["load_released"]

_REASON = 1_000  # characters of a database's words


def load_released(
    file: PipelineFile,
    settings: Settings,
    ledger: Ledger,
    releases: Releases,
    *,
    partition: str = "",
    trial: bool = False,
    only: Snapshot | None = None,
) -> LoadResult:
    """Load the released snapshots (of a ``partition``, where there are any) that the destination does not have, oldest
    first, each with its watermark; always the newest. Of a stream ``only`` the one of a batch. Nothing of a trial, and nothing empty, unless that is allowed."""
    spec = file.spec
    refused = functools.partial(
        LoadResult, loaded=False, destination=spec.load.destination, mode=load_mode(spec)
    )
    if trial:
        return refused(reason="a trial run loads nothing (pass --load to load it)")
    with _one_at_a_time(settings, spec.name):
        snapshots = releases.to_load(spec.name, partition) if only is None else [only]
        if not snapshots:
            latest = releases.latest(spec.name, partition)
            why = f": {latest.verdict_reason}" if latest else ""
            of = f"partition {partition} of `{spec.name}`" if partition else f"`{spec.name}`"
            return refused(reason=f"nothing of {of} is released{why}")
        if not any(s.counts["passed"] for s in snapshots) and not spec.extract.allow_empty:
            return refused(
                snapshot=snapshots[-1].id,
                reason="the released snapshot is empty (extract.allow_empty is not set)",
            )
        return _loaded(file, settings, ledger, snapshots)


@contextlib.contextmanager
def _one_at_a_time(settings: Settings, name: str) -> Iterator[None]:
    """Loads of one pipeline on this machine: a file is read and written anew. Databases lock for themselves."""
    folder = settings.state_dir / "loading"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / digest(name).hex()[:32]).open("a", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file is closed, also by kill -9
        yield


def _loaded(
    file: PipelineFile, settings: Settings, ledger: Ledger, snapshots: Sequence[Snapshot]
) -> LoadResult:
    """Rows that the destination refuses go to quarantine, stage load; those of an earlier try that it takes
    now leave it."""
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
            partition=snapshot.partition,
        )
        entries = [_entry(row) for row in loaded.refused]
        ledger.loaded(spec.name, snapshot.id, refused=entries, nothing=bool(entries) and not loaded.rows)
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
