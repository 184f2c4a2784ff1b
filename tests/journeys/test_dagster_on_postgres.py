"""Dagster's own tables on Postgres, beside the ledger: a webserver and two daemons on one instance."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg2
import pytest

from loom_dagster.assets import build_definitions
from loom_dagster.assets.home import instance_of
from loom_dagster.settings import load_settings
from tests.journeys.project import Project
from tests.servers.databases import Postgres
from tests.servers.inbox import inbox

pytestmark = [pytest.mark.slow, pytest.mark.service]

SETTINGS = '[tool.loom]\nmodel = "offline/demo"\nledger = "postgres://memory/loom"\ndagster_storage = "postgres://memory"\n'
PATIENCE = 240.0


@pytest.fixture
def on_postgres(project: Project, postgres: Postgres) -> Project:
    project.write("pyproject.toml", SETTINGS)
    project.environ = {"LOOM_CONNECTION_MEMORY": postgres.database()}
    project.reviews({"1": "good", "2": "bad"})
    project.pipeline()
    return project


@pytest.fixture
def start(on_postgres: Project, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Start a process that goes on, with what `loom ui` would set; all are stopped at the end."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(*command: str, **environ: str) -> None:
        log = (tmp_path / f"process-{len(running)}.log").open("wb")
        with log:
            running.append(
                subprocess.Popen(
                    command,
                    env=on_postgres.env | environ,
                    cwd=on_postgres.root,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    yield begin
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
    for process in running:
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_a_webserver_and_two_daemons_share_what_loom_run_materialized(
    on_postgres: Project, start: Callable[..., None], postgres: Postgres
) -> None:
    ran = on_postgres.loom("run", "classify", "--json")
    assert ran.code == 0, ran.err
    url = on_postgres.environ["LOOM_CONNECTION_MEMORY"]
    assert asked(url, "SELECT count(*) FROM public.runs") == [(1,)]
    assert asked(url, "SELECT count(*) FROM loom.runs") == [(1,)]

    port = free_port()
    start(*on_postgres.command("ui", "--port", str(port)))
    server = f"http://127.0.0.1:{port}/graphql"
    runs = until(lambda: graphql(server, "{runsOrError {... on Runs {results {status jobName}}}}"))
    assert [run["status"] for run in runs["runsOrError"]["results"]] == ["SUCCESS"]
    home = on_postgres.root / ".loom" / "dagster-postgres"
    start(
        *(sys.executable, "-m", "dagster._daemon", "run", "-m", "loom_dagster.assets.location"),
        DAGSTER_HOME=str(home),
        LOOM_DAGSTER_URL=url.replace("postgresql://", "postgresql+psycopg2://")
        + "?options=-csearch_path%3Dpublic",
    )
    until(lambda: asked(url, "SELECT count(DISTINCT daemon_id) FROM public.daemon_heartbeats") != [(0,)])

    again = on_postgres.loom("run", "classify", "--json")
    assert again.code == 0, again.err
    runs = graphql(server, "{runsOrError {... on Runs {results {status}}}}")
    assert len(runs["runsOrError"]["results"]) == 2
    written = [path for path in on_postgres.root.rglob("*") if path.is_file() and path.suffix != ".parquet"]
    assert [path for path in written if postgres.password.encode() in path.read_bytes()] == []


def test_the_sensor_of_alerts_reads_failed_runs_and_checks_with_and_without_a_run(
    on_postgres: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with inbox() as place:
        channel = "[tool.loom.channels.ops]\ntype = 'webhook'\n"
        on_postgres.write("pyproject.toml", SETTINGS.replace("model =", 'alerts = "ops"\nmodel =') + channel)
        monkeypatch.setenv("LOOM_CONNECTION_MEMORY", on_postgres.environ["LOOM_CONNECTION_MEMORY"])
        monkeypatch.setenv("LOOM_CHANNEL_OPS", place.url)
        monkeypatch.setenv("LOOM_CHANNEL_OPS_SECRET", "signing-secret")
        defs = build_definitions(on_postgres.root)
        key, quarantine = (dg.AssetKey(["classify", part]) for part in ("transformed", "quarantine"))

        @dg.asset_check(asset=key, name="of_somebody")
        def of_somebody() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=False, description="too few")

        both = dg.Definitions.merge(defs, dg.Definitions(asset_checks=[of_somebody]))
        with instance_of(load_settings(on_postgres.root, os.environ), os.environ) as instance:
            both.resolve_implicit_global_asset_job_def().execute_in_process(
                instance=instance, asset_selection=[key, quarantine], raise_on_error=False
            )
            died = instance.create_run_for_job(defs.resolve_implicit_global_asset_job_def())
            instance.report_run_failed(died, "the process is gone")
            instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(asset_key=key, check_name="from_outside", passed=False)
            )
            for _ in range(2):
                sensor = defs.get_repository_def().get_sensor_def("loom_alerts")
                sensor(dg.build_sensor_context(instance))
        told = sorted((p.json["event"], p.json["check"]) for p in place.took)
        assert told == [("failed", "from_outside"), ("failed", "of_somebody"), ("failed", "run_failed")]


def test_a_server_that_is_not_there_and_one_schema_for_both_are_said_in_a_line(project: Project) -> None:
    project.reviews({"1": "good"})
    project.pipeline()
    project.write("pyproject.toml", '[tool.loom]\nmodel = "offline/demo"\n')
    nowhere = f"postgresql://loom:pg-secret-word@127.0.0.1:{free_port()}/x"
    project.environ = {"LOOM_DAGSTER_STORAGE": nowhere}
    for command in (("run", "classify"), ("ui",)):
        refused = project.loom(*command)
        assert refused.code == 2, refused.out + refused.err
        assert "Dagster's tables cannot be reached" in refused.err
        assert "pg-secret-word" not in refused.err
    project.environ |= {"LOOM_LEDGER": nowhere}
    assert "one schema" in project.loom("ui").err


def graphql(url: str, query: str) -> dict[str, Any]:
    request = urllib.request.Request(
        url, data=json.dumps({"query": query}).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)["data"]
    return found


def asked(url: str, sql: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(url)
    try:
        cursor = connection.cursor()
        cursor.execute(sql)
        return cursor.fetchall()
    finally:
        connection.close()


def until(ask: Callable[[], Any]) -> Any:
    """What ``ask`` gives once it gives something."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            if found := ask():
                return found
        except (urllib.error.URLError, ConnectionError):
            pass
        assert time.monotonic() < end, "no answer"
        time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
