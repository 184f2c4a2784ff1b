"""Databases on both sides, as the first example has it: customers/reviews in, analytics/sentiment_scores out."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from tests.journeys.project import Project
from tests.servers.databases import Server
from tests.servers.llm import LLMServer

pytestmark = [pytest.mark.service, pytest.mark.slow]

REVIEWS = [
    ("r1", "good product", 0),
    ("r2", "it's awful; DROP TABLE reviews", 60),
    ("r3", "fine %s {{ x }}", 120),
]


def engine_of(url: str) -> Engine:
    drivers = {"postgresql": "postgresql+psycopg2", "mysql": "mysql+pymysql"}
    made = make_url(url)
    return create_engine(made.set(drivername=drivers[made.drivername]), poolclass=NullPool)


def execute(url: str, *statements: str, rows: list[dict[str, Any]] | None = None) -> None:
    with engine_of(url).begin() as connection:
        for statement in statements:
            connection.execute(text(statement), rows) if rows else connection.execute(text(statement))


def look(url: str, query: str) -> list[dict[str, Any]]:
    with engine_of(url).connect() as connection:
        return [dict(row) for row in connection.execute(text(query)).mappings()]


def review(url: str, *rows: tuple[str, str, int]) -> None:
    execute(
        url,
        "INSERT INTO reviews (id, text, created_at) VALUES (:id, :text, TIMESTAMP '2026-01-01 00:00:00' + :m * INTERVAL '1' MINUTE)",
        rows=[{"id": i, "text": t, "m": m} for i, t, m in rows],
    )


@pytest.fixture
def places(postgres: Server, project: Project) -> dict[str, str]:
    urls = {"customers": postgres.database(), "analytics": postgres.database()}
    execute(
        urls["customers"], "CREATE TABLE reviews (id text PRIMARY KEY, text text, created_at timestamptz)"
    )
    review(urls["customers"], *REVIEWS)
    project.environ = {f"LOOM_CONNECTION_{name.upper()}": url for name, url in urls.items()}
    return urls


def sentiment(project: Project, extract: dict[str, Any] | None = None, **load: Any) -> None:
    project.pipeline(
        "sentiment_scores",
        extract={"source": "postgres://customers/reviews", "key": "id", **(extract or {})},
        load={"destination": "postgres://analytics/sentiment_scores", **load},
    )


def test_the_first_example(project: Project, places: dict[str, str]) -> None:
    sentiment(project, lineage="columns", quarantine="postgres://analytics")
    assert project.loom("validate", "sentiment_scores", "--connections").code == 0
    done = project.run("sentiment_scores")
    assert done.code == 0, done.out + done.err
    rows = look(places["analytics"], "SELECT * FROM sentiment_scores ORDER BY id")
    assert [row["id"] for row in rows] == ["r1", "r2", "r3"]
    assert {row["sentiment"] for row in rows} <= {"positive", "negative"}
    assert {row["_loom_run_id"] for row in rows} == {done.outcome["run_id"]}
    again = project.run("sentiment_scores")
    assert again.code == 0 and again.outcome["spending"]["reused"] == 3
    assert len(look(places["analytics"], "SELECT * FROM sentiment_scores")) == 3


def test_a_query_with_values_and_the_watermark(project: Project, places: dict[str, str]) -> None:
    query = "SELECT * FROM reviews WHERE created_at > {{ execution_date }} AND text <> {{ params.not }}"
    sentiment(project, {"query": query, "incremental": {"cursor": "created_at", "lag": "10m"}})
    assert project.loom("validate", "sentiment_scores").code == 0
    missing = project.run("sentiment_scores")
    assert missing.code == 2 and "--param execution_date=" in missing.out
    given = ("--param", "execution_date=2026-01-01T00:30:00Z", "--param", "not='; DROP TABLE reviews; --")
    assert project.run("sentiment_scores", *given).outcome["counts"]["extracted"] == 2
    review(
        places["customers"],
        ("late", "committed late", 115),
        ("lost", "beyond the lag", 90),
        ("new", "x", 180),
    )
    second = project.run("sentiment_scores", "--param", "not=nothing")
    assert second.outcome["counts"]["extracted"] == 3  # r3 again, late, new
    rows = look(places["analytics"], "SELECT id FROM sentiment_scores ORDER BY id")
    assert [row["id"] for row in rows] == ["late", "new", "r2", "r3"]
    unknown = project.run("sentiment_scores", "--param", "nto=1", "--param", "not=1")
    assert unknown.code == 2 and "nothing in `sentiment_scores` takes the parameter `nto`" in unknown.out


def test_a_row_the_database_refuses_is_in_quarantine_with_its_words(
    project: Project, places: dict[str, str]
) -> None:
    execute(
        places["analytics"],
        "CREATE TABLE sentiment_scores (id text PRIMARY KEY CHECK (id <> 'r2'), sentiment text)",
    )
    sentiment(project, quarantine="postgres://analytics/quarantined")
    done = project.run("sentiment_scores")
    assert done.code == 0, done.out
    assert done.outcome["load"]["rows"] == 2 and done.outcome["load"]["refused"] == 1
    [entry] = project.loom("quarantine", "list", "sentiment_scores", "--json").json["records"]
    assert (entry["record_id"], entry["stage"]) == ("r2", "load")
    assert "check" in entry["reason"]
    [row] = look(places["analytics"], "SELECT * FROM quarantined")
    assert (row["record_id"], row["stage"], row["partition"]) == ("r2", "load", "all")
    assert "awful" in row["record"]
    retried = project.loom("quarantine", "retry", "sentiment_scores", "r2")
    assert retried.code == 2 and "loom load sentiment_scores" in retried.err
    execute(places["analytics"], "ALTER TABLE sentiment_scores DROP CONSTRAINT sentiment_scores_id_check")
    assert project.loom("load", "sentiment_scores").code == 0
    assert len(look(places["analytics"], "SELECT * FROM sentiment_scores")) == 3
    assert project.loom("quarantine", "list", "sentiment_scores", "--json").json["records"] == []
    [row] = look(places["analytics"], "SELECT * FROM quarantined")
    assert row["resolution"] is not None


def test_a_password_is_nowhere(project: Project, places: dict[str, str], postgres: Server) -> None:
    """Not in output, ledger, snapshots, logs or Dagster's event log; of runs that succeed and that fail."""
    sentiment(project, quarantine="postgres://analytics/quarantined")
    said = [project.loom("run", "sentiment_scores"), project.run("sentiment_scores")]
    good = dict(project.environ)
    customers, analytics = good["LOOM_CONNECTION_CUSTOMERS"], good["LOOM_CONNECTION_ANALYTICS"]
    for wrong in (
        {"LOOM_CONNECTION_CUSTOMERS": customers.replace("secret-word", "secret-word-wrong")},
        {"LOOM_CONNECTION_CUSTOMERS": customers.replace(str(postgres.port), "1")},
        {"LOOM_CONNECTION_ANALYTICS": analytics + "_no_such_database"},
    ):
        project.environ = {**good, **wrong}
        failed = [
            project.loom("run", "sentiment_scores", "--fresh"),
            project.loom("validate", "sentiment_scores", "--connections"),
        ]
        assert all(run.code != 0 for run in failed), wrong
        said += failed
    for run in said:
        assert "secret-word" not in run.out + run.err
    for path in project.root.rglob("*"):
        if path.is_file():
            assert b"secret-word" not in path.read_bytes(), path


def stored(root: Path) -> int:
    path = root / ".loom" / "answers.sqlite"
    if not path.exists():
        return 0
    with sqlite3.connect(path) as connection:
        return int(connection.execute("SELECT count(*) FROM answers").fetchone()[0])


def test_killed_at_any_moment_every_record_is_there_once(project: Project, places: dict[str, str]) -> None:
    rows = [(f"n{i}", f"review number {i}", i) for i in range(600)]
    review(places["customers"], *rows)
    sentiment(project, {"incremental": {"cursor": "created_at", "lag": "1m"}})
    moments = random.Random(4)
    for _ in range(6):
        child = subprocess.Popen(
            project.command("run", "sentiment_scores", "--direct"),
            env=project.env, cwd=project.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(moments.uniform(0.6, 2.5))
        child.send_signal(signal.SIGKILL)
        child.wait()
    done = project.run("sentiment_scores")
    assert done.code == 0, done.out
    found = look(places["analytics"], "SELECT id FROM sentiment_scores")
    assert sorted(row["id"] for row in found) == sorted([i for i, _, _ in [*REVIEWS, *rows]])


def test_a_server_that_restarts_in_the_middle(
    project: Project, places: dict[str, str], postgres: Server
) -> None:
    review(places["customers"], *[(f"n{i}", f"review number {i}", i) for i in range(3000)])
    with LLMServer(process=True, latency=0.05, text='{"sentiment": "positive"}') as server:
        project.environ["OPENAI_API_KEY"] = "k"
        project.pipeline(
            "sentiment_scores",
            extract={"source": "postgres://customers/reviews", "key": "id"},
            transform={
                "prompt": "prompts/classify.txt", "model": "openai/any", "api_base": server.base_url,
                "batch_size": 100, "limits": {"in_flight": 64},
            },
            load={"destination": "postgres://analytics/sentiment_scores"},
        )  # fmt: skip
        child = subprocess.Popen(
            project.command("run", "sentiment_scores", "--direct"),
            env=project.env, cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        while server.stats()["paid"] < 500 and child.poll() is None:
            time.sleep(0.02)
        postgres.kill()
        postgres.start()
        out, _ = child.communicate(timeout=120)
        assert child.returncode == 0, out
        assert server.stats()["paid"] == 3003
    assert len(look(places["analytics"], "SELECT id FROM sentiment_scores")) == 3003
