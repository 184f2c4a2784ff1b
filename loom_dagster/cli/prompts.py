"""``loom prompts``: fix the versions of prompts."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from loom_dagster.cli.exits import OK
from loom_dagster.cli.options import AsJson, ProjectDir, find_root
from loom_dagster.cli.output import emit
from loom_dagster.cli.terminal import Terminal

__all__ = ["app"]

app = typer.Typer(help="Fix the versions of prompts.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Fix the versions of prompts."""


@app.command()
def lock(
    force: Annotated[
        bool, typer.Option("--force", help="Also where a locked version has another content.")
    ] = False,
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Write prompts/versions.lock: each prompt's version and content, to be committed."""
    from loom_dagster.prompts import lock_prompts
    from loom_dagster.settings import load_settings

    settings = load_settings(find_root(project))
    changed = lock_prompts(settings, force=force)
    if as_json:
        emit({"lock": f"{settings.prompts}/versions.lock", "changed": changed})
        return OK
    terminal = Terminal(sys.stdout)
    for line in changed:
        terminal.line(f"  {line}")
    if changed:
        terminal.line(f"{terminal.sign('good')} {settings.prompts}/versions.lock is written; commit it")
    else:
        terminal.line(f"{terminal.sign('good')} {settings.prompts}/versions.lock is up to date")
    return OK
