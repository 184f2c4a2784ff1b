"""Pipelines run through Dagster in this process: what `loom run` does."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from loom_dagster.assembly import Loom
from loom_dagster.assets.build import definitions_of
from loom_dagster.assets.graph import Graph, Lane, survey
from loom_dagster.assets.home import instance_of
from loom_dagster.assets.journal import Journal
from loom_dagster.assets.options import OPTIONS_KEY
from loom_dagster.assets.translator import LoomTranslator
from loom_dagster.errors import Misconfigured
from loom_dagster.events import Listener, ignore
from loom_dagster.settings import RunOptions

if TYPE_CHECKING:
    from loom_dagster.assets.runs import Runs
    from loom_dagster.pipeline import Outcome

__all__ = ["materialize"]

_INTERRUPTS = {"DagsterExecutionInterruptedError", "KeyboardInterrupt"}


def materialize(
    root: Path,
    names: Sequence[str],
    options: RunOptions | None = None,
    listen: Listener = ignore,
    *,
    translator: LoomTranslator | None = None,
    environ: Mapping[str, str] = os.environ,
    open_loom: Callable[[Path], Runs] = Loom.open,
) -> list[Outcome]:
    """Run pipelines with their checks and loads as one Dagster run; one outcome a name, in that order.

    A trial is one Dagster run a pipeline: it publishes nothing, so none waits for another. A
    pipeline that did not run, because what it reads was held or failed, has a failed outcome that
    says so. Call it from the main thread, so that Ctrl-C is heard; the outcome is then
    ``interrupted``. Raises Misconfigured for a broken pipeline before anything runs, and for one
    that turns out so if it is the only one.
    """
    options, translator, journal = options or RunOptions(), translator or LoomTranslator(), Journal()
    runs = open_loom(root)
    for name in names:
        runs.project.pipeline(name)
    graph = survey(runs)
    lanes = _lanes(graph, names)
    defs = definitions_of(runs, graph, translator, listen=listen, journal=journal)
    with instance_of(runs.settings, environ) as instance:
        for group in [[lane] for lane in lanes] if options.trial else [lanes]:
            nodes = [node for lane in group for node in (lane.transformed, lane.quarantine)]
            if not options.trial:
                nodes += [lane.loaded for lane in group]
            _execute(defs, instance, [translator.key(node) for node in nodes], options, journal)
            if journal.interrupted:
                break
    if len(names) == 1 and names[0] not in journal.outcomes and names[0] in journal.errors:
        raise journal.errors[names[0]]
    by_name = {lane.name: lane for lane in lanes}
    return [journal.outcome(by_name[name]) for name in names]


def _lanes(graph: Graph, names: Sequence[str]) -> list[Lane]:
    broken = {node.pipeline: node for node in graph.broken}
    for name in names:
        if name in broken:
            raise Misconfigured(f"pipeline `{name}` cannot run", problems=tuple(broken[name].problems))
    return [lane for lane in graph.lanes if lane.name in names]


def _execute(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    keys: Sequence[dg.AssetKey],
    options: RunOptions,
    journal: Journal,
) -> None:
    """One Dagster run of ``keys`` and their checks."""
    try:
        result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
            asset_selection=keys,
            instance=instance,
            raise_on_error=False,
            run_config={
                "resources": {OPTIONS_KEY: {"config": asdict(options)}},
                # whoever called tells the user; Dagster's own account is in the instance
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        journal.interrupted = True
        return
    for event in result.filter_events(lambda event: event.is_step_failure):
        data = event.step_failure_data
        if data.error is not None and data.error.cls_name in _INTERRUPTS:
            journal.interrupted = True
        said = data.user_failure_data.description if data.user_failure_data else None
        cause = data.error.cause or data.error if data.error else None
        journal.failures[str(event.step_key)] = said or (cause.message.strip() if cause else "unknown")
