"""CPU of processes that nobody waits for, and a cluster measured beside one machine."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid

import pytest

from benchmarks.processes import MARK, Processes, marked, role
from tests.benchmarks.test_compare import compare, rows

BURN = "import time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True)\ninput()"


def test_processes_are_known_by_their_mark_and_count_after_their_end() -> None:
    mark = uuid.uuid4().hex
    with Processes(mark) as processes:
        child = subprocess.Popen(
            [sys.executable, "-c", BURN],
            env=os.environ | {MARK: mark},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        child.stdout.readline()
        assert list(marked(mark)) == [child.pid]
        processes.look()
        child.communicate("\n")
    took = processes.by_role()["ray"]
    assert took.cpu >= 0.28
    assert took.peak_mb > 5


def test_what_was_taken_before_does_not_count() -> None:
    mark = uuid.uuid4().hex
    command = [sys.executable, "-c", BURN]
    with subprocess.Popen(
        command, env=os.environ | {MARK: mark}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with Processes(mark) as processes:
            pass
        child.communicate("\n")
    assert processes.by_role()["ray"].cpu < 0.1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ray::WorkerActor.settle", "worker"),
        ("ray::TillActor", "till"),
        ("ray::IDLE", "idle"),
        ("ray::DashboardAgent", "ray"),
        ("/x/raylet --raylet_socket_name=y", "ray"),
        ("", ""),
    ],
)
def test_what_a_process_is_for_is_in_its_name(words: str, expected: str) -> None:
    assert role(words) == expected


@pytest.mark.slow
@pytest.mark.service
def test_a_cluster_is_measured_beside_one_machine() -> None:
    pytest.importorskip("ray")
    done = compare("cluster")
    assert done.returncode == 0, done.stderr
    table = rows(done.stdout)
    for name in ("loom", "loom:ray 1", "loom:ray 2"):
        assert {k: table[name][k] for k in ("lost", "double", "wrong", "paid", "paid twice")} == {
            "lost": "0",
            "double": "0",
            "wrong": "0",
            "paid": "20",
            "paid twice": "0",
        }
    assert float(table["loom:ray 2"]["a worker"]) > 50
