"""`loom run` of a pipeline that waits, `--wait`, and `loom batches`, as a person and a script see them."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from tests.batches.conftest import BatchProject
from tests.servers.batches import BatchServer

pytestmark = pytest.mark.service


@pytest.fixture
def server():
    with BatchServer() as running:
        yield running


@pytest.fixture
def project(tmp_path, server):
    made = BatchProject(tmp_path / "project", server)
    made.texts(6)
    made.batch_pipeline()
    return made


def begin(project, server) -> subprocess.Popen[str]:
    """`loom run --wait`, which is waiting by now."""
    child = subprocess.Popen(
        project.command("run", "classify", "--direct", "--wait"),
        env=project.env,
        cwd=project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    looks = server.stats().get("look", 0) + 2
    while server.stats().get("look", 0) < looks:
        assert child.poll() is None
        time.sleep(0.01)
    return child


def test_it_submits_and_ends_and_says_how_to_go_on(project, server):
    run = project.loom("run", "classify", "--direct")
    assert run.code == 0
    assert "at OpenAI (validating): 6 questions, 0 done, at most $" in " ".join(run.out.split())
    assert "loom run classify --wait" in run.out and "not loaded: the answers come with a batch" in run.out
    again = project.run()
    assert again.code == 0 and again.outcome["waits"] is True and again.outcome["status"] == "deferred"
    assert again.outcome["batches"][0]["provider_id"] == "batch_0"
    assert server.stats()["create"] == 1


def test_wait_goes_on_to_the_end_and_runs_what_reads_it(project, server):
    project.pipeline(
        "below",
        extract={"source": "pipeline://classify", "key": "id"},
        transform={"model": "offline/demo"},
        load={"destination": "out/below.parquet", "schema": {"second": {"type": "string"}}},
    )
    waiting = project.loom("run", "classify", "below", "--direct")
    assert waiting.code == 0 and "not run: it reads from classify, which waits for a batch" in waiting.out
    server.auto, server.per_line = 2, {"text 1.": "expired"}
    run = project.loom("run", "classify", "below", "--direct", "--wait", "--json")
    assert run.code == 0, run.out + run.err
    first, second = run.json["runs"]
    assert first["status"] == second["status"] == "succeeded"
    assert first["counts"]["passed"] == 5 and second["counts"]["extracted"] == 5
    assert server.stats()["create"] == 3  # what expired is asked three times
    assert "in progress, 0 of 6 questions done" in run.err


def test_wait_through_dagster(project, server):
    server.auto = 2
    run = project.loom("run", "classify", "--wait", "--json")
    assert run.code == 0 and run.outcome["status"] == "succeeded"
    assert len(project.table()) == 6
    assert "emitted no result" not in run.err


def test_waiting_ends_with_its_time_and_the_batch_goes_on(project, server):
    run = project.run("classify", "--wait", "--timeout", "0.2s")
    assert run.code == 0 and run.outcome["waits"] is True
    server.finish()
    assert project.run().outcome["status"] == "succeeded"


def test_ctrl_c_while_waiting_leaves_the_batch_running(project, server):
    child = begin(project, server)
    child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=30)
    assert child.returncode == 130 and "The batches go on at the provider" in said
    assert "Traceback" not in said and server.stats().get("cancel") is None
    server.finish()
    assert project.run().outcome["counts"]["passed"] == 6


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["run", "classify", "--timeout", "1h"], "--timeout belongs to --wait"),
        (["run", "classify", "--wait", "--timeout", "soon"], "--timeout takes a time, not `soon`"),
        (["batches", "cancel", "nope"], "there is no batch `nope`"),
        (["batches", "list", "clasify"], "classify"),
    ],
)
def test_what_is_wrong_is_said_and_ends_with_2(project, args, words):
    run = project.loom(*args)
    assert run.code == 2 and words in " ".join((run.out + run.err).split())


def test_batches_are_listed_and_can_be_cancelled(project, server):
    assert "No batches" in project.loom("batches").out
    project.run()
    listed = project.loom("batches", "list", "classify", "--json").json["batches"]
    assert [(b["state"], b["requests"], b["provider_id"]) for b in listed] == [("submitted", 6, "batch_0")]
    shown = project.loom("batches").out
    assert "validating" in shown and "0 of 6 questions" in shown and "at most $" in shown
    waiting = begin(project, server)
    cancelled = project.loom("batches", "cancel", listed[0]["batch_id"][:6])
    assert cancelled.code == 0 and server.stats()["cancel"] == 1
    [entry] = project.loom("audit", "--json").json["entries"]
    assert (entry["action"], entry["subject"]) == ("batch_cancel", listed[0]["batch_id"])
    said, _ = waiting.communicate(timeout=60)  # it takes what was answered, and asks nothing again by itself
    assert waiting.returncode == 0 and "was cancelled by" in said and server.stats()["create"] == 1
    again = project.run()
    assert again.outcome["in_batches"] == 3 and server.stats()["create"] == 2
    twice = project.loom("batches", "cancel", listed[0]["batch_id"])
    assert twice.code == 2 and "there is nothing to cancel" in twice.err
