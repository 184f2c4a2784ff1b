"""A schedule a pipeline with ``trigger: {cron: ...}``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from loom_dagster.assets.graph import Lane
from loom_dagster.assets.keys import tag_value
from loom_dagster.assets.sensors import PIPELINE, unfinished_runs

if TYPE_CHECKING:
    from loom_dagster.assets.runs import Runs

__all__ = ["pipeline_schedule"]


def pipeline_schedule(lane: Lane, runs: Runs) -> dg.ScheduleDefinition | None:
    """None for a pipeline whose YAML asks for none. Two runs of a pipeline are never asked for at a time."""
    trigger = lane.file.spec.trigger
    if trigger is None or trigger.cron is None:
        return None

    def tick(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        tags = {PIPELINE: tag_value(lane.name)}
        records = context.instance.get_run_records(dg.RunsFilter(tags=tags), limit=25)
        if unfinished_runs(context.instance, records) or runs.triggers.is_running(lane.name):
            yield dg.SkipReason(f"a run of {lane.name} is going on")
            return
        keys = runs.triggers.scheduled(lane.name)
        if not keys:
            yield dg.SkipReason("every complete partition has been run")
        for key in keys:
            run_key = f"{lane.identifier}-{context.scheduled_execution_time.isoformat()}-{key}"
            yield dg.RunRequest(run_key=run_key, partition_key=key or None, tags=tags)

    return dg.ScheduleDefinition(
        name=f"{lane.identifier}__cron",
        job_name=lane.identifier,
        cron_schedule=trigger.cron,
        execution_timezone=trigger.timezone or "UTC",
        execution_fn=tick,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Runs `{lane.name}` at `{trigger.cron}` ({trigger.timezone or 'UTC'}).",
    )
