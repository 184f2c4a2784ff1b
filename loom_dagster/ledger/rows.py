"""What the ledger hands out: plain rows, without a database behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from loom_dagster.watermark import Watermark

__all__ = [
    "BudgetUse",
    "Budgets",
    "IndexRow",
    "PastRun",
    "PipelineTotals",
    "QuarantineEntry",
    "RunHandle",
    "RunNumbers",
    "RunRow",
    "SnapshotPlace",
    "SnapshotRow",
    "Standing",
    "VersionRow",
    "WatermarkRow",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHandle:
    """A run that is going on and holds the lease of its pipeline and partition. ``resumed`` when
    it continues one that did not end. ``token`` proves the lease. ``allowance`` counts how often the run has
    used up its budget and was started again: each start after that has the budget anew."""

    run_id: str
    pipeline: str
    partition: str
    fingerprint: str
    resumed: bool
    started_at: datetime
    token: str = field(repr=False)
    allowance: int = 0

    @property
    def salt(self) -> str:
        """Separates the answers of this run from those of others; the same when it is resumed."""
        return self.run_id


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run as kept. ``status``: running, deferred or interrupted (these continue), succeeded,
    held, failed or superseded. ``outcome`` is what ``finish_run`` was given; ``taken`` how source and prompt looked
    when it began to read them, where that is asked for."""

    run_id: str
    pipeline: str
    partition: str
    fingerprint: str
    version: str | None
    status: str
    started_at: datetime
    finished_at: datetime | None
    resumes: int
    dagster_run_id: str | None
    outcome: Mapping[str, Any] | None
    allowance: int = 0
    taken: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRow:
    """A snapshot and its verdict. ``folder`` is the name of its folder; release/ knows where. An
    ``increment`` is added to the released ones before it; ``watermark`` is how far its load brings the
    pipeline, ``loaded_at`` when that was; ``cleaned_at`` when its files were removed. ``fingerprint`` and ``outcome`` are those of its run, and need not be given to be kept."""

    run_id: str
    pipeline: str
    partition: str
    created_at: datetime
    folder: str
    data_version: str
    counts: Mapping[str, int]
    verdict_passed: bool
    verdict_reason: str
    pass_rate: float | None = None
    threshold: float | None = None
    released_at: datetime | None = None
    released_by: str | None = None
    why: str | None = None
    increment: bool = False
    watermark: Mapping[str, Any] | None = None
    loaded_at: datetime | None = None
    cleaned_at: datetime | None = None
    fingerprint: str = ""
    outcome: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """What a run came to, in numbers. ``scores``: of each evaluator its name, type, passed, failed, errors, mean, std."""

    run_id: str
    data_version: str
    metrics: Mapping[str, float]
    scores: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNumbers:
    """A run without its outcome. ``pass_rate`` and release are those of its snapshot, None without one. ``scores``: of
    each evaluator its name, type, threshold, passed, failed, errors, mean, std."""

    run_id: str
    pipeline: str
    partition: str
    version: str | None
    status: str
    started_at: datetime
    finished_at: datetime | None
    pass_rate: float | None = None
    released_at: datetime | None = None
    released_by: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    scores: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What waits for people and what was spent, by pipeline. ``quarantined`` and ``alerts``: how many are open;
    ``held``: the partitions whose newest batch is held; ``running``: (pipeline, partition) of runs that are alive;
    ``today`` and ``month`` (UTC) in USD."""

    quarantined: Mapping[str, int]
    alerts: Mapping[str, int]
    held: Mapping[str, Sequence[str]]
    running: frozenset[tuple[str, str]]
    today: Mapping[str, float]
    month: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineTotals:
    """Of a pipeline since its first run. ``runs`` by status and ``sums`` by metric are of runs that have ended, so they
    never go down (records that were tried again count once); ``spent`` and ``unconfirmed`` in USD of all; ``released_at``: when the last run ended whose batch is released."""

    pipeline: str
    runs: Mapping[str, int]
    sums: Mapping[str, float]
    spent: float
    unconfirmed: float
    released_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """A version of something that determines answers. ``kind``: prompt, context, model, recipe. ``text``, whose SHA-256
    ``hash`` then is, is kept by it."""

    kind: str
    name: str
    version: str
    hash: str
    text: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPlace:
    """Where a run's snapshot is: which partition, which folder in it."""

    run_id: str
    partition: str
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRow:
    """One record of a run's quarantine, for the index. ``sample``: answers had so far, which is
    the number of the next one to ask for."""

    record_id: str
    stage: str
    kind: str
    reason: str
    sample: int = 0
    resolution: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineEntry:
    """What is known of a record in quarantine; unresolved while ``resolved_at`` is None."""

    pipeline: str
    partition: str
    record_id: str
    run_id: str
    stage: str
    kind: str
    reason: str
    sample: int
    quarantined_at: datetime
    resolved_at: datetime | None
    resolution: str | None
    resolved_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """The most that may be spent, in USD: by one run, by the pipeline in a day, by the project in a
    month (UTC). None: no limit."""

    run: float | None = None
    day: float | None = None
    month: float | None = None

    def limits(self) -> dict[str, float]:
        """By name, those that are set."""
        every = {"run": self.run, "day": self.day, "month": self.month}
        return {name: limit for name, limit in every.items() if limit is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetUse:
    """How far a budget is used, in USD. ``name``: run, day or month. ``unconfirmed``, beside ``spent``: calls
    whose outcome is not known, at the most they can have cost; ``ordered``: batches that are not settled, likewise."""

    name: str
    limit: float
    spent: float
    unconfirmed: float
    ordered: float = 0.0

    @property
    def used(self) -> float:
        return self.spent + self.unconfirmed + self.ordered


@dataclass(frozen=True, slots=True, kw_only=True)
class WatermarkRow:
    """How far a pipeline has come, when that was said and by whom: a run's id, or a person."""

    watermark: Watermark
    moved_at: datetime
    moved_by: str
