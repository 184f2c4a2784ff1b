"""Pipelines for people who write Python: their own function around each run.

    @loom_assets(project=Path(__file__).parent, select=["customer_sentiment"])
    def reviews(context: dg.AssetExecutionContext, loom: dg.ResourceParam[LoomResource]):
        yield from loom.run(context)

`reviews` then is a Definitions: the assets, their checks and gates, the loads, jobs and resources.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from loom_dagster.assets.graph import Node
from loom_dagster.assets.journal import Journal
from loom_dagster.assets.op import run_pipeline
from loom_dagster.assets.options import OPTIONS_KEY, LoomOptions
from loom_dagster.assets.progress import Teller
from loom_dagster.events import ignore
from loom_dagster.settings import RunOptions

if TYPE_CHECKING:
    from loom_dagster.assets.runs import Runs
    from loom_dagster.release import Snapshot

__all__ = ["LOOM_KEY", "LoomResource", "loom_resource"]

LOOM_KEY = "loom"


class LoomResource:
    """The project within a step: annotate an argument called ``loom`` with ``dg.ResourceParam[LoomResource]``.
    ``options`` are those of this Dagster run."""

    def __init__(self, runs: Runs, nodes: Mapping[dg.AssetKey, Node], options: RunOptions) -> None:
        self._runs, self._nodes = runs, nodes
        self.options = options

    def run(self, context: dg.AssetExecutionContext, options: RunOptions | None = None) -> Iterator[Any]:
        """Run the pipeline that this step is of, and yield what Dagster is to be told. ``options`` in the
        place of this Dagster run's; the load goes by the latter. Raises dagster.Failure, with the reason."""
        keys = {self._nodes[key].role: key for key in context.assets_def.keys if key in self._nodes}
        if set(keys) != {"transformed", "quarantine"}:
            raise dg.Failure("loom.run() belongs in a function of @loom_assets", allow_retries=False)
        pipeline = self._nodes[keys["transformed"]].pipeline
        yield from run_pipeline(
            context,
            str(pipeline),
            (keys["transformed"], keys["quarantine"]),
            options or self.options,
            runs=self._runs,
            listen=Teller(context, keys["transformed"], ignore),
            journal=Journal(),
        )

    def released(self, pipeline: str, partition: str = "") -> Snapshot | None:
        """The latest released snapshot of a pipeline: its tables' paths, counts and verdict."""
        return self._runs.released(pipeline, partition)


def loom_resource(runs: Runs, nodes: Mapping[dg.AssetKey, Node]) -> dg.ResourceDefinition:
    """The resource, which takes the options of the run it is made in."""

    def make(context: dg.InitResourceContext) -> LoomResource:
        options = getattr(context.resources, OPTIONS_KEY)
        found = options.run_options() if isinstance(options, LoomOptions) else RunOptions()
        return LoomResource(runs, nodes, found)

    return dg.ResourceDefinition(make, required_resource_keys={OPTIONS_KEY})
