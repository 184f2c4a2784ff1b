"""Snapshots, the verdict on each, and which one is released: what everyone else may read.

Names that need Arrow or the ledger's database are looked up when they are used, so that loading
definitions imports neither.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from loom_dagster.release.snapshot import BatchResult, Snapshot, Stamp, Written
from loom_dagster.release.verdict import Counts, Verdict, batch_verdict, reaches

if TYPE_CHECKING:
    from loom_dagster.release.cleaning import bytes_in, copies, leftovers, remove, unread
    from loom_dagster.release.columns import check_columns
    from loom_dagster.release.past import PastRecord, past_ids, past_records
    from loom_dagster.release.pruning import prune
    from loom_dagster.release.releases import Releases
    from loom_dagster.release.replay import Replay, check_replay, merge_retry, rows_for_retry
    from loom_dagster.release.snapshot_writer import SnapshotWriter
    from loom_dagster.release.union import gone

__all__ = [
    "BatchResult",
    "Counts",
    "PastRecord",
    "Releases",
    "Replay",
    "Snapshot",
    "SnapshotWriter",
    "Stamp",
    "Verdict",
    "Written",
    "batch_verdict",
    "bytes_in",
    "check_columns",
    "check_replay",
    "copies",
    "gone",
    "leftovers",
    "merge_retry",
    "past_ids",
    "past_records",
    "prune",
    "reaches",
    "remove",
    "rows_for_retry",
    "unread",
]

_LATE = {
    "PastRecord": "past",
    "Releases": "releases",
    "Replay": "replay",
    "SnapshotWriter": "snapshot_writer",
    "bytes_in": "cleaning",
    "copies": "cleaning",
    "check_columns": "columns",
    "check_replay": "replay",
    "gone": "union",
    "leftovers": "cleaning",
    "merge_retry": "replay",
    "past_ids": "past",
    "past_records": "past",
    "prune": "pruning",
    "remove": "cleaning",
    "rows_for_retry": "replay",
    "unread": "cleaning",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
