"""What became of a run: the one object that terminals, Dagster and the ledger are told from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from loom_dagster.batches import Waiting
from loom_dagster.ledger import BudgetUse
from loom_dagster.monitors import MonitorResult
from loom_dagster.release.verdict import Counts, Verdict

__all__ = [
    "BudgetUse",
    "Counts",
    "LoadResult",
    "MonitorResult",
    "Outcome",
    "ScoreSummary",
    "Spending",
    "Status",
    "Verdict",
    "Waiting",
]

Status = Literal["succeeded", "held", "deferred", "interrupted", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSummary:
    """One evaluator over a run. ``failed`` are scores below the threshold, ``errors`` are scores
    that could not be had. ``histogram``: ten bins over 0..1."""

    name: str
    type: str
    threshold: float
    passed: int
    failed: int
    errors: int
    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    histogram: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """Money and calls, of this run only: an answer from the store costs nothing. ``cost`` in USD by
    stage (``transform``, ``evaluate``); ``unpriced`` counts paid calls of unknown price; latency in
    seconds over paid transform calls, None when there were none; ``paid_records`` are those of which every answer was
    paid for now, for ``paid_cost``; ``budgets``: how far each is used, by all that counts towards it."""

    cost: Mapping[str, float] = field(default_factory=dict)
    calls: int = 0
    reused: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    paid_records: int = 0
    paid_cost: float = 0.0
    budgets: Sequence[BudgetUse] = ()

    @property
    def total(self) -> float:
        return sum(self.cost.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What loading did. ``refused`` rows are in quarantine, stage load. ``reason`` says why nothing was loaded,
    or why the first row was refused."""

    loaded: bool
    destination: str
    mode: str
    rows: int = 0
    refused: int = 0
    snapshot: str | None = None
    reason: str = ""
    notes: Sequence[str] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run, whole. ``exit_code``: 0 all promises kept, 1 gate, budget or conservation failed, or a monitor that is
    an error, 2 configuration, 130 interrupted. ``stopped_kind``: misconfigured or budget."""

    run_id: str
    pipeline: str
    version: str | None
    status: Status
    counts: Counts
    verdict: Verdict
    partition: str = ""
    resumed: bool = False
    trial: bool = False
    simulated: bool = False
    released: bool = False
    snapshot: str | None = None
    transformed_path: str = ""
    quarantine_path: str = ""
    data_version: str = ""
    scores: Sequence[ScoreSummary] = ()
    monitors: Sequence[MonitorResult] = ()
    spending: Spending = Spending()
    seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    columns: Sequence[tuple[str, str]] = ()
    sample: Sequence[Mapping[str, Any]] = ()
    quarantine_sample: Sequence[Mapping[str, Any]] = ()
    reasons: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    stopped_by: str | None = None
    stopped_kind: str | None = None
    load: LoadResult | None = None
    batches: Sequence[Waiting] = ()
    in_batches: int = 0

    @property
    def waits(self) -> bool:
        """Whether there is nothing to do but to wait for batches, and nothing is wrong."""
        return (
            self.status == "deferred"
            and bool(self.batches)
            and self.counts.deferred == self.in_batches
            and self.stopped_by is None
        )

    @property
    def nothing_passed(self) -> bool:
        return self.counts.extracted > 0 and self.counts.passed == 0

    @property
    def exit_code(self) -> int:
        if self.waits:
            return 0
        alarmed = any(m.severity == "error" and not m.passed for m in self.monitors)
        return self.released_code or int(alarmed)

    @property
    def released_code(self) -> int:
        """The exit code but for monitors that hold nothing: 0 when what depends on this run may go on."""
        if self.status == "interrupted":
            return 130
        if self.stopped_kind == "misconfigured":
            return 2
        if self.load is not None and self.load.refused and not self.load.rows:
            return 1
        if self.status != "succeeded" or self.stopped_by or not self.counts.conserved or self.nothing_passed:
            return 1
        return 0 if self.verdict.passed else 1

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``: every field, and the exit code."""
        return {**asdict(self), "waits": self.waits, "exit_code": self.exit_code}
