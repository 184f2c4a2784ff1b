"""A server that has no connection free when a ledger or an answer store is opened is waited for: it is no wrong address."""

from __future__ import annotations

import time
import uuid
from types import SimpleNamespace

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from loom_dagster.errors import Misconfigured
from loom_dagster.ledger import Ledger, server
from loom_dagster.ledger.answer_schema import AnswerSchema

pytestmark = pytest.mark.service


def opened_ledger(url: str) -> int:
    with Ledger(url) as ledger:
        return len(ledger.history.newest(1))


def opened_answers(url: str) -> int:
    store = AnswerSchema(url).open()
    try:
        return store.count()
    finally:
        store.close()


@pytest.fixture
def few(postgres):
    """A URL of somebody who may have two connections, and both of them."""
    url, name = postgres.database(), f"u{uuid.uuid4().hex[:12]}"
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'few-secret' CONNECTION LIMIT 2")
        cursor.execute(f"CREATE SCHEMA its AUTHORIZATION {name}")
    connection.close()
    its = make_url(url).set(username=name, password="few-secret").render_as_string(hide_password=False)
    taken = [psycopg2.connect(its) for _ in range(2)]
    yield f"{its}?schema=its", taken
    for one in taken:
        one.close()


@pytest.mark.parametrize("opened", [opened_ledger, opened_answers])
def test_it_is_opened_as_soon_as_a_connection_is_free(few, monkeypatch, opened):
    url, taken = few
    waits = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        for one in taken:
            one.close()

    monkeypatch.setattr(server, "time", SimpleNamespace(monotonic=time.monotonic, sleep=wait))
    assert opened(url) == 0
    assert waits


@pytest.mark.parametrize("opened", [opened_ledger, opened_answers])
def test_one_that_stays_full_is_told_in_the_end(few, monkeypatch, opened):
    url, _ = few
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(
        server, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda seconds: None)
    )
    with pytest.raises(Misconfigured, match="too many connections") as told:
        opened(url)
    assert "few-secret" not in str(told.value)
