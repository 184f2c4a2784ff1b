"""Of a run that waits for batches: which they are, how far they are, and what there is to say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from loom_dagster.batches import Waiting
from loom_dagster.ledger import BatchRow, RunRow
from loom_dagster.pipeline import Counts, Outcome, Verdict

if TYPE_CHECKING:
    from loom_dagster.assembly.prepared import Prepared

__all__ = ["batches_of", "oldest_first", "progress", "still_waits"]


def batches_of(run: RunRow | None) -> list[str]:
    """What the last start of a run said it waits for."""
    if run is None or run.outcome is None:
        return []
    return [str(each["batch"]) for each in run.outcome.get("batches", ())]


def oldest_first(rows: Sequence[BatchRow]) -> list[BatchRow]:
    """As they were sent: where a batch has no name at the provider, the first that is missed is the one that is there."""
    return sorted(rows, key=lambda row: row.created_at)


def progress(rows: Sequence[BatchRow]) -> str:
    done, requests = sum(row.done + row.failed for row in rows), sum(row.requests for row in rows)
    states = ", ".join(sorted({(row.provider_state or row.state).replace("_", " ") for row in rows}))
    number = f"batch {rows[0].batch_id}" if len(rows) == 1 else f"{len(rows)} batches"
    return f"{number}: {states}, {done:,} of {requests:,} questions done"


def still_waits(run: RunRow, ready: Prepared, rows: Sequence[BatchRow]) -> Outcome:
    """A run that waits, as its last start left it, and its batches as they are now."""
    kept: Mapping[str, Any] = run.outcome or {}
    known = kept.get("counts", {})
    counts = Counts(**{name: int(known.get(name, 0)) for name in Counts.__dataclass_fields__})
    return Outcome(
        run_id=run.run_id,
        pipeline=run.pipeline,
        version=run.version,
        partition=ready.partition,
        status="deferred",
        counts=counts,
        verdict=Verdict(passed=False, reason="the answers come with a batch; the next start continues it"),
        resumed=True,
        reasons=kept.get("reasons", {}),
        versions=kept.get("versions", {}),
        batches=tuple(Waiting.of(row) for row in rows),
        in_batches=counts.deferred,
    )
