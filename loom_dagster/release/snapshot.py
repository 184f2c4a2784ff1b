"""What release/ hands out and is handed: plain dataclasses, nothing heavy behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from loom_dagster.errors import Misconfigured
from loom_dagster.records import Batch, Passed, Quarantined

__all__ = ["BatchResult", "Snapshot", "Stamp", "Written"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What became of a batch, every record of it. ``quarantined`` includes ``batch.rejected``;
    ``deferred`` holds (id, position, reason)."""

    batch: Batch
    passed: Sequence[Passed]
    quarantined: Sequence[Quarantined] = ()
    deferred: Sequence[tuple[str, int, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What every row of a run says of where it came from."""

    run_id: str
    prompt_name: str
    prompt_version: str
    context_versions: Mapping[str, str] = field(default_factory=dict)
    pipeline_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Tables that lie in their place. ``columns`` are (name, type) of ``transformed``; the samples
    hold ten rows at most, ready for JSON, long texts cut. ``deferred`` is None when nothing is."""

    transformed: Path
    quarantine: Path
    deferred_path: Path | None
    data_version: str
    passed: int
    quarantined: int
    deferred: int
    skipped: int
    source_errors: int
    fallbacks: int
    columns: Sequence[tuple[str, str]]
    sample: Sequence[Mapping[str, Any]]
    quarantine_sample: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot, its verdict, and whether it is released. ``id`` is that of its run; ``outcome``
    is the run's Outcome as a mapping. An ``increment`` holds what was new since the released ones before it."""

    id: str
    pipeline: str
    partition: str
    created_at: datetime
    counts: Mapping[str, int]
    verdict_passed: bool
    verdict_reason: str
    pass_rate: float | None
    threshold: float | None
    released_at: datetime | None
    released_by: str | None
    why: str | None
    transformed: Path
    quarantine: Path
    data_version: str
    fingerprint: str
    outcome: Mapping[str, Any]
    increment: bool = False
    loaded_at: datetime | None = None
    cleaned_at: datetime | None = None

    def gone(self, path: Path) -> Misconfigured:
        """The error of somebody who wants to read ``path``, which is not there."""
        if self.cleaned_at is not None:
            what = f"the files of snapshot {self.id} of `{self.pipeline}` were removed by `loom clean` on {self.cleaned_at:%Y-%m-%d}"
        else:
            what = f"the files of snapshot {self.id} of `{self.pipeline}` are gone"
        fix = f"make them again: `loom run {self.pipeline} --fresh`"
        return Misconfigured(what, where=str(path), fix=fix, kind="snapshot_gone")
