"""The asset at the destination. It loads what is released, whatever was selected in the UI.

The gate blocks this step within a run. When it is selected alone the gate is not there, so the
step asks for the latest *released* snapshot itself: a held batch is never loaded.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from loom_dagster.assets.graph import Lane
from loom_dagster.assets.journal import Journal
from loom_dagster.assets.metadata import load_metadata
from loom_dagster.assets.op import failure_of_error
from loom_dagster.assets.options import LoomOptions
from loom_dagster.errors import LoomError

if TYPE_CHECKING:
    from loom_dagster.assets.runs import Runs

__all__ = ["loaded_asset"]


def loaded_asset(lane: Lane, spec: dg.AssetSpec, *, runs: "Runs", journal: Journal) -> dg.AssetsDefinition:
    """Loads, or fails saying why there is nothing to load. A trial is skipped."""

    @dg.multi_asset(name=f"{lane.identifier}__load", specs=[spec], can_subset=False)
    def load(context: dg.AssetExecutionContext, loom_options: LoomOptions) -> Iterator[Any]:
        options = loom_options.run_options()
        if options.trial:
            context.log.info(f"{lane.name}: a trial is not loaded (option `load` would)")
            return
        released, newest = runs.released(lane.name), runs.verdict(lane.name)
        if released is None:
            raise _nothing(lane.name, newest.verdict_reason if newest else None)
        try:
            result = runs.load(lane.name, options)
        except LoomError as error:
            journal.errors[lane.name] = error
            raise failure_of_error(error) from error
        journal.loads[lane.name] = result
        if not result.loaded:
            context.log.warning(f"{lane.name}: nothing was loaded: {result.reason}")
        version = dg.DataVersion(released.data_version) if released.data_version else None
        yield dg.MaterializeResult(
            spec.key, metadata=load_metadata(result, released, newest), data_version=version
        )

    return load


def _nothing(name: str, held: str | None) -> dg.Failure:
    if held is None:
        why = f"nothing to load: `{name}` has not been run; materialize {name}/transformed first"
    else:
        why = (
            f"nothing to load: no batch of `{name}` is released. The newest one is held: {held}."
            f' Look at its quarantine, then run again, or: loom release {name} --why "..."'
        )
    return dg.Failure(why, allow_retries=False)
