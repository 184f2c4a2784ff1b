"""Files of SQLite that several processes make at the same moment: each waits for the others."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from loom_dagster.ledger import AnswerLog, Ledger, Spool, wal


@pytest.fixture
def writer(tmp_path, monkeypatch):
    """Another connection, that has begun to write to a file which has no write-ahead log yet; it ends when somebody
    waits for it."""
    opened = []
    waited = []

    def begin(name):
        raw = sqlite3.connect(tmp_path / name, isolation_level=None)
        raw.execute("CREATE TABLE other (a)")
        raw.execute("BEGIN IMMEDIATE")
        raw.execute("INSERT INTO other VALUES (1)")
        opened.append(raw)
        return tmp_path / name

    def sleep(_):
        waited.append(1)
        for raw in opened:
            if raw.in_transaction:
                raw.execute("COMMIT")

    monkeypatch.setattr(wal.time, "sleep", sleep)
    begin.waited = waited
    yield begin
    for raw in opened:
        raw.close()


def test_a_ledger_waits_for_who_writes_to_its_new_file(writer):
    with Ledger(writer("ledger.sqlite")) as ledger:
        assert ledger.runs() == []
    assert writer.waited


def test_so_does_the_answer_store(writer):
    with closing(AnswerLog(writer("answers.sqlite"))) as store:
        assert store.count() == 0
    assert writer.waited


def test_so_do_the_questions_of_batches(writer):
    with closing(Spool(writer("questions.sqlite").parent)) as spool:
        assert spool.find(b"?") is None
    assert writer.waited


def test_who_never_ends_is_not_waited_for_for_ever(writer, monkeypatch):
    monkeypatch.setattr(wal, "_PATIENCE", 0.0)
    with pytest.raises(Exception, match="database is locked"):
        Ledger(writer("ledger.sqlite"))
