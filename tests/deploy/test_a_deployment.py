"""A backfill in a deployment: a run a partition, one budget, one provider's limit, and services that come and go."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pyarrow.dataset as ds
import pytest
import yaml

from tests.deploy.deployed import DEPLOY, ENDED, Deployed, pg_environ, until
from tests.journeys.project import Project
from tests.servers.databases import Postgres, Redis
from tests.servers.llm import LLMServer

pytestmark = [pytest.mark.slow, pytest.mark.service]

KEYS = ["AT", "CH", "DE", "FR"]
EACH, CAP = 40, 6
PRICE = {"input": 10.0, "output": 40.0}  # USD per million tokens
DEFINITIONS = """
from pathlib import Path
from loom_dagster.assets import build_definitions
defs = build_definitions(Path(__file__).parent)
"""


@pytest.fixture
def server() -> Iterator[LLMServer]:
    with LLMServer(process=True, latency=0.1, text='{"sentiment": "positive"}') as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, server: LLMServer) -> Project:
    made = Project(tmp_path / "project")
    made.write(
        "pyproject.toml", f'[tool.loom]\nmodel = "openai/any"\n[tool.loom.limits.openai]\nin_flight = {CAP}\n'
    )
    made.write("definitions.py", DEFINITIONS)
    for key in KEYS:
        made.reviews({f"{key}{i}": f"text {i} of {key}" for i in range(EACH)}, f"data/{key}.parquet")
    made.pipeline(
        extract={"source": "data/{{ partition }}.parquet", "partitions": KEYS},
        transform={
            "prompt": "prompts/classify.txt",
            "api_base": server.base_url,
            "price": PRICE,
            "max_tokens": 20,
        },
        load={"destination": "out/all/", "columns": ["id", "sentiment"]},
        monitoring={"cost_budget": {"day": 5.0}},
    )
    return made


@pytest.fixture
def environ(project: Project, postgres: Postgres, tmp_path: Path) -> dict[str, str]:
    project.environ = {
        **pg_environ(postgres.database()),
        "OPENAI_API_KEY": "k-secret-word",
        "LOOM_PARTITIONS_PER_RUN": "1",
        "LOOM_STATE": str(tmp_path / "state"),
        "HOME": str(tmp_path),
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
    }
    return project.env


def test_a_backfill_is_a_run_a_partition_and_outlives_the_daemon_and_new_code(
    project: Project, environ: dict[str, str], server: LLMServer, tmp_path: Path, postgres: Postgres
) -> None:
    server.change(hold=True)
    with Deployed(project.root, tmp_path / "home", environ) as deployed:
        assets = deployed.made_assets()
        backfill = deployed.backfill(*KEYS, assets=assets)
        until(lambda: server.stats()["in_flight"] == CAP, "the runs do not ask")
        deployed.stop("daemon", signal.SIGKILL)
        project.pipeline("another", load={"destination": "out/another.parquet"})
        deployed.reload()
        server.change(hold=False)
        deployed.start("daemon")
        ended = until(
            lambda: (
                len(runs := deployed.runs()) == len(KEYS) and all(r["status"] in ENDED for r in runs) and runs
            ),
            "the runs do not end",
        )
        assert [run["status"] for run in ended] == ["SUCCESS"] * len(KEYS), deployed.log()[-5000:]
        tags = [{tag["key"]: tag["value"] for tag in run["tags"]} for run in ended]
        assert sorted(of["dagster/asset_partition_range_start"] for of in tags) == KEYS
        assert {of["dagster/backfill"] for of in tags} == {backfill}
        assert ["another", "transformed"] in deployed.made_assets() and assets != deployed.made_assets()
        said = deployed.log()
    stats = server.stats()
    assert (stats["paid"], stats["repeated"]) == (len(KEYS) * EACH, 0)
    assert stats["max_in_flight"] <= CAP
    loaded = ds.dataset(project.root / "out" / "all", format="parquet").to_table().column("id").to_pylist()
    assert sorted(loaded) == sorted(f"{key}{i}" for key in KEYS for i in range(EACH))
    for secret in (postgres.password, "k-secret-word"):
        assert secret not in said
        kept = [
            path for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()
        ]
        assert kept == []
    assert not list((tmp_path / "state").glob("*.sqlite*"))


def test_celery_workers_take_the_runs_of_a_backfill(
    project: Project, environ: dict[str, str], server: LLMServer, tmp_path: Path, redis_server: Redis
) -> None:
    environ |= {
        "DAGSTER_CELERY_BROKER_URL": redis_server.url(0),
        "DAGSTER_CELERY_BACKEND_URL": redis_server.url(1),
    }
    with Deployed(project.root, tmp_path / "home", environ, kind="celery") as deployed:
        worker = yaml.safe_load((DEPLOY / "docker-compose.celery.yaml").read_text())["services"]["worker"]
        where = {"PYTHONPATH": f"{DEPLOY / 'celery'}{os.pathsep}{environ['PYTHONPATH']}"}
        for name in ("worker-1", "worker-2"):
            deployed.start(name, [*worker["command"], "--hostname", f"{name}@%h"], **where)
        deployed.backfill(*KEYS, assets=deployed.made_assets())
        ended = until(
            lambda: (
                len(runs := deployed.runs()) == len(KEYS) and all(r["status"] in ENDED for r in runs) and runs
            ),
            "the runs do not end",
        )
        assert [run["status"] for run in ended] == ["SUCCESS"] * len(KEYS), deployed.log()[-5000:]
        said = deployed.log()
    stats = server.stats()
    assert (stats["paid"], stats["repeated"]) == (len(KEYS) * EACH, 0)
    assert stats["max_in_flight"] <= CAP
    assert (
        "CeleryRunLauncher may start runs on several machines" not in said
    )  # all that they share is on the server
