"""``loom report``: what became of a run as a page for a browser."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from loom_dagster.cli.exits import OK
from loom_dagster.cli.options import AsJson, ProjectDir, open_loom
from loom_dagster.cli.output import emit
from loom_dagster.cli.partitions import OneKey
from loom_dagster.cli.terminal import Terminal

__all__ = ["report"]


def report(
    name: Annotated[
        str, typer.Argument(metavar="RUN|PIPELINE", help="A run, or a pipeline: its newest run.")
    ],
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to; default: a file in .loom/reports/.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    partition: OneKey = "",
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Write a page about a run: scores, confusions, worst records, why records failed, cost, and the run before."""
    from loom_dagster.assembly.run_report import find_run, run_report
    from loom_dagster.cli.writing import write_whole

    loom = open_loom(project)
    run = find_run(loom, name, partition)
    readable = re.sub(r"[^A-Za-z0-9_.-]", "_", run.pipeline)[:80]
    place = output or loom.settings.state_dir / "reports" / f"{readable}-{run.run_id}.html"
    page = run_report(loom, run)
    write_whole(place, page, folder=output is None)
    place = place.resolve()
    if as_json:
        emit(
            {"run_id": run.run_id, "pipeline": run.pipeline, "path": str(place), "bytes": len(page.encode())}
        )
    else:
        terminal = Terminal(sys.stdout)
        terminal.line(f"{terminal.sign('good')} Run {run.run_id} of {run.pipeline}")
        terminal.line(f"   {place}")
    if open_:
        import webbrowser

        webbrowser.open(place.as_uri())
    return OK
