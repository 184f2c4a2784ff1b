"""A project whose ledger is on Postgres is used like any other, also while its server is killed."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import psycopg2
import pytest

from tests.journeys.project import Project
from tests.servers.databases import Postgres
from tests.servers.llm import LLMServer

pytestmark = [pytest.mark.slow, pytest.mark.service]

SETTINGS = '[tool.loom]\nmodel = "offline/demo"\nledger = "postgres://memory/loom_reviews"\n'
N = 1000


@pytest.fixture
def on_postgres(project: Project, postgres: Postgres) -> Project:
    project.write("pyproject.toml", SETTINGS)
    project.environ = {"LOOM_CONNECTION_MEMORY": postgres.database(), "OPENAI_API_KEY": "k"}
    return project


def sent_to(project: Project, server: LLMServer) -> None:
    project.reviews({f"r{i}": f"text {i}" for i in range(N)})
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


def started(project: Project, server: LLMServer, paid: int) -> subprocess.Popen[str]:
    """A run that is going on, and has paid for so many answers."""
    child = subprocess.Popen(
        project.command("run", "classify", "--direct", "--json"),
        env=project.env,
        cwd=project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while server.stats()["paid"] < paid:
        assert child.poll() is None, child.communicate()
        time.sleep(0.01)
    return child


def texts(root: Path) -> bytes:
    return b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())


def test_a_project_runs_twice_and_its_pages_work(on_postgres: Project, postgres: Postgres) -> None:
    project = on_postgres
    project.reviews({f"r{i}": "positive" if i < 10 else f"text {i}" for i in range(22)})
    same = {"type": "exact_match", "field": "sentiment", "reference_field": "text"}  # offline: all positive
    project.pipeline(evaluate={"evaluators": [same], "batch_threshold": 0.9})
    first = project.run("classify", "--load")
    second = project.run("classify", "--load")
    assert (first.code, second.code) == (1, 1), first.err
    counts = first.outcome["counts"]
    assert (counts["passed"], counts["quarantined"]) == (10, 12)
    assert first.outcome["run_id"] != second.outcome["run_id"]
    [listed] = project.loom("list", "--json").json["pipelines"]
    assert listed["status"] == "held"
    kept = project.loom("quarantine", "list", "classify", "--json").json["records"]
    assert len(kept) == 12
    released = project.loom("release", "classify", "--why", "checked by hand")
    assert released.code == 0, released.err
    assert len(project.table()) == 10
    assert not (project.root / ".loom" / "ledger.sqlite").exists()
    said = "".join(run.out + run.err for run in (first, second, released))
    assert postgres.password not in said and postgres.password.encode() not in texts(project.root)
    connection = psycopg2.connect(project.environ["LOOM_CONNECTION_MEMORY"])
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM loom_reviews.runs WHERE status = 'held'")
        assert cursor.fetchone() == (2,)
    connection.close()


def test_a_killed_run_goes_on_where_it_was(on_postgres: Project) -> None:
    with LLMServer(process=True, latency=0.05, text='{"sentiment": "positive"}') as server:
        sent_to(on_postgres, server)
        child = started(on_postgres, server, N // 2)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        again = on_postgres.run()
        assert server.stats()["repeated"] <= 16
    assert again.code == 0 and again.outcome["resumed"] is True
    assert len(on_postgres.table()) == N


def test_a_run_goes_through_a_crash_of_its_ledgers_server(on_postgres: Project, postgres: Postgres) -> None:
    with LLMServer(process=True, latency=0.05, text='{"sentiment": "positive"}') as server:
        sent_to(on_postgres, server)
        child = started(on_postgres, server, N // 4)
        postgres.stop(signal.SIGQUIT)
        postgres.start()
        out, err = child.communicate(timeout=120)
        assert child.returncode == 0, out + err
        assert server.stats()["paid"] == N and server.stats()["repeated"] == 0
    assert "Traceback" not in err
    assert len(on_postgres.table()) == N


def test_an_address_that_is_wrong_is_told_and_nothing_is_spent(
    on_postgres: Project, postgres: Postgres
) -> None:
    project = on_postgres
    project.reviews({"r1": "text"})
    project.pipeline()
    url = project.environ["LOOM_CONNECTION_MEMORY"]
    for environ, word in (
        ({"LOOM_CONNECTION_MEMORY": f"{url}x"}, "does not exist"),
        ({"LOOM_CONNECTION_MEMORY": ""}, "LOOM_CONNECTION_MEMORY"),
        ({"LOOM_LEDGER": "somewhere"}, "postgres://CONNECTION"),
    ):
        project.environ |= environ
        run = project.loom("run", "classify", "--direct")
        assert run.code == 2 and word in run.err
        assert postgres.password not in run.err + run.out
