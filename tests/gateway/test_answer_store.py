"""The answer store in a file: what is said of a disk and a file that cannot be used."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from loom_dagster.errors import Misconfigured
from loom_dagster.gateway import Origin
from loom_dagster.ledger.answers import AnswerLog
from loom_dagster.records import Answer, digest


def answer(name: str, **changes) -> Answer:
    fields = {"key": digest(name), "model": "m", "text": f"text of {name}", "cost": 0.5, "latency": 0.25}
    return Answer(**{**fields, **changes})


def origin(record: str = "r", prompt: str = "p") -> Origin:
    return Origin(pipeline="pipe", record_id=record, purpose="transform", prompt=prompt)


async def test_a_commit_is_on_the_disk_not_in_a_buffer(store):
    assert store._writer.execute("PRAGMA synchronous").fetchone() == (2,)


async def test_many_at_once_share_their_commits(store):
    statements: list[str] = []
    store._writer.set_trace_callback(statements.append)
    await asyncio.gather(*(store.put(answer(str(n)), origin(str(n))) for n in range(300)))
    assert store.count() == 300
    assert sum(s.startswith("COMMIT") for s in statements) < 30


async def test_a_full_disk_is_said_to_everybody_who_waits(store):
    store._writer.execute("PRAGMA max_page_count = 8")
    puts = (store.put(answer(str(n), text="x" * 20_000), origin()) for n in range(10))
    outcomes = await asyncio.wait_for(asyncio.gather(*puts, return_exceptions=True), 10)
    assert any(isinstance(outcome, Misconfigured) for outcome in outcomes)
    assert "full" in next(str(o) for o in outcomes if isinstance(o, Misconfigured))
    store._writer.execute("PRAGMA max_page_count = 100000")
    await store.put(answer("after"), origin())
    assert store.get(digest("after"))


async def test_a_file_that_cannot_be_written_is_said(store):
    store._writer.execute("PRAGMA query_only = 1")
    with pytest.raises(Misconfigured, match=r"answers\.sqlite"):
        await store.put(answer("a"), origin())


def test_a_place_that_is_no_file_is_said(tmp_path):
    (tmp_path / "taken").write_text("a file, no folder")
    for place in (tmp_path, tmp_path / "taken" / "a.sqlite"):
        with pytest.raises(Misconfigured):
            AnswerLog(place)


def test_a_file_that_is_no_database_is_said(tmp_path):
    (tmp_path / "a.sqlite").write_text("certainly not SQLite " * 100)
    with pytest.raises(Misconfigured, match="not a database"):
        AnswerLog(tmp_path / "a.sqlite")


def test_a_newer_file_is_left_alone(tmp_path):
    with sqlite3.connect(tmp_path / "a.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Misconfigured, match="newer"):
        AnswerLog(tmp_path / "a.sqlite")
