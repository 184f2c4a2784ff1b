"""Runs that Dagster starts on other machines, and a ledger that stays on one."""

from __future__ import annotations

import dagster as dg

from loom_dagster.settings import Settings

__all__ = ["warn_of_files"]

_ON_ONE_MACHINE = {"DefaultRunLauncher", "SyncInMemoryRunLauncher", "DockerRunLauncher"}


def warn_of_files(context: dg.AssetExecutionContext, settings: Settings) -> None:
    """Say so where the instance has a launcher for several machines and the ledger is a file."""
    if settings.ledger is not None or not context.instance.is_persistent:
        return
    # the launcher itself is not made: one for Kubernetes would look for its cluster
    data = context.instance.get_ref().run_launcher_data
    launcher = "" if data is None else data.class_name
    if launcher in _ON_ONE_MACHINE or not launcher:
        return
    context.log.warning(
        f"{launcher} may start runs on several machines, and the ledger is a file in {settings.state}/: budgets and limits are then "
        "kept by each machine for itself, or, on a file system that they share, the file breaks. Keep it on Postgres: "
        "[tool.loom] ledger or LOOM_LEDGER, see docs/deployment.md"
    )
