"""Pipelines run through Dagster in this process: what `loom run` does."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
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
    partitions: Mapping[str, Sequence[str]] | None = None,
    translator: LoomTranslator | None = None,
    environ: Mapping[str, str] = os.environ,
    open_loom: Callable[[Path], Runs] = Loom.open,
) -> list[Outcome]:
    """Run pipelines with their checks and loads as one Dagster run; one outcome a name, in that order.

    ``partitions``: those that are run of each, one Dagster run a partition; then there is one outcome for each. A trial is one Dagster run a pipeline: it publishes nothing, so none waits for another. A
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
    keys = {lane.name: list((partitions or {}).get(lane.name, [""])) for lane in lanes}
    found: dict[tuple[str, str], Outcome] = {}
    with instance_of(runs.settings, environ) as instance:
        for group, key in _jobs(lanes, keys, alone=options.trial):
            journal.forget()
            nodes = [node for lane in group for node in (lane.transformed, lane.quarantine)]
            if not options.trial:
                nodes += [lane.loaded for lane in group]
            if not journal.interrupted:
                _execute(defs, instance, [translator.key(node) for node in nodes], options, journal, key)
            only = names[0] if len(names) == 1 and len(keys[names[0]]) == 1 else ""
            if only in journal.errors and only not in journal.outcomes:
                raise journal.errors[only]
            found |= {(lane.name, key): replace(journal.outcome(lane), partition=key) for lane in group}
    return [found[name, key] for name in names for key in keys[name]]


def _jobs(
    lanes: Sequence[Lane], keys: Mapping[str, Sequence[str]], *, alone: bool
) -> Iterator[tuple[Sequence[Lane], str]]:
    """What is one Dagster run: pipelines that follow each other with the same partitions, for each of these;
    ``alone``: each for itself."""
    groups: list[list[Lane]] = []
    for lane in lanes:
        if groups and not alone and keys[groups[-1][0].name] == keys[lane.name]:
            groups[-1].append(lane)
        else:
            groups.append([lane])
    for group in groups:
        for key in keys[group[0].name]:
            yield group, key


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
    partition: str,
) -> None:
    """One Dagster run of ``keys``, of a ``partition`` where there are any, and their checks."""
    # it warns of a check without a result also where all that it would let through is skipped
    logging.getLogger("dagster._core.execution.plan.active").setLevel(logging.ERROR)
    try:
        result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
            asset_selection=keys,
            instance=instance,
            raise_on_error=False,
            partition_key=partition or None,
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
