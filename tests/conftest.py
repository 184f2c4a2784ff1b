"""Every test begins in an environment that says nothing: no CI, no keys, no settings of a project."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pandas  # noqa: F401, ICN001 - a command that runs in this process would hide it from Arrow, for all tests to come
import pytest

from tests.servers.databases import MariaDb, Postgres, Redis, Server
from tests.servers.ray_cluster import RayCluster
from tests.servers.s3 import S3Server

# how long an example takes says nothing of whether it holds
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

_SPEAKS = ("LOOM_", "DAGSTER_", "OPENAI_", "ANTHROPIC_")


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name == "CI" or (name.startswith(_SPEAKS) and name != "LOOM_DATA_DIR"):
            monkeypatch.delenv(name)


def _served(kind: type[Server]) -> Iterator[Server]:
    server = kind()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server; ``postgres.database()`` makes an empty database and gives its URL."""
    yield from _served(Postgres)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Server]:
    """A MariaDB server, likewise."""
    yield from _served(MariaDb)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    """A Redis server."""
    yield from _served(Redis)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayCluster]:
    """A Ray cluster of two nodes."""
    cluster = RayCluster()
    try:
        yield cluster.start()
    finally:
        cluster.close()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 server."""
    server = S3Server()
    yield server
    server.close()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The S3 server, which the environment names with its credentials; ``s3.bucket()`` makes an empty bucket."""
    for name, value in s3_server.environ.items():
        monkeypatch.setenv(name, value)
    return s3_server
