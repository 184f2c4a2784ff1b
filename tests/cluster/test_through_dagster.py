"""A run on a cluster as Dagster sees it: its own run process, its log, and its button that ends it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import dagster as dg
import pytest

from tests.cluster.job import Job, same_tables, serve, texts_of
from tests.cluster.kills import tills, workers

pytestmark = [pytest.mark.slow, pytest.mark.service]

N = 1500
_LISTEN = """
import json, pathlib, sys
from loom_dagster.assembly import Loom
from loom_dagster.events import Progress
seen = []
def listen(event):
    if isinstance(event, Progress):
        seen.append((event.extracted, event.transformed, event.cost))
Loom.open(pathlib.Path(sys.argv[1])).run("classify", listen=listen)
print(json.dumps(seen))
"""


@pytest.fixture
def server():
    with serve(texts_of(N), latency=0.05) as running:
        yield running


@pytest.fixture
def job(cluster, tmp_path, server):
    return Job(tmp_path / "p", server, texts_of(N), cluster, in_flight=32, judged=True)


def instance_of(job):
    return dg.DagsterInstance.from_config(str(job.project.root / ".loom" / "dagster"))


def logged(job):
    """Status of the newest run, and the lines of its log."""
    with instance_of(job) as instance:
        [newest, *_] = instance.get_run_records()
        lines = [e.user_message for e in instance.all_logs(newest.dagster_run.run_id)]
    return newest.dagster_run.status, lines


def test_materialized_by_dagster_it_is_the_same_run(job):
    run = job.project.loom("run", "classify", "--json")
    assert run.code == 0, run.err
    assert job.broken_promises(run.outcome) == []
    status, lines = logged(job)
    assert status == dg.DagsterRunStatus.SUCCESS
    assert any(f"transform done, {N} records" in line for line in lines)
    job.on("local")
    assert same_tables(run.outcome, job.run()) == []


def test_terminated_it_is_drained_and_canceled_and_the_next_run_goes_on(job, cluster):
    child = subprocess.Popen(
        job.project.command("run", "classify"),
        env=job.project.env,
        cwd=job.project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    job.until_paid(300, child)
    with instance_of(job) as instance:  # what the button in the UI does
        [run] = instance.get_runs()
        instance.report_run_canceling(run)
    child.send_signal(signal.SIGTERM)
    said, _ = child.communicate(timeout=120)
    assert child.returncode == 130, said
    assert job.stored() == job.server.stats()["paid"]
    assert logged(job)[0] == dg.DagsterRunStatus.CANCELED
    assert workers(cluster) == tills(cluster) == []
    again = job.project.loom("run", "classify", "--json")
    assert again.code == 0, again.err
    assert again.outcome["resumed"] is True
    assert job.broken_promises(again.outcome) == []


def test_how_far_it_has_come_is_told_while_it_goes_on(job):
    told = subprocess.run(
        [sys.executable, "-c", _LISTEN, str(job.project.root)],
        env=job.project.env, cwd=job.project.root, check=True, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    seen = json.loads(told.stdout)
    assert seen == sorted(seen)
    assert len({transformed for _, transformed, _ in seen}) > 3
    assert seen[-1][:2] == [N, N]
