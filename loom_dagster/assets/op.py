"""The op of a pipeline: extract, transform and evaluate in one step, and what Dagster is told of it.

succeeded, held      both assets are materialized and the step succeeds; whether the batch may
                     pass is the gate's business
deferred,            materialized if there is a snapshot; the step fails, so that "re-execute
interrupted, failed  from failure" and run retries continue where it stopped
records missing,     materialized; the step fails and is not retried, since the next try would
nothing passed       end the same way
trial                an observation instead of a materialization; what depends on it is skipped
waits for batches    likewise: the step succeeds, the pipeline's sensor starts the run that goes on

A step of several partitions runs each of them; one that fails does not stop the others. One of which nothing passed
fails the load instead, so that the others are loaded.
"""

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from loom_dagster.assets.batches import batch_metadata, in_words
from loom_dagster.assets.graph import Lane
from loom_dagster.assets.journal import Journal
from loom_dagster.assets.launchers import warn_of_files
from loom_dagster.assets.metadata import quarantine_metadata, transformed_metadata
from loom_dagster.assets.observed import Inputs
from loom_dagster.assets.options import LoomOptions
from loom_dagster.assets.partitions import asked_keys
from loom_dagster.assets.progress import Teller
from loom_dagster.assets.ranges import Made, backfill_policy, of, together, told, without_partition
from loom_dagster.assets.worker import run_in_thread
from loom_dagster.errors import LoomError, Misconfigured, Permanent
from loom_dagster.events import Listener
from loom_dagster.settings import RunOptions

if TYPE_CHECKING:
    from loom_dagster.assets.runs import Runs
    from loom_dagster.pipeline import Outcome, Stop

__all__ = ["Around", "Step", "failure_of", "failure_of_error", "pipeline_op"]

Step = Callable[[dg.AssetExecutionContext, LoomOptions], Iterator[Any]]
Around = Callable[[str, Step], Callable[..., Any]]


def pipeline_op(
    lane: Lane,
    specs: tuple[dg.AssetSpec, dg.AssetSpec],
    inputs: Inputs,
    *,
    runs: "Runs",
    listen: Listener,
    journal: Journal,
    around: Around | None = None,
) -> dg.AssetsDefinition:
    """``specs``: transformed and quarantine. Both come from one step, or neither does. ``around`` gets the
    step's name and function, and gives the function that takes its place."""
    transformed, quarantine = (spec.key for spec in specs)
    name, definition = f"{lane.identifier}__run", specs[0].partitions_def
    policy = backfill_policy(definition, runs.settings.partitions_per_run)
    step = dg.multi_asset(name=name, specs=list(specs), can_subset=False, backfill_policy=policy)

    def run(context: dg.AssetExecutionContext, loom_options: LoomOptions) -> Iterator[Any]:
        keys = asked_keys(definition, context.run.tags)
        if not keys:
            raise without_partition(lane.name)
        options = loom_options.run_options()
        inputs.note(context, trial=options.trial)
        warn_of_files(context, runs.settings)
        one = functools.partial(_run_one, context, lane.name, options, runs=runs, journal=journal)
        tell = Teller(context, transformed, listen)
        done: list[Made] = []
        failed: dict[str, dg.Failure] = {}
        for key in keys:
            try:
                outcome = one(key, tell)
            except dg.Failure as failure:
                failed[key] = failure
                continue
            if outcome.trial:
                yield _trial(transformed, key, outcome)
                context.log.info(f"{lane.name}: a trial; nothing is published, what depends on it is skipped")
            elif outcome.waits:
                yield _waits(transformed, key, outcome)
                context.log.info(f"{lane.name}: {in_words(outcome)}; what depends on it is skipped")
            elif outcome.snapshot or outcome.status in {"succeeded", "held"}:
                done += _made((transformed, quarantine), key, outcome)
            broken = failure_of(outcome)
            if broken and len(keys) > 1 and _only_nothing_passed(outcome):
                context.log.error(f"{lane.name}, {key}: {broken.description}")  # the load fails with it
            elif broken:
                failed[key] = broken
        yield from told(context, keys, done)
        if failed:
            raise together(failed, len(keys))

    return step(run if around is None else around(name, run))


def _run_one(
    context: dg.AssetExecutionContext,
    name: str,
    options: RunOptions,
    key: str,
    listen: Listener,
    *,
    runs: "Runs",
    journal: Journal,
) -> "Outcome":
    """The pipeline, or its partition ``key``. Raises dagster.Failure for an error that was raised on purpose."""

    def work(tell: Listener, stop: "Stop") -> "Outcome":
        run_id = context.run.run_id
        outcome = runs.run(name, options, listen=tell, stop=stop, dagster_run_id=run_id, **of(key))
        journal.outcomes[name] = outcome
        return outcome

    try:
        return run_in_thread(work, listen)
    except LoomError as error:
        journal.errors[name] = error
        raise failure_of_error(error) from error


def _trial(asset: dg.AssetKey, key: str, outcome: "Outcome") -> dg.AssetObservation:
    metadata = transformed_metadata(outcome)
    return dg.AssetObservation(asset, description="a trial run", metadata=metadata, partition=key or None)


def _waits(asset: dg.AssetKey, key: str, outcome: "Outcome") -> dg.AssetObservation:
    return dg.AssetObservation(
        asset, description=in_words(outcome), metadata=batch_metadata(outcome), partition=key or None
    )


def _made(assets: tuple[dg.AssetKey, dg.AssetKey], key: str, outcome: "Outcome") -> list[Made]:
    transformed, quarantine = assets
    passed = Made(transformed, key, transformed_metadata(outcome), outcome.data_version)
    return [passed, Made(quarantine, key, quarantine_metadata(outcome))]


def _only_nothing_passed(outcome: "Outcome") -> bool:
    """Whether all went well but for the records: the batch is there, and nothing of it may be loaded."""
    sound = outcome.counts.conserved and outcome.stopped_by is None
    return outcome.nothing_passed and sound and outcome.status in {"succeeded", "held"}


def failure_of(outcome: "Outcome") -> dg.Failure | None:
    """Why the step fails, in words; None when the promises are kept so far."""
    counts = outcome.counts
    why, again = None, False
    if outcome.waits:
        return None
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
