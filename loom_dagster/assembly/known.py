"""Pipelines, runs and records that are asked for by name: the right one, or words on what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loom_dagster.errors import Misconfigured
from loom_dagster.ledger import RunRow, SnapshotPlace
from loom_dagster.records import utf8
from loom_dagster.release.folders import slot
from loom_dagster.spec import nearest

if TYPE_CHECKING:
    from loom_dagster.assembly.state import State

__all__ = ["as_text", "check_pipeline", "chosen_run", "snapshot_folder", "unknown_record"]

_IDS = 2_000  # among which a similar one is looked for
_RUNS = 50


def check_pipeline(loom: State, name: str) -> None:
    """Raises Misconfigured, with the nearest name, for a pipeline that is neither in the project nor was ever run."""
    if name not in loom.project.names and not loom.ledger.runs(as_text(name), limit=1):
        loom.project.pipeline(name)


def as_text(word: str) -> str:
    """``word`` as files and databases hold it: what a terminal gave may be no text."""
    return str(utf8(word))


def chosen_run(loom: State, name: str, run_id: str) -> RunRow:
    """The run of a pipeline. Raises Misconfigured for one that is not known, or is another pipeline's."""
    run_id = as_text(run_id)
    run = loom.ledger.run(run_id)
    if run is None:
        check_pipeline(loom, name)
        known = [r.run_id for r in loom.ledger.runs(name, limit=_RUNS)]
        near = difflib.get_close_matches(run_id, known, n=1)
        raise Misconfigured(
            f"`{name}` has no run `{run_id}`",
            why=None if known else "it has not been run",
            fix=f"did you mean `{near[0]}`?"
            if near
            else f"its newest: {', '.join(known[:3])}"
            if known
            else f"loom run {name}",
        )
    if run.pipeline != name:
        raise Misconfigured(
            f"run {run_id} is one of `{run.pipeline}`, not of `{name}`",
            fix=f"loom lineage {run.pipeline} --run {run_id}",
        )
    return run


def unknown_record(
    loom: State,
    name: str,
    record_id: str,
    places: Sequence[SnapshotPlace],
    *,
    run: str | None,
    partition: str | None,
) -> Misconfigured:
    """What is said of a record that is nowhere: a similar id, or how to find ids."""
    where = (
        f"run {run} of `{name}`" if run else f"`{name}`" + (f", partition {partition}" if partition else "")
    )
    if not places:
        state = None if run is None else chosen_run(loom, name, run).status
        return Misconfigured(
            f"there is no record of {where}",
            why=f"the run has left no snapshot: {state}" if state else "no run of it has left a snapshot",
            fix=f"loom run {name}",
        )
    known = _some_ids(loom, name, places)
    if not known and not any(_exists(loom, name, place) for place in places):
        return Misconfigured(
            f"there is no record `{record_id}` to be found in {where}",
            why=_gone(loom, name, places),
            fix=f"make them again: loom run {name} --fresh",
            kind="snapshot_gone",
        )
    advice = nearest(record_id, known, others=False)
    key = loom.spec(name).extract.key if name in loom.project.files else ()
    shown = ", ".join(known[:3])
    made = f"ids are the values of {'+'.join(f'`{k}`' for k in key)}" if key else "ids are made of the rows"
    missing = [place for place in places if not _exists(loom, name, place)]
    return Misconfigured(
        f"there is no record `{record_id}` in {where}",
        why=f"{len(missing)} of {len(places)} snapshots cannot be looked into: {_gone(loom, name, missing)}"
        if missing
        else None,
        fix=advice or (f"{made}, such as {shown}" if shown else made),
    )


def _some_ids(loom: State, name: str, places: Sequence[SnapshotPlace]) -> list[str]:
    """Of the newest snapshot that is there: of those that passed, and of those that did not."""
    import pyarrow.parquet as pq

    place = next((p for p in places if _exists(loom, name, p)), None)
    known: list[str] = []
    if place is None:
        return known
    for table, column in (("transformed", "_loom_record_id"), ("quarantine", "record_id")):
        path = snapshot_folder(loom, name, place) / f"{table}.parquet"
        if path.exists():
            with pq.ParquetFile(path, pre_buffer=False) as file:
                for batch in file.iter_batches(_IDS, columns=[column]):
                    known += batch.column(0).to_pylist()
                    break
    return known


def _gone(loom: State, name: str, places: Sequence[SnapshotPlace]) -> str:
    rows = [loom.ledger.snapshot(name, place.run_id) for place in places]
    cleaned = max((row.cleaned_at for row in rows if row and row.cleaned_at), default=None)
    when = f": `loom clean` removed them on {cleaned:%Y-%m-%d}" if cleaned else ""
    return f"the files of its snapshots are gone{when}"


def snapshot_folder(loom: State, name: str, place: SnapshotPlace) -> Path:
    """Where its files are, or were."""
    return slot(loom.settings.state_dir, name, place.partition) / place.folder


def _exists(loom: State, name: str, place: SnapshotPlace) -> bool:
    return snapshot_folder(loom, name, place).exists()
