"""A sensor a pipeline with ``transform.mode: batch``: it looks at its batches, and starts the run that goes on once
they have ended. What it needs to know is in the ledger; it keeps nothing, so that a restart loses nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

from loom_dagster.assets.graph import Lane
from loom_dagster.assets.keys import tag_value
from loom_dagster.assets.sensors import PIPELINE, WHY, told, unfinished_runs
from loom_dagster.errors import LoomError

if TYPE_CHECKING:
    from loom_dagster.assembly.batching import Ready
    from loom_dagster.assets.runs import Runs
    from loom_dagster.pipeline import Outcome

__all__ = ["batch_metadata", "batch_sensor", "in_words"]

BATCHES = "loom/batches"
_EVERY = 60  # seconds
_ATTEMPTS = 3  # runs for what has ended, if they end before they begin
_LOOKED_AT = 25  # runs


def in_words(outcome: Outcome) -> str:
    """What a run waits for."""
    number = sum(batch.requests for batch in outcome.batches)
    named = ", ".join(
        f"{batch.provider_id or batch.batch} ({batch.provider_state})" for batch in outcome.batches
    )
    return f"{number:,} questions wait for a batch at the provider: {named}"


def batch_metadata(outcome: Outcome) -> dict[str, Any]:
    """For Dagster's UI."""
    return {
        "loom/run_id": outcome.run_id,
        "waiting_for": [batch.provider_id or batch.batch for batch in outcome.batches],
        "questions": sum(batch.requests for batch in outcome.batches),
        "questions_done": sum(batch.done + batch.failed for batch in outcome.batches),
        "reserved_usd": float(sum(batch.reserved for batch in outcome.batches)),
    }


def batch_sensor(lane: Lane, runs: Runs) -> dg.SensorDefinition | None:
    """None for a pipeline whose questions are asked at once."""
    if lane.file.spec.transform.mode != "batch":
        return None

    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        records = context.instance.get_run_records(
            dg.RunsFilter(tags={PIPELINE: tag_value(lane.name)}), limit=_LOOKED_AT
        )
        if going_on := unfinished_runs(context.instance, records):
            return dg.SensorResult(skip_reason=f"run {going_on[0]} is going on")
        try:
            found, words = runs.batching.due(lane.name)
        except LoomError as error:
            raise told(lane, error) from None
        requests = [request for each in found if (request := _request(lane, each, records)) is not None]
        if found and not requests:
            words = f"{_ATTEMPTS} runs for it did not begin: loom run {lane.name} says why"
        return dg.SensorResult(run_requests=requests, skip_reason=None if requests else words)

    return dg.SensorDefinition(
        name=f"{lane.identifier}__batches",
        job_name=lane.identifier,
        evaluation_fn=tick,
        minimum_interval_seconds=_EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Looks at the batches of `{lane.name}`, and goes on with it when they have ended.",
    )


def _request(lane: Lane, ready: Ready, records: Any) -> dg.RunRequest | None:
    """A run that ended before it began to go on is started again, some times."""
    before = sum(record.dagster_run.tags.get(BATCHES) == ready.key for record in records)
    if before >= _ATTEMPTS:
        return None
    tags = {PIPELINE: tag_value(lane.name), BATCHES: ready.key, WHY: "its batches have ended"}
    return dg.RunRequest(
        run_key=f"{lane.identifier}-{ready.key}-{before}", partition_key=ready.partition or None, tags=tags
    )
