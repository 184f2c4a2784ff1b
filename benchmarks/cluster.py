"""The same job on one machine and on a Ray cluster: the CPU of all processes that take part, span, memory, rows and calls."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.environments import ROOT, Unavailable
from benchmarks.processes import MARK, Processes
from benchmarks.runs import Result, serve
from benchmarks.setting import Row, Setting, measured, run
from benchmarks.tables import Table
from tests.servers.ray_cluster import RayCluster

__all__ = ["WORKERS", "cluster"]

WORKERS = (1, 2)
_OURS = ("driver", "worker", "till", "idle")
"""Processes that run our code, or wait to; the rest is Ray's own: raylet, GCS, agents, monitors."""


@dataclass(frozen=True, slots=True)
class _Whole:
    """One run, with what each role took: CPU seconds, peak MB."""

    result: Result
    cpu: Counter[str]
    peak: dict[str, float]

    @property
    def ours(self) -> float:
        return sum(self.cpu[role] for role in _OURS)


def cluster(setting: Setting) -> Table:
    """Rows are named ``loom`` for the local engine, and ``loom:ray N`` for N workers."""
    few, nodes = setting.few, 2
    starts: dict[str, _Whole] = {}
    with _nodes(nodes) as (address, mark):

        def measure(contestant: str, folder: Path) -> Row:
            name, _, workers = contestant.partition(" ")
            where = {"engine": "ray", "address": address, "workers": int(workers or 0)}
            pipeline = {"execution": where} if workers else {}

            def one(records: int) -> _Whole:
                with serve(records, latency=setting.latency) as server, Processes(mark) as processes:
                    place = folder / str(records)
                    running = run(setting, name, place, server, records=records, pipeline=pipeline)
                    result = running.wait(server)
                return _whole(result, processes if workers else None)

            if contestant not in starts:
                starts[contestant] = one(few)
            return _row(starts[contestant], one(setting.records), setting)

        contestants = tuple(
            row
            for name in setting.contestants
            for row in ([f"{name} {n}" for n in WORKERS] if name.endswith(":ray") else [name])
        )
        rows = measured(replace(setting, contestants=contestants), measure)
    _compare(rows)
    return Table(
        title="One machine and a Ray cluster",
        text=(
            f"{setting.records:,} records, {setting.latency * 1000:.0f} ms latency, {setting.in_flight} in flight in all: ideal "
            f"{setting.ideal:.2f} s. The cluster has {nodes} nodes, all on this machine. CPU is that of all processes: the difference to a run of "
            f"{few} records, over the difference in records; Ray's own processes (raylet, GCS, agents) stand apart, since they take theirs "
            "with or without a run."
        ),
        columns={
            "cpu": ("CPU ms a record", ".2f"),
            "against": ("against local", ".2f"),
            "driver": ("of it driver", ".2f"),
            "worker": ("workers", ".2f"),
            "till": ("till", ".2f"),
            "ray": ("Ray's own, besides", ".2f"),
            "cpu_start": ("start-up, CPU s", ".1f"),
            "ratio": ("span / ideal", ".2f"),
            "wall": ("the whole command, s", ".1f"),
            "peak": ("peak MB, driver", ".0f"),
            "peak_worker": ("a worker", ".0f"),
            "peak_till": ("till", ".0f"),
            "lost": ("lost", ".0f"),
            "double": ("double", ".0f"),
            "wrong": ("wrong", ".0f"),
            "paid": ("paid", ".0f"),
            "repeated": ("paid twice", ".0f"),
            "runs": ("runs", ".0f"),
        },
        rows=rows,
    )


@contextlib.contextmanager
def _nodes(count: int) -> Iterator[tuple[str, str]]:
    """A cluster's address, and the mark of its processes. Raises Unavailable."""
    if importlib.util.find_spec("ray") is None:
        raise Unavailable("Ray is not installed: pip install 'loom-dagster[ray]'")
    mark = uuid.uuid4().hex
    # Ray gives its workers the least priority: beside other work they would be measured waiting
    cluster = RayCluster(**{MARK: mark, "PYTHONPATH": str(ROOT), "RAY_worker_niceness": "0"})
    before = dict(os.environ)
    os.environ.update(cluster.environ)  # the token that its nodes ask for
    try:
        yield cluster.start(count).address, mark
    except RuntimeError as error:
        raise Unavailable(f"no Ray node: {str(error)[-300:]}") from error
    finally:
        cluster.close()
        os.environ.clear()
        os.environ.update(before)


def _whole(result: Result, processes: Processes | None) -> _Whole:
    """The driver as wait4 saw it, all others as they were seen in /proc."""
    took = {} if processes is None else processes.by_role()
    cpu = Counter({role: of.cpu for role, of in took.items()})
    cpu["driver"] += result.cpu
    return _Whole(result, cpu, {role: of.peak_mb for role, of in took.items()} | {"driver": result.peak_mb})


def _row(start: _Whole, full: _Whole, setting: Setting) -> Row:
    result, more = (
        full.result,
        (setting.records - setting.few) / 1000,
    )  # CPU seconds over this are ms a record
    row: Row = {
        "cpu": (full.ours - start.ours) / more,
        "cpu_start": start.ours,
        "ratio": result.span / setting.ideal,
        "wall": result.wall,
        "peak": full.peak["driver"],
        "lost": result.lost,
        "double": result.double,
        "wrong": result.wrong,
        "paid": result.stats["paid"],
        "repeated": result.stats["repeated"],
    }
    row |= {
        role: (full.cpu[role] - start.cpu[role]) / more
        for role in ("driver", "worker", "till", "ray")
        if role in full.cpu
    }
    row |= {f"peak_{role}": full.peak[role] for role in ("worker", "till") if role in full.peak}
    return row


def _compare(rows: list[Row]) -> None:
    local = next((row["cpu"] for row in rows if row["contestant"] == "loom" and "cpu" in row), None)
    for row in rows:
        if local is not None and "cpu" in row:
            row["against"] = float(row["cpu"]) / float(local)
