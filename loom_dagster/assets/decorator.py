"""`@loom_assets`: the pipelines of a project with a function of one's own around each run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from loom_dagster.assembly import Loom
from loom_dagster.assets.build import definitions_of
from loom_dagster.assets.graph import survey
from loom_dagster.assets.journal import Journal
from loom_dagster.assets.op import Step
from loom_dagster.assets.resource import LOOM_KEY, loom_resource
from loom_dagster.assets.translator import LoomTranslator
from loom_dagster.events import ignore

if TYPE_CHECKING:
    from loom_dagster.assets.runs import Runs

__all__ = ["loom_assets"]


def loom_assets(
    *,
    project: Path,
    select: Sequence[str] | None = None,
    translator: LoomTranslator | None = None,
    open_loom: Callable[[Path], Runs] = Loom.open,
) -> Callable[[Callable[..., Any]], dg.Definitions]:
    """Pipelines of the project in the folder ``project`` (``select``: some, by name or as ``tag:NAME``).

    The function is the step that extracts, transforms and evaluates; it gets ``context``, ``loom`` and
    whatever resources it names, and yields from ``loom.run(context)``. Gates and loads are made as
    ever. Raises Misconfigured as `build_definitions` does.
    """

    def decorate(function: Callable[..., Any]) -> dg.Definitions:
        runs = open_loom(project)
        steps: dict[str, Step] = {}

        def around(name: str, step: Step) -> Callable[..., Any]:
            steps[name] = step
            return function

        graph = survey(runs, select)
        ours = translator or LoomTranslator()
        defs = definitions_of(runs, graph, ours, listen=ignore, journal=Journal(), around=around)
        return dg.Definitions.merge(defs, dg.Definitions(resources={LOOM_KEY: loom_resource(runs, steps)}))

    return decorate
