"""Runs that Dagster starts on several machines, and files that stay on one."""

from __future__ import annotations

import dagster as dg

from loom_dagster.settings import Settings

__all__ = ["warn_of_files"]

_ON_ONE_MACHINE = {"DefaultRunLauncher", "SyncInMemoryRunLauncher", "DockerRunLauncher"}


def warn_of_files(context: dg.AssetExecutionContext, settings: Settings) -> None:
    """Say so where the instance has a launcher for several machines, and the ledger or the answers are files."""
    files = settings.in_files
    if not files or not context.instance.is_persistent:
        return
    # the launcher itself is not made: one for Kubernetes would look for its cluster
    data = context.instance.get_ref().run_launcher_data
    launcher = "" if data is None else data.class_name
    if launcher in _ON_ONE_MACHINE or not launcher:
        return
    context.log.warning(
        f"{launcher} may start runs on several machines, and {' and '.join(files)} are files in {settings.state}: each machine would "
        "keep budgets and limits for itself and pay for answers again, or break a file that all write to. Keep them on Postgres: "
        f"{' and '.join(f'LOOM_{name.upper()}' for name in files)}, see docs/deployment.md"
    )
