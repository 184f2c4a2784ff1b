"""Pipelines for people who write Python: their own function around each run.

    @loom_assets(project=Path(__file__).parent, select=["customer_sentiment"])
    def defs(context: dg.AssetExecutionContext, loom: dg.ResourceParam[LoomResource]):
        yield from loom.run(context)

`defs` then is a Definitions, of which a module has one: the assets, their checks and gates, the loads, jobs and resources.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from loom_dagster.assets.op import Step
from loom_dagster.assets.options import OPTIONS_KEY, LoomOptions

if TYPE_CHECKING:
    from loom_dagster.assets.runs import Runs
    from loom_dagster.release import Snapshot

__all__ = ["LOOM_KEY", "LoomResource", "loom_resource"]

LOOM_KEY = "loom"


class LoomResource:
    """The project within a step: annotate an argument called ``loom`` with ``dg.ResourceParam[LoomResource]``.
    ``options`` are those of this Dagster run."""

    def __init__(self, runs: Runs, steps: Mapping[str, Step], options: LoomOptions) -> None:
        self._runs, self._steps = runs, steps
        self.options = options

    def run(self, context: dg.AssetExecutionContext) -> Iterator[Any]:
        """Run the pipeline that this step is of, and yield what Dagster is to be told. Raises
        dagster.Failure, with the reason."""
        step = self._steps.get(context.op_def.name)
        if step is None:
            raise dg.Failure("loom.run() belongs in a function of @loom_assets", allow_retries=False)
        yield from step(context, self.options)

    def released(self, pipeline: str, partition: str = "") -> Snapshot | None:
        """The latest released snapshot of a pipeline: its tables' paths, counts and verdict."""
        return self._runs.released(pipeline, partition)


def loom_resource(runs: Runs, steps: Mapping[str, Step]) -> dg.ResourceDefinition:
    """The resource, which takes the options of the run it is made in. ``steps`` by the names of their ops."""

    def make(context: dg.InitResourceContext) -> LoomResource:
        options = getattr(context.resources, OPTIONS_KEY)
        return LoomResource(runs, steps, options)

    return dg.ResourceDefinition(make, required_resource_keys={OPTIONS_KEY})
