"""What the driver's side makes of records that no worker settles: deferred ones, and those that kill their worker."""

from __future__ import annotations

from loom_dagster.cluster.blocks import Block, Made, packed_tables, unpacked
from loom_dagster.errors import LoomError
from loom_dagster.pipeline import Plan, Tally
from loom_dagster.pipeline.route import deferred
from loom_dagster.records import Quarantined, Stage
from loom_dagster.release import BatchResult
from loom_dagster.release.rows import Rows

__all__ = ["all_deferred", "all_killing"]


def all_deferred(block: Block, error: LoomError, plan: Plan, rows: Rows) -> Made:
    """Every record waits for the next run, because of ``error``."""
    batch = unpacked(block)
    tally = Tally(plan.evaluators, float)
    tally.take(len(batch.records), batch.rejected)
    fates = [deferred(record, error) for record in batch.records]
    for fate in fates:
        tally.settle(fate)
    rest = [(fate.id, fate.position, fate.reason) for fate in fates]
    result = BatchResult(batch=batch, passed=[], quarantined=batch.rejected, deferred=rest)
    return Made(tables=packed_tables(rows.of(result)), counted=tally.counted())


def all_killing(block: Block, why: str, plan: Plan, rows: Rows) -> Made:
    """Every record is quarantined (kind ``worker_died``). The pipeline's own functions are what can end a process, and
    they judge: without any, nobody knows the stage, and it is that of the first call."""
    batch = unpacked(block)
    judged = any(e.type == "python" for e in plan.evaluate.evaluators)
    failed = [
        Quarantined(
            id=record.id,
            position=record.position,
            stage=Stage.EVALUATE if judged else Stage.TRANSFORM,
            reason=f"its worker died, twice, with nothing else in hand: {why}",
            kind="worker_died",
            source=record.columns,
            attempts=plan.samples.get(record.id, 0),
        )
        for record in batch.records
    ]
    tally = Tally(plan.evaluators, float)
    tally.take(len(batch.records), batch.rejected)
    for entry in failed:
        tally.settle(entry)
    result = BatchResult(batch=batch, passed=[], quarantined=[*batch.rejected, *failed])
    return Made(tables=packed_tables(rows.of(result)), counted=tally.counted())
