"""A sensor a pipeline with ``trigger: {on: ...}``: it looks, and starts one run for what it finds.

It is a plain sensor, for new batches of other pipelines as well, and asks the ledger rather than events: a batch
that a person releases, or that `loom run` made elsewhere, is an event of nobody's; and a condition on events asks
once, while this one asks again until the data is taken. Its cursor only keeps what was observed; losing it loses
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from loom_dagster.assets.graph import Lane
from loom_dagster.assets.keys import tag_value
from loom_dagster.assets.observed import observation
from loom_dagster.assets.orphans import end_if_orphaned
from loom_dagster.assets.translator import LoomTranslator
from loom_dagster.errors import LoomError, Misconfigured

if TYPE_CHECKING:
    from loom_dagster.assembly.due import Attempt, Due
    from loom_dagster.assets.runs import Runs

__all__ = ["PIPELINE", "WHY", "pipeline_sensor", "told", "unfinished_runs"]

PIPELINE, STATE, CODE, WHY = "loom/pipeline", "loom/state", "loom/code", "loom/why"
PARTITION = "dagster/partition"
_LOOKED_AT = 25  # runs


def pipeline_sensor(lane: Lane, translator: LoomTranslator, runs: Runs) -> dg.SensorDefinition | None:
    """None for a pipeline whose YAML asks for none."""
    trigger = lane.file.spec.trigger
    if trigger is None or not trigger.on:
        return None

    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        records = _records(context.instance, lane)
        if going_on := unfinished_runs(context.instance, records):
            return dg.SensorResult(skip_reason=f"run {going_on[0]} is going on", cursor=context.cursor)
        try:
            found = runs.triggers.due(lane.name, _attempts(records), _canceled_in(context.instance))
            seen = {**_seen(context.cursor), **_versions(lane, translator, found)}
        except LoomError as error:
            raise told(lane, error) from None
        new = {key: version for key, version in seen.items() if _seen(context.cursor).get(key) != version}
        events = [observation(dg.AssetKey.from_user_string(key), version) for key, version in new.items()]
        return dg.SensorResult(
            run_requests=[_request(lane, translator, found)] if found.run else [],
            skip_reason=None if found.run else found.why,
            asset_events=events,
            cursor=json.dumps(seen, sort_keys=True),
        )

    return dg.SensorDefinition(
        name="__".join([lane.identifier, *trigger.on]),
        job_name=lane.identifier,
        evaluation_fn=tick,
        minimum_interval_seconds=int(trigger.every.total_seconds()),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Runs `{lane.name}` on {' and '.join(on.replace('_', ' ') for on in trigger.on)}.",
    )


def unfinished_runs(instance: dg.DagsterInstance, records: Sequence[dg.RunRecord]) -> list[str]:
    """The ids of those that go on. One whose process is gone is ended."""
    from loom_dagster.clock import SystemClock

    now = SystemClock().now().timestamp()
    going_on = [record for record in records if not record.dagster_run.is_finished]
    return [r.dagster_run.run_id for r in going_on if not end_if_orphaned(instance, r, now)]


def _records(instance: dg.DagsterInstance, lane: Lane) -> Sequence[dg.RunRecord]:
    """Newest first, of all that started its job."""
    return instance.get_run_records(dg.RunsFilter(tags={PIPELINE: tag_value(lane.name)}), limit=_LOOKED_AT)


def _attempts(records: Sequence[dg.RunRecord]) -> list[Attempt]:
    from datetime import UTC, datetime

    from loom_dagster.assembly.due import Attempt

    return [
        Attempt(
            id=record.dagster_run.run_id,
            state=tags[STATE],
            code=tags.get(CODE, ""),
            succeeded=record.dagster_run.is_success,
            partition=tags.get(PARTITION, ""),
            canceled=record.dagster_run.status is dg.DagsterRunStatus.CANCELED,
            ended_at=datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), UTC),
        )
        for record in records
        if STATE in (tags := record.dagster_run.tags)
    ]


def _canceled_in(instance: dg.DagsterInstance) -> Callable[[str], bool]:
    """Only what a person terminates is CANCELED: a run that a shutdown interrupts, and one that takes too long, fails."""

    def was_canceled(run_id: str) -> bool:
        run = instance.get_run_by_id(run_id)
        return run is not None and run.status is dg.DagsterRunStatus.CANCELED

    return was_canceled


def _request(lane: Lane, translator: LoomTranslator, found: Due) -> dg.RunRequest:
    only: Mapping[str, Any] = {}
    if found.load_only:
        only = {"asset_selection": [translator.key(lane.loaded)], "asset_check_keys": []}
    tags = {PIPELINE: tag_value(lane.name), STATE: found.state, CODE: found.code, WHY: found.why[:200]}
    return dg.RunRequest(
        run_key=f"{lane.identifier}-{found.key}", partition_key=found.partition or None, tags=tags, **only
    )


def _versions(lane: Lane, translator: LoomTranslator, found: Due) -> dict[str, str]:
    """By asset key, what was looked at: those are noted when they change."""
    seen: dict[str, str] = {}
    whole = lane.reads is not None and lane.reads.role == "source" and not found.partition
    if whole and lane.reads is not None and "source" in found.versions:
        seen[translator.key(lane.reads).to_user_string()] = found.versions["source"]
    for node in lane.texts:
        if str(node.text) in found.versions:
            seen[translator.key(node).to_user_string()] = found.versions[str(node.text)]
    return seen


def _seen(cursor: str | None) -> dict[str, str]:
    try:
        known = json.loads(cursor or "{}")
    except ValueError:  # someone wrote there
        return {}
    return known if isinstance(known, dict) else {}


def told(lane: Lane, error: LoomError) -> Exception:
    """A tick that fails, with every problem in words. The next one tries again."""
    problems = error.problems if isinstance(error, Misconfigured) else ()
    return RuntimeError("\n".join([f"{lane.name}: {error}", *(f"- {problem}" for problem in problems)]))
