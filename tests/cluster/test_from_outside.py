"""A driver that is no node of the cluster, over `ray://`: ledger and answers are on Postgres."""

from __future__ import annotations

import os
import signal

import pytest

from tests.cluster.job import Job, same_tables, serve, texts_of
from tests.cluster.kills import tills, workers
from tests.servers.ray_cluster import below, named

pytestmark = [pytest.mark.slow, pytest.mark.service]

N = 1500
_ON_POSTGRES = """[tool.loom]
model = "offline/demo"
ledger = "postgres://main/ledger"
answers = "postgres://main/answers"
"""


@pytest.fixture
def server():
    with serve(texts_of(N), latency=0.05) as running:
        yield running


@pytest.fixture
def job(cluster, tmp_path, server, postgres):
    made = Job(tmp_path / "p", server, texts_of(N), cluster, in_flight=32, judged=True)
    made.to(cluster.client_address)
    made.project.write("pyproject.toml", _ON_POSTGRES)
    made.project.environ["LOOM_CONNECTION_MAIN"] = postgres.database()
    return made


def test_tables_are_those_of_a_local_run_and_nobody_is_left_behind(job, cluster):
    outcome = job.run()
    assert job.broken_promises(outcome) == []
    assert workers(cluster) == tills(cluster) == []
    job.on("local")
    again = job.project.run("classify", "--fresh").outcome
    assert again["spending"]["reused"] == N
    assert same_tables(outcome, again) == []


def test_a_connection_that_is_lost_ends_the_run_in_words_and_the_next_one_goes_on(job, cluster):
    child = job.start()
    job.until_paid(200, child)
    for pid in below(cluster.head.process.pid):
        if "--mode=specific-server" in named(pid):  # the driver's place on the cluster
            os.kill(pid, signal.SIGKILL)
    said, _ = child.communicate(timeout=300)
    assert child.returncode == 1, said
    assert "Traceback" not in said
    assert "the connection to the Ray cluster" in said
    assert "Ray Client" not in said
    outcome = job.run()
    assert outcome["resumed"] is True
    assert job.broken_promises(outcome, kills=1) == []
