"""Snapshots that nobody will ask for again: a stream makes one a batch, and a disk ends."""

from __future__ import annotations

import shutil
from pathlib import Path

from loom_dagster.ledger import Ledger
from loom_dagster.release.folders import slot

__all__ = ["prune"]


def prune(ledger: Ledger, state: Path, pipeline: str, *, keep: int) -> int:
    """Remove the folders of old snapshots but the newest ``keep`` and those with records that wait in
    quarantine; gives how many. The ledger keeps their verdicts and counts."""
    place = slot(state, pipeline, "")
    if not place.is_dir():
        return 0
    folders = sorted(f for f in place.iterdir() if f.is_dir() and not f.name.startswith("."))
    old = folders[: max(len(folders) - keep, 0)]
    if not old:
        return 0
    waiting = ledger.waiting_runs(pipeline, "")
    gone = [folder for folder in old if folder.name.partition(".")[0] not in waiting]
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    return len(gone)
