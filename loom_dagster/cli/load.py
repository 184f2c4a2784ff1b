"""``loom load``: what is released goes to its destination, also what an earlier load could not bring there."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from loom_dagster.cli.exits import OK
from loom_dagster.cli.options import AsJson, ProjectDir, open_loom
from loom_dagster.cli.output import emit
from loom_dagster.cli.partitions import OneKey
from loom_dagster.cli.terminal import Terminal

__all__ = ["load"]

_FAILED = 1


def load(
    name: Annotated[str, typer.Argument(help="The pipeline.")],
    partition: OneKey = "",
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Load what is released. Loading twice changes nothing."""
    result = open_loom(project).load(name, partition=partition)
    code = OK if result.loaded and (result.rows or not result.refused) else _FAILED
    if as_json:
        emit({"pipeline": name, "load": result, "exit_code": code})
        return code
    terminal = Terminal(sys.stdout)
    if not result.loaded:
        terminal.line(f"{terminal.sign('warn')} Not loaded: {result.reason}")
        return code
    terminal.line(f"{terminal.sign('good')} {result.rows:,} loaded into {result.destination} ({result.mode})")
    if result.refused:
        terminal.line(
            f"{terminal.sign('warn')} {result.refused:,} refused by it, in quarantine: {result.reason}"
        )
    for note in result.notes:
        terminal.line(f"{terminal.sign('none')} {note}")
    return code
