"""``loom ui``: Dagster's webserver and daemon on this project."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from loom_dagster.cli.options import ProjectDir, find_root
from loom_dagster.cli.terminal import Terminal
from loom_dagster.errors import Misconfigured

__all__ = ["ui"]


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 3000,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    postgres: Annotated[
        str | None,
        typer.Option(
            metavar="CONNECTION",
            help="Dagster's own tables on this connection (or URL); default: `dagster_storage`, else files.",
        ),
    ] = None,
    project: ProjectDir = None,
) -> None:
    """Open the project in Dagster's UI."""
    from importlib.util import find_spec

    root = find_root(project)
    if find_spec("dagster_webserver") is None:
        raise Misconfigured(
            "Dagster's webserver is not installed",
            fix='pip install "loom-dagster[ui]" brings it',
            kind="missing_extra",
        )
    from loom_dagster.assets import ui_command

    command, environ = ui_command(root, host=host, port=port, storage=postgres)
    Terminal(sys.stderr).line(f"Dagster's UI at http://{host}:{port} (Ctrl-C ends it)")
    os.chdir(root)
    os.execve(command[0], command, environ)  # noqa: S606 - this process becomes Dagster's, and hears its signals
