"""Partitions as run launchers start them: each in a container of its own, over one ledger and one answer store on Postgres.

A container is a process with a host name and process numbers of its own (`unshare`), a home of its own and a state folder of its
own: nobody can look up whether another one's process is alive, and nothing but the server is shared.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
import pytest

from tests.deploy.deployed import pg_environ
from tests.journeys.project import Project
from tests.servers.databases import Postgres
from tests.servers.llm import LLMServer

pytestmark = [pytest.mark.slow, pytest.mark.service]

KEYS = ["AT", "CH", "DE", "FR"]
EACH, CAP = 60, 8
PRICE = {"input": 10.0, "output": 40.0}  # USD per million tokens


def sold(server: LLMServer) -> float:
    stats = server.stats()
    return (stats["input_tokens"] * PRICE["input"] + stats["output_tokens"] * PRICE["output"]) / 1e6


@pytest.fixture
def server() -> Iterator[LLMServer]:
    with LLMServer(process=True, latency=0.05, text='{"sentiment": "positive"}') as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, server: LLMServer, postgres: Postgres) -> Project:
    made = Project(tmp_path / "project")
    made.write(
        "pyproject.toml", f'[tool.loom]\nmodel = "openai/any"\n[tool.loom.limits.openai]\nin_flight = {CAP}\n'
    )
    for key in KEYS:
        made.reviews({f"{key}{i}": f"text {i} of {key}" for i in range(EACH)}, f"data/{key}.parquet")
    made.environ = {**pg_environ(postgres.database()), "OPENAI_API_KEY": "k"}
    write(made, server, day=5.0)
    return made


def write(project: Project, server: LLMServer, *, day: float) -> None:
    project.pipeline(
        extract={"source": "data/{{ partition }}.parquet", "partitions": KEYS},
        transform={
            "prompt": "prompts/classify.txt",
            "api_base": server.base_url,
            "price": PRICE,
            "max_tokens": 20,
        },
        load={"destination": "out/all/", "columns": ["id", "sentiment"]},
        monitoring={"cost_budget": {"day": day}},
    )


@pytest.fixture
def container(project: Project, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a partition in a container; all are killed at the end."""
    unshare = shutil.which("unshare")
    alone = [str(unshare), "--pid", "--uts", "--fork", "--mount-proc", "--kill-child"]
    if os.getuid():
        alone.append("--map-root-user")
    if unshare is None or subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody make name spaces")
    running: list[subprocess.Popen[str]] = []

    def start(key: str) -> subprocess.Popen[str]:
        name = f"pod-{len(running)}"
        home = tmp_path / name
        home.mkdir()
        command = project.command("run", "classify", "--partition", key, "--direct", "--json")
        running.append(
            subprocess.Popen(
                [*alone, "sh", "-c", 'hostname "$0"; exec "$@"', name, *command],
                env=project.env | {"HOME": str(home), "LOOM_STATE": str(home / "state")},
                cwd=project.root,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def asked(project: Project, sql: str) -> list[tuple[Any, ...]]:
    url = project.environ["LOOM_LEDGER"].partition("?")[0].replace("@", f":{project.environ['PGPASSWORD']}@")
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()
    finally:
        connection.close()


class Books(NamedTuple):
    """USD that was paid, that nobody knows of (in so many ``lost`` calls), and that is reserved yet."""

    spent: float
    unconfirmed: float
    lost: int
    reserved: float


def books(project: Project) -> Books:
    [(spent, unconfirmed, lost)] = asked(
        project, "SELECT sum(spent), sum(unconfirmed), sum(lost) FROM memory.spend"
    )
    [(reserved,)] = asked(project, "SELECT coalesce(sum(amount), 0) FROM memory.reservations")
    return Books(int(spent) / 1e12, int(unconfirmed) / 1e12, int(lost), int(reserved) / 1e12)


def test_a_common_budget_is_kept_to_the_cent_and_the_provider_sees_one_limit(
    project: Project, server: LLMServer, container: Callable[..., subprocess.Popen[str]]
) -> None:
    probe = container("AT")  # what a partition costs
    out, err = probe.communicate(timeout=240)
    assert probe.returncode == 0, out + err
    each = sold(server)
    budget = round(3.2 * each, 6)
    write(project, server, day=budget)
    ran = [container(key) for key in KEYS[1:]]
    said = [process.communicate(timeout=240) for process in ran]
    codes = sorted(process.returncode for process in ran)
    assert 1 in codes and set(codes) <= {0, 1}, said
    stats = server.stats()
    assert stats["max_in_flight"] <= CAP
    assert budget - each / EACH * CAP * 4 < sold(server) <= budget
    assert books(project) == Books(pytest.approx(sold(server), abs=1e-12), 0.0, 0, 0.0)
    write(project, server, day=5.0)  # more money: what was deferred goes on, and nothing is asked twice
    again = [container(key) for key, process in zip(KEYS[1:], ran, strict=True) if process.returncode]
    assert [(process.communicate(timeout=240), process.returncode)[1] for process in again] == [0] * len(
        again
    )
    assert (server.stats()["paid"], server.stats()["repeated"]) == (len(KEYS) * EACH, 0)


def test_one_that_is_killed_is_taken_over_by_another_which_pays_for_no_answer_again(
    project: Project, server: LLMServer, container: Callable[..., subprocess.Popen[str]]
) -> None:
    ran = [container(key) for key in KEYS]
    until_paid(server, EACH // 3, ran[0])
    ran[0].send_signal(signal.SIGKILL)  # and with it all that is in its name space
    ran[0].communicate()
    again = container(KEYS[0])
    for process in [*ran[1:], again]:
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, out + err
    stats = server.stats()
    assert stats["max_in_flight"] <= CAP
    assert stats["repeated"] <= CAP
    assert stats["paid"] - stats["repeated"] == len(KEYS) * EACH
    assert "waiting for a minute at most to see whether it is alive" in err
    paid = sold(server)
    known = books(project)
    assert known.spent <= paid + 1e-12
    # nothing that was sold is missing
    assert known.spent + known.unconfirmed + known.reserved >= paid - 1e-12
    asked(project, "UPDATE memory.reservations SET beat_at = '2026-01-01T00:00:00.000000+00:00' RETURNING 1")
    # whoever comes then settles it; itself it asks nobody
    out, err = container(KEYS[1]).communicate(timeout=240)
    known = books(project)
    assert sold(server) == paid, out + err
    assert (known.reserved, known.lost <= CAP) == (0, True)
    assert known.spent + known.unconfirmed >= paid - 1e-12


def until_paid(server: LLMServer, number: int, running: subprocess.Popen[str]) -> None:
    while server.stats()["paid"] < number:
        assert running.poll() is None, running.communicate()
        time.sleep(0.01)
