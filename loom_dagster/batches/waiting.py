"""What a run waits for, in plain values: for terminals, Dagster and the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loom_dagster.ledger import BatchRow

__all__ = ["Waiting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A batch that is not settled. ``state``: ours, ``provider_state``: the provider's word; ``reserved``: the most
    it can cost, in USD; ``submitted_at``: ISO 8601. ``cancelled``: somebody asked for its end."""

    batch: str
    pipeline: str
    provider: str
    provider_id: str | None
    state: str
    provider_state: str | None
    requests: int
    done: int
    failed: int
    reserved: float
    submitted_at: str | None
    cancelled: bool = False

    @classmethod
    def of(cls, row: BatchRow) -> Waiting:
        return cls(
            batch=row.batch_id,
            pipeline=row.pipeline,
            provider=row.provider,
            provider_id=row.provider_id,
            state=row.state,
            provider_state=row.provider_state,
            requests=row.requests,
            done=row.done,
            failed=row.failed,
            reserved=row.reserved,
            submitted_at=None if row.submitted_at is None else row.submitted_at.isoformat(timespec="seconds"),
            cancelled=row.cancelled_by is not None,
        )
