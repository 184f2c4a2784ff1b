"""kill -9 at every step of a batch, and run again: one batch, every record, nothing paid twice, the books right."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time

import pytest

pytestmark = pytest.mark.service

N = 600  # more than two helpings of lines at once


def start(project, *args: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        project.command("run", "classify", "--direct", *args),
        env=project.env,
        cwd=project.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def stored(project) -> int:
    with sqlite3.connect(project.root / ".loom" / "answers.sqlite") as db:
        return int(db.execute("select count(*) from answers").fetchone()[0])


def settled(project, server, passed, texts, *, batches: int = 1) -> None:
    """It goes on to its end, and everything holds."""
    for _ in range(batches + 1):
        server.finish()
        done = project.ask()
        if not done.waits:
            break
    assert done.status == "succeeded" and done.counts.conserved
    assert passed(done) == list(texts)
    assert [row["id"] for row in project.table()] == list(texts)
    stats, books = server.stats(), project.books()
    assert stats["batches"] == batches
    assert stats["repeated"] == 0
    assert books.spent == pytest.approx(stats["cost"], abs=1e-9)
    assert (books.unconfirmed, books.reserved) == (0, 0)


@pytest.mark.parametrize("model", ["openai/any", "anthropic/claude-sonnet-4-5"])
@pytest.mark.parametrize("moment", ["upload", "create", "look", "results"])
def test_killed_when_the_provider_has_done_it_and_nothing_was_heard_of_it(
    project, server, passed, moment, model
):
    if moment == "upload" and model.startswith("anthropic"):
        pytest.skip("there is no upload")
    texts = project.texts(N)
    project.batch_pipeline(model=model)
    if moment in ("look", "results"):
        project.ask()
        if moment == "results":
            server.finish()
    child = start(project)
    server.kill = {moment: lambda: os.kill(child.pid, signal.SIGKILL)}
    assert child.wait(60) == -signal.SIGKILL
    settled(project, server, passed, texts)


def test_killed_when_half_of_the_answers_are_stored(project, server, passed):
    texts = project.texts(N)
    project.batch_pipeline()
    project.ask()
    server.finish()
    server.halfway = lambda: stored(project) >= 200
    child = start(project)
    while server.halfway is not None:  # the server has seen it, and hangs up
        assert child.poll() is None
        time.sleep(0.01)
    child.kill()
    child.wait()
    assert 200 <= stored(project) < N
    assert project.books().spent == 0 and project.books().reserved > 0
    settled(project, server, passed, texts)


def test_killed_after_the_batch_is_in_the_books(project, server, passed):
    texts = project.texts(N)
    server.per_line = {"text 7.": "malformed"}  # it is repaired online, when the run goes on
    project.batch_pipeline()
    project.ask()
    server.finish()
    child = start(project)
    server.kill = {"online": lambda: os.kill(child.pid, signal.SIGKILL)}
    assert child.wait(60) == -signal.SIGKILL
    assert project.books().reserved == 0
    done = project.ask()
    assert passed(done) == list(texts)
    stats, books = server.stats(), project.books()
    assert (stats["batches"], stats["online"], stats["repeated"]) == (1, 2, 0)
    assert books.spent == pytest.approx(stats["cost"], abs=1e-9)


def test_killed_while_it_gathers_leaves_nothing_to_pay_or_to_keep(project, server, passed):
    texts = project.texts(12_000)
    project.batch_pipeline()
    child = start(project)
    spool = project.root / ".loom" / "batches"
    while not any(path.stat().st_size for path in spool.glob("*.jsonl")):
        assert child.poll() is None
        time.sleep(0.005)
    child.kill()
    child.wait()
    assert server.stats().get("upload") is None
    again = project.ask()
    assert again.counts.deferred == len(texts)
    assert len(list(spool.glob("*.jsonl"))) == 1  # that of the first start is gone
    assert again.batches[0].reserved == pytest.approx(project.books().reserved)
    settled(project, server, passed, texts)


@pytest.mark.parametrize("model", ["openai/any", "anthropic/claude-sonnet-4-5"])
@pytest.mark.parametrize("fault", ["lost", "close", 429, 500])
def test_an_answer_to_a_submission_that_is_lost_makes_no_second_batch(project, server, passed, fault, model):
    texts = project.texts(5)
    server.faults = {"create": [fault], "upload": [500], "look": [500, 429], "results": [500, "close"]}
    project.batch_pipeline(model=model)
    assert project.ask().waits
    settled(project, server, passed, texts)


def test_a_provider_that_is_away_keeps_the_batch_meant_and_the_next_start_sends_it(project, server, passed):
    texts = project.texts(5)
    server.faults = {"create": [503] * 4}
    project.batch_pipeline()
    first = project.ask()
    assert first.status == "deferred" and not first.waits and first.exit_code == 1
    assert first.stopped_kind == "unavailable" and "503" in (first.stopped_by or "")
    assert first.batches[0].state == "submitting"
    second = project.ask()
    assert second.waits and second.batches[0].state == "submitted"
    settled(project, server, passed, texts)


def test_polling_that_fails_is_no_end(project, server, passed):
    texts = project.texts(5)
    project.batch_pipeline()
    project.ask()
    server.faults = {"look": [503] * 4}
    assert project.ask().waits
    settled(project, server, passed, texts)


def test_of_parts_of_one_size_the_one_that_is_there_is_found_again(project, server, passed, monkeypatch):
    monkeypatch.setenv("LOOM_BATCH_REQUESTS", "4")
    texts = project.texts(8)
    server.faults = {"create": ["lost"], "list": [401]}
    project.batch_pipeline(model="anthropic/claude-sonnet-4-5")
    assert project.ask().exit_code == 2 and server.stats()["batches"] == 1  # the second part was not sent
    assert project.ask().waits and server.stats()["batches"] == 2
    settled(project, server, passed, texts, batches=2)
