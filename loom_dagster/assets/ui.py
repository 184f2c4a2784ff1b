"""The command that shows a project in Dagster's UI."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from loom_dagster.assets.home import dagster_environ, instance_of
from loom_dagster.settings import load_settings

__all__ = ["ui_command"]

# `dg dev`, which Dagster would rather have, only works in projects laid out for it
_QUIET = "ignore:Function `dev_command` is superseded"


def ui_command(
    root: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 3000,
    storage: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> tuple[list[str], dict[str, str]]:
    """(argv, environment) to run in ``root``: webserver and daemon, in the home that `loom run` writes to.
    ``storage`` in the place of the setting ``dagster_storage``.

    The project's own definitions.py if there is one; else only its pipelines. Raises Misconfigured when
    the storage cannot be reached.
    """
    settings = load_settings(root, environ)
    if storage is not None:
        settings = replace(settings, dagster_storage=storage)
    needed = dagster_environ(settings, environ)
    if settings.dagster_storage is not None:
        with instance_of(settings, environ):  # makes its tables, or says in a line why it cannot
            pass
    own = root / "definitions.py"
    location = ["-f", str(own)] if own.exists() else ["-m", "loom_dagster.assets.location"]
    argv = [
        sys.executable,
        "-W",
        _QUIET,
        "-m",
        "dagster",
        "dev",
        *location,
        "-d",
        str(root),
        "-h",
        host,
        "-p",
        str(port),
    ]
    return argv, {**environ, **needed, "DAGSTER_DISABLE_TELEMETRY": "1"}
