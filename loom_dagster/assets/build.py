"""A project as Dagster definitions.

A pipeline that cannot run does not take the code location down, and does not hide: it is shown
as an asset that cannot be materialized, with its problems as the description, and is logged. The
other pipelines stay usable.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from loom_dagster.assembly import Loom
from loom_dagster.assets.alerts import alert_sensor
from loom_dagster.assets.batches import batch_sensor
from loom_dagster.assets.gate import pipeline_checks
from loom_dagster.assets.graph import Graph, Node, survey
from loom_dagster.assets.io_manager import IO_MANAGER_KEY, LoomIOManager
from loom_dagster.assets.jobs import jobs_of
from loom_dagster.assets.journal import Journal
from loom_dagster.assets.loaded import loaded_asset
from loom_dagster.assets.observed import Inputs, observed_assets
from loom_dagster.assets.op import Around, pipeline_op
from loom_dagster.assets.options import OPTIONS_KEY, LoomOptions
from loom_dagster.assets.partitions import mapping_of, partitioning_of, partitions_definition
from loom_dagster.assets.schedules import pipeline_schedule
from loom_dagster.assets.sensors import pipeline_sensor
from loom_dagster.assets.translator import LoomTranslator
from loom_dagster.events import Listener, ignore

if TYPE_CHECKING:
    from loom_dagster.assets.runs import Runs

__all__ = ["build_definitions", "definitions_of"]

_log = logging.getLogger(__name__)


def build_definitions(
    root: Path,
    *,
    select: Sequence[str] | None = None,
    translator: LoomTranslator | None = None,
    listen: Listener = ignore,
    open_loom: Callable[[Path], Runs] = Loom.open,
) -> dg.Definitions:
    """The pipelines of the project at ``root``, ready for ``definitions.py``. ``select``: some of them,
    by name or as ``tag:NAME``.

    Combine it with your own: ``dg.Definitions.merge(build_definitions(root), dg.Definitions(...))``;
    the executor then is set here. Raises Misconfigured for bad settings of the project and for a
    ``select`` that selects nothing, never for a bad pipeline.
    """
    runs = open_loom(root)
    graph = survey(runs, select)
    return definitions_of(runs, graph, translator or LoomTranslator(), listen=listen, journal=Journal())


def definitions_of(
    runs: Runs,
    graph: Graph,
    translator: LoomTranslator,
    *,
    listen: Listener,
    journal: Journal,
    around: Around | None = None,
) -> dg.Definitions:
    """Definitions for an opened project. ``journal`` is told what becomes of each run; ``around`` puts
    functions of somebody else's around the steps of the runs."""
    assets: list[dg.AssetSpec | dg.AssetsDefinition] = []
    checks: list[dg.AssetChecksDefinition] = []
    nodes: dict[dg.AssetKey, Node] = {}

    def spec(node: Node, deps: Sequence[Node] = ()) -> dg.AssetSpec:
        found = _spec(translator, node, deps)
        if found.key in nodes:
            raise dg.DagsterInvalidDefinitionError(
                f"the translator gives the key {found.key.to_user_string()} to two assets: "
                f"{nodes[found.key].uri} ({nodes[found.key].role}) and {node.uri} ({node.role})"
            )
        nodes[found.key] = node
        return found

    for node in graph.broken:
        problems = "\n".join(f"  {problem}" for problem in node.problems)
        _log.warning("pipeline `%s` cannot run:\n%s", node.pipeline, problems)
    assets += [spec(node) for node in graph.broken]
    assets += observed_assets(graph, spec, runs=runs)
    for lane in graph.lanes:
        reads = [lane.reads] if lane.reads is not None else []
        tables = spec(lane.transformed, [*reads, *lane.texts]), spec(lane.quarantine, reads)
        inputs = Inputs(lane, translator, runs)
        assets.append(
            pipeline_op(lane, tables, inputs, runs=runs, listen=listen, journal=journal, around=around)
        )
        checks.append(pipeline_checks(lane, tables[0].key, runs=runs, translator=translator))
        assets.append(loaded_asset(lane, spec(lane.loaded, [lane.transformed]), runs=runs, journal=journal))
    return dg.Definitions(
        assets=assets,
        asset_checks=checks,
        jobs=jobs_of(graph.lanes, translator),
        sensors=[
            *(sensor for lane in graph.lanes if (sensor := pipeline_sensor(lane, translator, runs))),
            *(sensor for lane in graph.lanes if (sensor := batch_sensor(lane, runs))),
            alert_sensor(graph, runs, translator),
        ],
        schedules=[schedule for lane in graph.lanes if (schedule := pipeline_schedule(lane, runs))],
        resources={
            IO_MANAGER_KEY: LoomIOManager(runs, nodes),
            OPTIONS_KEY: LoomOptions(),
        },
        # a process a step would spend seconds on imports
        executor=dg.in_process_executor,
    )


def _partitions(
    spec: dg.AssetSpec, translator: LoomTranslator, node: Node, deps: Sequence[Node]
) -> dict[str, Any]:
    """The partitions of its pipeline, and each dependency with those that it is of."""
    parts = partitioning_of(node)
    if parts is None:
        return {}
    mappings = {translator.key(dep): mapping_of(node, dep) for dep in deps}
    mapped = [
        dg.AssetDep(dep.asset_key, partition_mapping=mappings[dep.asset_key])
        if dep.partition_mapping is None and mappings.get(dep.asset_key) is not None
        else dep
        for dep in spec.deps
    ]
    return {"deps": mapped, "partitions_def": partitions_definition(parts)}


def _spec(translator: LoomTranslator, node: Node, deps: Sequence[Node]) -> dg.AssetSpec:
    """The translator's spec, with what has to hold whatever it says."""
    found = translator.asset_spec(node, deps)
    if found.key != translator.key(node):
        raise dg.DagsterInvalidDefinitionError(
            f"asset_spec() gives {node.uri} the key {found.key.to_user_string()}; override key() instead,"
            " so that what depends on it follows"
        )
    wanted = {translator.key(dep) for dep in deps}
    if not wanted <= {dep.asset_key for dep in found.deps}:
        raise dg.DagsterInvalidDefinitionError(f"asset_spec() takes a dependency away from {node.uri}")
    parts = _partitions(found, translator, node, deps)
    if node.role in {"source", "prompt", "context", "broken"}:
        return found.replace_attributes(**parts) if parts else found
    # skippable: a trial materializes nothing
    return found.replace_attributes(skippable=True, **parts).with_io_manager_key(IO_MANAGER_KEY)
