"""The asset at the destination. It loads what is released, whatever was selected in the UI.

The gate blocks this step within a run. When it is selected alone the gate is not there, so the
step asks for the latest *released* snapshot itself: a held batch is never loaded.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from loom_dagster.assets.gate import holds
from loom_dagster.assets.graph import Lane
from loom_dagster.assets.journal import Journal
from loom_dagster.assets.metadata import load_metadata
from loom_dagster.assets.op import failure_of_error
from loom_dagster.assets.options import LoomOptions
from loom_dagster.assets.partitions import asked_keys
from loom_dagster.assets.ranges import Made, backfill_policy, of, together, told, without_partition
from loom_dagster.errors import LoomError

if TYPE_CHECKING:
    from loom_dagster.assets.runs import Runs

__all__ = ["loaded_asset"]


def loaded_asset(lane: Lane, spec: dg.AssetSpec, *, runs: "Runs", journal: Journal) -> dg.AssetsDefinition:
    """Loads, or fails saying why there is nothing to load. A trial is skipped."""

    @dg.multi_asset(
        name=f"{lane.identifier}__load",
        specs=[spec],
        can_subset=False,
        backfill_policy=backfill_policy(spec.partitions_def, runs.settings.partitions_per_run),
    )
    def load(context: dg.AssetExecutionContext, loom_options: LoomOptions) -> Iterator[Any]:
        options = loom_options.run_options()
        if options.trial:
            context.log.info(f"{lane.name}: a trial is not loaded (option `load` would)")
            return

        def one(key: str) -> Made:
            released, newest = runs.released(lane.name, key), runs.verdict(lane.name, key)
            if released is None:
                raise _nothing(lane.name, key, newest.verdict_reason if newest else None)
            try:
                result = runs.load(lane.name, options, **of(key), dagster_run_id=context.run.run_id)
            except LoomError as error:
                journal.errors[lane.name] = error
                raise failure_of_error(error) from error
            journal.loads[lane.name] = result
            if not result.loaded:
                context.log.warning(f"{lane.name}: nothing was loaded: {result.reason}")
            return Made(spec.key, key, load_metadata(result, released, newest), released.data_version)

        keys = asked_keys(spec.partitions_def, context.run.tags)
        if not keys:
            raise without_partition(lane.name)
        done: list[Made] = []
        failed: dict[str, dg.Failure] = {}
        for key in keys:
            newest = runs.verdict(lane.name, key)
            if (
                len(keys) > 1
                and newest is not None
                and newest.counts["extracted"]
                and not newest.counts["passed"]
            ):
                failed[key] = dg.Failure("nothing passed, so nothing is loaded", allow_retries=False)
                continue
            if len(keys) > 1 and newest is not None and holds(newest):
                context.log.warning(f"{lane.name}: {key} is held and not loaded: {newest.verdict_reason}")
                continue
            try:
                done.append(one(key))
            except dg.Failure as failure:
                failed[key] = failure
        yield from told(context, keys, done)
        if failed:
            raise together(failed, len(keys))

    return load


def _nothing(name: str, key: str, held: str | None) -> dg.Failure:
    of_it, option = (f"partition {key} of `{name}`", f" --partition {key}") if key else (f"`{name}`", "")
    if held is None:
        why = f"nothing to load: {of_it} has not been run; materialize {name}/transformed first"
    else:
        why = (
            f"nothing to load: no batch of {of_it} is released. The newest one is held: {held}."
            f' Look at its quarantine, then run again, or: loom release {name}{option} --why "..."'
        )
    return dg.Failure(why, allow_retries=False)
