"""``loom version``: loom and what it stands on."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

from loom_dagster.cli.exits import OK
from loom_dagster.cli.options import AsJson
from loom_dagster.cli.output import emit
from loom_dagster.cli.terminal import Terminal

__all__ = ["version"]

_PACKAGES = {"loom": "loom-dagster", "dagster": "dagster", "arbiter": "arbiter-ai", "litellm": "litellm"}


def version(as_json: AsJson = False) -> int:
    """Print the versions of loom, Dagster, Arbiter and litellm."""
    found = {name: _version(package) for name, package in _PACKAGES.items()}
    found["python"] = platform.python_version()
    if as_json:
        emit(found)
    else:
        Terminal(sys.stdout).table([(name, number or "not installed") for name, number in found.items()])
    return OK


def _version(package: str) -> str | None:
    try:
        return installed(package)
    except PackageNotFoundError:
        return None
