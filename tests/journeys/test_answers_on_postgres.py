"""Runs in different places share what was paid for, where the answers are on Postgres."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time

import psycopg2
import pytest

from tests.journeys.project import Project
from tests.servers.databases import Postgres
from tests.servers.llm import LLMServer

pytestmark = [pytest.mark.slow, pytest.mark.service]

SETTINGS = """[tool.loom]
model = "offline/demo"
ledger = "postgres://memory/loom_reviews"
answers = "postgres://memory/loom_answers"
"""
N = 600


@pytest.fixture
def here(project: Project, postgres: Postgres) -> Project:
    project.write("pyproject.toml", SETTINGS)
    project.environ = {"LOOM_CONNECTION_MEMORY": postgres.database(), "OPENAI_API_KEY": "k"}
    project.reviews({f"r{i}": f"text {i}" for i in range(N)})
    return project


def elsewhere(project: Project, name: str) -> Project:
    """The project on another machine, without anything that a run left behind."""
    other = Project(project.root.parent / name)
    shutil.copytree(
        project.root, other.root, ignore=shutil.ignore_patterns(".loom", "out"), dirs_exist_ok=True
    )
    other.environ = project.environ
    return other


def asks(project: Project, server: LLMServer) -> None:
    project.pipeline(
        transform={
            "prompt": "prompts/classify.txt",
            "model": "openai/any",
            "api_base": server.base_url,
            "limits": {"in_flight": 16},
            "price": {"input": 1.0, "output": 4.0},
            "max_tokens": 50,
        },
        monitoring={"cost_budget": 10.0},
    )


def test_a_killed_run_goes_on_elsewhere_and_nothing_is_paid_twice(here: Project, postgres: Postgres) -> None:
    with LLMServer(process=True, latency=0.05, text='{"sentiment": "positive"}') as server:
        asks(here, server)
        there = elsewhere(here, "there")
        child = subprocess.Popen(
            here.command("run", "classify", "--direct", "--json"),
            env=here.env,
            cwd=here.root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while server.stats()["paid"] < N // 2:
            assert child.poll() is None
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        again = there.run()
        assert again.code == 0, again.err
        assert again.outcome["resumed"] is True
        assert server.stats()["repeated"] <= 16
        paid = server.stats()["paid"]
        postgres.stop(signal.SIGQUIT)
        postgres.start()
        third = elsewhere(here, "third").run()
        assert third.code == 0, third.err
        assert server.stats()["paid"] == paid
    assert len(there.table()) == N
    assert not list(here.root.parent.glob("*/.loom/answers.sqlite"))
    said = [here.loom(*words, "--json").json for words in (["answers"], ["cost"])]
    assert said[0]["answers"] == N
    assert said[0]["bytes"] > N * 200
    assert said[1]["total"]["calls"] >= N


def test_lineage_estimates_forgetting_and_cleaning_look_there_too(here: Project) -> None:
    here.pipeline()
    there = elsewhere(here, "there")
    assert there.loom("cost", "classify", "--dry-run", "--json").code == 0
    assert here.run().code == 0
    story = here.loom("lineage", "classify", "--record", "r7", "--json")
    assert story.code == 0, story.err
    assert '"verified": true' in story.out
    forecast = there.loom("cost", "classify", "--dry-run", "--json").json
    assert json.dumps(forecast).count(str(N))
    gone = there.loom("answers", "forget", "--record", "r7", "--why", "asked for", "--json")
    assert gone.json == {"forgotten": 1}
    wrong = there.loom("answers", "forget", "--prompt", "classifi", "--why", "w")
    assert wrong.code == 2 and "did you mean" in wrong.err
    cleaned = there.loom("clean", "--older-than", "1s", "--what", "answers", "--yes", "--json")
    assert cleaned.code == 0, cleaned.err
    assert here.loom("answers", "--json").json["answers"] == 0


def test_answers_of_the_file_are_copied_and_not_paid_again(here: Project) -> None:
    with LLMServer(text='{"sentiment": "positive"}') as server:
        asks(here, server)
        here.environ["LOOM_ANSWERS"] = ""
        here.write("pyproject.toml", SETTINGS.replace("answers =", "# answers ="))
        refused = here.loom("answers", "copy")
        assert refused.code == 2 and "postgres://CONNECTION/SCHEMA" in refused.err
        assert here.run().code == 0
        paid = server.stats()["paid"]
        here.write("pyproject.toml", SETTINGS)
        copied = here.loom("answers", "copy")
        assert f"{N} answers copied to postgresql://loom@" in copied.out, copied.err
        assert here.loom("answers", "copy", "--json").json["new"] == 0
        (here.root / ".loom" / "answers.sqlite").unlink()
        assert here.run("classify", "--fresh").outcome["counts"]["passed"] == N
        assert server.stats()["paid"] == paid
    gone = here.loom("answers", "copy")
    assert gone.code == 2 and "no file" in gone.err


def test_an_address_that_is_wrong_is_told_and_nothing_is_spent(here: Project, postgres: Postgres) -> None:
    here.pipeline()
    url = here.environ["LOOM_CONNECTION_MEMORY"]
    connection = psycopg2.connect(url)
    connection.autocommit = True
    connection.cursor().execute("CREATE SCHEMA loom_answers CREATE TABLE answers_version (version INTEGER)")
    connection.cursor().execute("INSERT INTO loom_answers.answers_version VALUES (99)")
    connection.close()
    for environ, word in (
        ({}, "newer"),
        ({"LOOM_ANSWERS": "somewhere"}, "postgres://CONNECTION"),
        ({"LOOM_ANSWERS": f"{url}x?schema=a"}, "does not exist"),
        ({"LOOM_ANSWERS": "postgres://memry/a"}, "did you mean `memory`"),
    ):
        here.environ |= environ
        for words in (("run", "classify", "--direct"), ("answers",)):
            done = here.loom(*words)
            assert done.code == 2 and word in done.err, done.err
            assert postgres.password not in done.err + done.out
