"""``loom release``: a person's word that a held batch may go on."""

from __future__ import annotations

import getpass
import os
import sys
from typing import Annotated, Any

import typer

from loom_dagster.cli.exits import OK
from loom_dagster.cli.options import AsJson, ProjectDir, open_loom
from loom_dagster.cli.output import emit
from loom_dagster.cli.terminal import Terminal
from loom_dagster.errors import Misconfigured

__all__ = ["release", "who"]


def release(
    name: Annotated[str, typer.Argument(help="The pipeline.")],
    why: Annotated[str, typer.Option(metavar="TEXT", help="The reason; it is kept with the release.")],
    partition: Annotated[str, typer.Option(metavar="P", help="The partition, if the pipeline has any.")] = "",
    no_load: Annotated[bool, typer.Option("--no-load", help="Release only; load with a later run.")] = False,
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Release the newest held batch of a pipeline, and load it."""
    reason = said(why)
    loom = open_loom(project)
    loom.project.pipeline(name)
    snapshot = loom.release(name, why=reason, who=who(), partition=partition)
    result = None if no_load else loom.load(name)
    if as_json:
        document: dict[str, Any] = {
            "pipeline": name,
            "snapshot": snapshot.id,
            "partition": snapshot.partition,
        }
        document |= {
            "released_at": snapshot.released_at,
            "released_by": snapshot.released_by,
            "why": snapshot.why,
        }
        emit(document | {"load": result})
        return OK
    terminal = Terminal(sys.stdout)
    passed = int(snapshot.counts.get("passed", 0))
    terminal.line(
        f"{terminal.sign('good')} Released {snapshot.id}: {passed:,} passing records, by {snapshot.released_by}"
    )
    if result is None:
        terminal.line(
            "   Not loaded yet: the next run of `loaded` in Dagster does, or this command without --no-load."
        )
    elif result.loaded:
        terminal.line(
            f"{terminal.sign('good')} {result.rows:,} loaded into {result.destination} ({result.mode})"
        )
    else:
        terminal.line(f"{terminal.sign('warn')} Not loaded: {result.reason}")
    return OK


def said(why: str) -> str:
    """The reason, which has to be one. Raises Misconfigured."""
    if not why.strip():
        raise Misconfigured("--why is empty", fix="say why; it is kept, and others will want to know")
    return why.strip()


def who() -> str:
    """The person at the keyboard, as far as the machine knows."""
    try:
        return os.environ.get("LOOM_USER") or getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"
