"""kill -9 at any moment and run again: only the calls that were in flight are asked again."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import time

import pytest

from tests.journeys.project import Project, ids
from tests.servers.llm import LLMServer

N, IN_FLIGHT = 2000, 32


def stored(project: Project) -> int:
    path = project.root / ".loom" / "answers.sqlite"
    if not path.exists():
        return 0
    with sqlite3.connect(path) as connection:
        return int(connection.execute("select count(*) from answers").fetchone()[0])


@pytest.mark.slow
@pytest.mark.service
def test_killed_three_times_no_answer_is_lost_and_only_calls_in_flight_are_paid_again(
    project: Project,
) -> None:
    texts = {f"r{i}": f"review number {i}" for i in range(N)}
    project.reviews(texts)
    project.environ = {"OPENAI_API_KEY": "k"}
    moments = random.Random(20261121)
    with LLMServer(
        process=True,
        latency=0.05,
        labels=dict.fromkeys(texts.values(), "positive"),
        find=r"Review \w+: (.*)",
        field="sentiment",
    ) as server:
        project.pipeline(
            transform={
                "prompt": "prompts/classify.txt",
                "model": "openai/any",
                "api_base": server.base_url,
                "limits": {"in_flight": IN_FLIGHT},
            }
        )
        for share in sorted(moments.uniform(0.1, 0.9) for _ in range(3)):
            child = subprocess.Popen(
                project.command("run", "classify", "--direct", "--json"),
                env=project.env,
                cwd=project.root,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            while server.stats()["paid"] < share * N and child.poll() is None:
                time.sleep(0.01)
            assert child.poll() is None, "it ended before it was killed"
            child.send_signal(signal.SIGKILL)
            child.wait()
        before = server.stats()["paid"]
        kept = stored(project)
        run = project.run()
        stats = server.stats()
    assert run.code == 0 and run.outcome["resumed"] is True
    assert stats["repeated"] <= 3 * IN_FLIGHT
    assert before - kept <= 3 * IN_FLIGHT  # received and not yet stored: at most what was in flight
    assert run.outcome["spending"]["reused"] == kept  # nothing that was stored is asked again
    assert run.outcome["spending"]["calls"] == N - kept
    assert sorted(ids(run.outcome["transformed_path"], "_loom_record_id")) == sorted(texts)
    assert [r["id"] for r in project.table()] == list(texts)  # the source's order, each once


@pytest.mark.service
def test_sigterm_drains_what_is_in_flight_and_the_run_stays_resumable(project: Project) -> None:
    project.reviews({f"r{i}": f"text {i}" for i in range(1000)})
    project.environ = {"OPENAI_API_KEY": "k"}
    with LLMServer(process=True, latency=0.05, text='{"sentiment": "positive"}') as server:
        project.pipeline(
            transform={
                "prompt": "prompts/classify.txt",
                "model": "openai/any",
                "api_base": server.base_url,
                "limits": {"in_flight": 16},
            }
        )
        child = subprocess.Popen(
            project.command("run", "classify", "--direct"),
            env=project.env,
            cwd=project.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        while server.stats()["paid"] < 50:
            assert child.poll() is None, child.stdout and child.stdout.read()
            time.sleep(0.01)
        child.send_signal(signal.SIGTERM)
        said, _ = child.communicate(timeout=30)
        assert child.returncode == 130, said
        assert "Traceback" not in said
        assert stored(project) == server.stats()["paid"]
        again = project.run()
        assert server.stats()["repeated"] == 0
    assert again.code == 0 and again.outcome["resumed"] is True
    assert len(project.table()) == 1000


@pytest.mark.slow
@pytest.mark.service
def test_a_killed_dagster_run_is_continued_and_no_other_may_run_beside_it(project: Project) -> None:
    project.reviews({f"r{i}": f"text {i}" for i in range(1000)})
    project.environ = {"OPENAI_API_KEY": "k"}
    with LLMServer(process=True, latency=0.05, text='{"sentiment": "positive"}') as server:
        project.pipeline(
            transform={
                "prompt": "prompts/classify.txt",
                "model": "openai/any",
                "api_base": server.base_url,
                "limits": {"in_flight": 8},
            }
        )
        child = subprocess.Popen(
            project.command("run", "classify"),
            env=project.env,
            cwd=project.root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while server.stats()["paid"] < 100:
            assert child.poll() is None
            time.sleep(0.01)
        beside = project.loom("run", "classify", "--direct")
        child.kill()
        child.wait()
        kept = stored(project)
        again = project.loom("run", "classify", "--json")
    assert beside.code == 2 and "another run of classify is going on" in beside.err
    assert again.code == 0 and again.outcome["resumed"] is True
    assert again.outcome["spending"]["reused"] == kept
    assert len(project.table()) == 1000
