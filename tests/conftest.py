"""Every test begins in an environment that says nothing: no CI, no keys, no settings of a project."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.servers.databases import MariaDb, Postgres, Redis, Server

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
