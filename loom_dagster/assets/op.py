"""The op of a pipeline: extract, transform and evaluate in one step, and what Dagster is told of it.

succeeded, held      both assets are materialized and the step succeeds; whether the batch may
                     pass is the gate's business
deferred,            materialized if there is a snapshot; the step fails, so that "re-execute
interrupted, failed  from failure" and run retries continue where it stopped
records missing,     materialized; the step fails and is not retried, since the next try would
nothing passed       end the same way
trial                an observation instead of a materialization; what depends on it is skipped

A step of several partitions runs each of them; one that fails does not stop the others.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from loom_dagster.assets.graph import Lane
from loom_dagster.assets.journal import Journal
from loom_dagster.assets.metadata import quarantine_metadata, transformed_metadata
from loom_dagster.assets.observed import Inputs
from loom_dagster.assets.options import LoomOptions
from loom_dagster.assets.partitions import asked_keys
from loom_dagster.assets.progress import Teller
from loom_dagster.assets.ranges import BACKFILL, Made, of, together, told, without_partition
from loom_dagster.assets.worker import run_in_thread
from loom_dagster.errors import LoomError, Misconfigured, Permanent
from loom_dagster.events import Listener

if TYPE_CHECKING:
    from loom_dagster.assets.runs import Runs
    from loom_dagster.pipeline import Outcome, Stop

__all__ = ["failure_of", "failure_of_error", "pipeline_op"]


def pipeline_op(
    lane: Lane,
    specs: tuple[dg.AssetSpec, dg.AssetSpec],
    inputs: Inputs,
    *,
    runs: "Runs",
    listen: Listener,
    journal: Journal,
) -> dg.AssetsDefinition:
    """``specs``: transformed and quarantine. Both come from one step, or neither does."""
    transformed, _ = specs

    @dg.multi_asset(
        name=f"{lane.identifier}__run",
        specs=list(specs),
        can_subset=False,
        backfill_policy=BACKFILL if transformed.partitions_def else None,
    )
    def run(context: dg.AssetExecutionContext, loom_options: LoomOptions) -> Iterator[Any]:
        options = loom_options.run_options()
        keys = asked_keys(transformed.partitions_def, context.run.tags)
        if not keys:
            raise without_partition(lane.name)
        inputs.note(context, trial=options.trial)

        def one(key: str) -> "Outcome":
            def work(tell: Listener, stop: "Stop") -> "Outcome":
                asked: Any = {"listen": tell, "stop": stop, "dagster_run_id": context.run.run_id, **of(key)}
                journal.outcomes[lane.name] = outcome = runs.run(lane.name, options, **asked)
                return outcome

            try:
                return run_in_thread(work, Teller(context, transformed.key, listen))
            except LoomError as error:
                journal.errors[lane.name] = error
                raise failure_of_error(error) from error

        done: list[Made] = []
        failed: dict[str, dg.Failure] = {}
        for key in keys:
            try:
                outcome = one(key)
            except dg.Failure as failure:
                failed[key] = failure
                continue
            if outcome.trial:
                yield _tried(transformed.key, key, outcome)
                context.log.info(f"{lane.name}: a trial; nothing is published, what depends on it is skipped")
            elif outcome.snapshot or outcome.status in {"succeeded", "held"}:
                done += _made(specs, key, outcome)
            if broken := failure_of(outcome):
                failed[key] = broken
        yield from told(context, keys, done)
        if failed:
            raise together(failed, len(keys))

    return run


def _made(specs: tuple[dg.AssetSpec, dg.AssetSpec], key: str, outcome: "Outcome") -> list[Made]:
    transformed, quarantine = specs
    passed = Made(transformed.key, key, transformed_metadata(outcome), outcome.data_version)
    return [passed, Made(quarantine.key, key, quarantine_metadata(outcome))]


def _tried(asset: dg.AssetKey, key: str, outcome: "Outcome") -> dg.AssetObservation:
    metadata = transformed_metadata(outcome)
    return dg.AssetObservation(asset, description="a trial run", metadata=metadata, partition=key or None)


def failure_of(outcome: "Outcome") -> dg.Failure | None:
    """Why the step fails, in words; None when the promises are kept so far."""
    counts = outcome.counts
    why, again = None, False
    if not counts.conserved:
        why = (
            f"{counts.extracted} records came in, but {counts.passed} passed + {counts.quarantined}"
            f" quarantined + {counts.deferred} deferred do not add up to that; nothing is released"
        )
    elif outcome.stopped_kind == "misconfigured":
        why = outcome.stopped_by or "the run stopped: something has to be changed first"
    elif outcome.status == "deferred":
        why = f"{counts.deferred} of {counts.extracted} records are deferred"
        again = outcome.stopped_kind != "budget"  # a retry that nobody asked for would spend it again
    elif outcome.status == "interrupted":
        why, again = "interrupted; everything answered so far is kept, the next run continues here", True
    elif outcome.status == "failed":
        why = outcome.stopped_by or "the run failed"
    elif outcome.nothing_passed:
        why = f"none of {counts.extracted} records passed; all of them are in quarantine with their reasons"
    if why is None:
        return None
    if outcome.stopped_by and outcome.stopped_by not in why:
        why = f"{why}: {outcome.stopped_by}"
    return dg.Failure(why, metadata=_counts(outcome), allow_retries=again)


def failure_of_error(error: LoomError) -> dg.Failure:
    """An error that was raised on purpose, with every problem it names."""
    problems = error.problems if isinstance(error, Misconfigured) else ()
    lines = [str(error), *(f"- {problem}" for problem in problems)]
    return dg.Failure("\n".join(lines), allow_retries=not isinstance(error, Misconfigured | Permanent))


def _counts(outcome: "Outcome") -> dict[str, Any]:
    counts = outcome.counts
    return {
        "extracted": counts.extracted,
        "passed": counts.passed,
        "quarantined": counts.quarantined,
        "deferred": counts.deferred,
        "status": outcome.status,
        "loom/run_id": outcome.run_id,
    }
