"""Runs of Dagster's whose process is gone: killed with its machine, or with the code server that had it.

Dagster's own launcher does not look after them; they would be going on for ever, and a trigger would wait.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import dagster as dg
from dagster import DagsterEventType, DagsterRunStatus, RunRecord

__all__ = ["end_if_orphaned"]

_TO_START = timedelta(minutes=5)
_SLACK = 60.0  # seconds by which a clock may differ from the kernel's
_ENDABLE = {
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
}


def end_if_orphaned(instance: dg.DagsterInstance, record: RunRecord, now: float) -> bool:
    """Whether the run was one, and is now marked as failed. Only runs of Dagster's default launcher are judged:
    their processes are on the machine of the code server, which asks; other launchers look after theirs."""
    run = record.dagster_run
    if type(instance.run_launcher).__name__ != "DefaultRunLauncher" or run.status not in _ENDABLE:
        return False
    started = [
        (entry.timestamp, event.engine_event_data.metadata["pid"].value)
        for entry in instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT)
        if (event := entry.dagster_event) is not None and "pid" in event.engine_event_data.metadata
    ]
    if not started:
        if now - record.update_timestamp.timestamp() < _TO_START.total_seconds():
            return False
        instance.report_run_failed(run, "The run did not start: its process is not there.")
        return True
    at, pid = started[-1]
    if _is_alive(int(str(pid)), at):
        return False
    instance.report_run_failed(run, f"The process of the run (pid {pid}) is gone.")
    return True


def _is_alive(pid: int, at: float) -> bool:
    """Whether the process that was ``pid`` at that time still is; a later one with its number is not."""
    if not Path("/proc/self/stat").exists():
        return _answers(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    fields = stat.rpartition(")")[2].split()
    booted = next(
        line for line in Path("/proc/stat").read_text("ascii").splitlines() if line.startswith("btime")
    )
    began = float(booted.split()[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return fields[0] not in "ZX" and began <= at + _SLACK


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
