"""The command that shows a project in Dagster's UI."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from loom_dagster.assets.home import dagster_home
from loom_dagster.settings import load_settings

__all__ = ["ui_command"]

# `dg dev`, which Dagster would rather have, only works in projects laid out for it
_QUIET = "ignore:Function `dev_command` is superseded"


def ui_command(
    root: Path, *, host: str = "127.0.0.1", port: int = 3000, environ: Mapping[str, str] = os.environ
) -> tuple[list[str], dict[str, str]]:
    """(argv, environment) to run in ``root``: webserver and daemon, in the home that `loom run` writes to.

    The project's own definitions.py if there is one; else only its pipelines.
    """
    home = dagster_home(load_settings(root, environ), environ)
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
    return argv, {**environ, "DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "1"}
