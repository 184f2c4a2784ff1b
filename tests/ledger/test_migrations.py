"""The ledger's tables come up to date by themselves, once, whoever opens it."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from sqlalchemy import inspect, select

from loom_dagster.errors import Misconfigured
from loom_dagster.ledger import Fault, Findings, Ledger
from loom_dagster.ledger.database import Database
from loom_dagster.ledger.migrations import MIGRATIONS, migrate
from loom_dagster.ledger.tables import metadata, schema_version


@pytest.fixture
def database(path):
    opened = Database(path)
    yield opened
    opened.close()


def applied(path):
    database = Database(path)
    with database.reading() as connection:
        found = list(connection.scalars(select(schema_version.c.version).order_by(schema_version.c.version)))
    database.close()
    return found


def test_the_steps_make_the_tables_the_code_knows(database, clock):
    migrate(database, clock)
    with database.reading() as connection:
        seen = inspect(connection)
        assert set(seen.get_table_names()) == set(metadata.tables)
        for name, table in metadata.tables.items():
            there = {c["name"]: c["nullable"] for c in seen.get_columns(name)}
            assert there == {c.name: c.nullable for c in table.columns}, name
            keys = seen.get_pk_constraint(name)["constrained_columns"]
            assert keys == [c.name for c in table.primary_key], name


def test_an_old_ledger_is_brought_up_and_keeps_what_it_holds(database, path, clock, ledger_of_step_one):
    assert applied(path) == [1]
    with Ledger(path, clock=clock) as ledger:
        assert applied(path) == list(range(1, len(MIGRATIONS) + 1))
        assert ledger.run("20260101T000000-abcdef").status == "interrupted"
        assert ledger.begin_run("reviews", "", "f").resumed


@pytest.fixture
def ledger_of_step_one(database, clock):
    migrate(database, clock, MIGRATIONS[:1])
    with database.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO runs VALUES ('20260101T000000-abcdef', 'reviews', '', 'f', NULL, 'interrupted',"
            " '2026-01-01T00:00:00.000000+00:00', NULL, 0, NULL, NULL)"
        )


def test_what_was_held_before_there_were_alerts_is_released_and_told_of_from_then_on(database, path, clock):
    migrate(database, clock, MIGRATIONS[:6])
    with database.writing() as connection:
        at = "'2026-01-01T00:00:00.000000+00:00'"
        connection.exec_driver_sql(
            "INSERT INTO runs (run_id, pipeline, partition, fingerprint, status, started_at, finished_at, resumes, outcome)"
            f" VALUES ('20260101T000000-abcdef', 'reviews', '', 'f', 'held', {at}, {at}, 0, '{{}}')"
        )
        connection.exec_driver_sql(
            "INSERT INTO snapshots (run_id, pipeline, partition, created_at, folder, data_version, counts,"
            f" verdict_passed, verdict_reason) VALUES ('20260101T000000-abcdef', 'reviews', '', {at}, 'x', 'v', '{{}}',"
            " FALSE, 'too few')"
        )
    with Ledger(path, clock=clock) as ledger:
        assert ledger.release("reviews", who="ann", why="fine").released_by == "ann"
        assert ledger.outbox.list() == []
        assert ledger.past_runs.before("reviews", "", None) == []
        run = ledger.begin_run("reviews", "", "f")
        word = Fault(check="run_failed", run_id=run.run_id, channels=("ops",))
        ledger.finish_run(run, "failed", outcome={}, findings=Findings(failed=[word]))
        assert [channel.waiting for channel in ledger.outbox.deliveries.channels()] == [1]


def test_steps_run_once_and_in_order(database, path, clock):
    more = (*MIGRATIONS, ("CREATE TABLE later (a INTEGER)",), ("INSERT INTO later VALUES (1)",))
    migrate(database, clock)
    migrate(database, clock, more)
    migrate(database, clock, more)
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT a FROM later").fetchall() == [(1,)]


def test_a_step_that_fails_leaves_the_ledger_as_it_was(database, path, clock):
    migrate(database, clock)
    with pytest.raises(Misconfigured):
        migrate(
            database,
            clock,
            (*MIGRATIONS, ("CREATE TABLE later (a INTEGER)", "INSERT INTO nowhere VALUES (1)")),
        )
    assert applied(path) == list(range(1, len(MIGRATIONS) + 1))
    with database.reading() as connection:
        assert "later" not in inspect(connection).get_table_names()


def test_a_ledger_of_newer_code_is_refused(path, clock, database):
    migrate(database, clock, (*MIGRATIONS, ("CREATE TABLE later (a INTEGER)",)))
    there, here = len(MIGRATIONS) + 1, len(MIGRATIONS)
    newer = rf"newer loom-dagster \(schema {there}, known here: {here}\)"
    with pytest.raises(Misconfigured, match=newer) as told:
        Ledger(path)
    assert "upgrade" in str(told.value)


OPEN = """
import sys
from loom_dagster.ledger import Ledger
Ledger
print("ready", flush=True)
sys.stdin.read()
Ledger(sys.argv[1]).close()
"""


def test_processes_that_open_a_new_ledger_at_once_all_can(path):
    pipe = subprocess.PIPE
    children = [
        subprocess.Popen([sys.executable, "-c", OPEN, str(path)], stdin=pipe, stdout=pipe, stderr=pipe)
        for _ in range(4)
    ]
    for child in children:
        assert child.stdout.readline() == b"ready\n"
    for child in children:
        child.stdin.close()
    for child in children:
        error = child.stderr.read().decode()
        child.stdout.close()
        child.stderr.close()
        assert child.wait() == 0, error
    assert applied(path) == list(range(1, len(MIGRATIONS) + 1))


def test_a_process_that_waited_for_another_does_not_repeat_its_steps(path, clock):
    first, *others = databases = [Database(path) for _ in range(4)]
    threads = [threading.Thread(target=migrate, args=(d, clock)) for d in others]
    with first.writing() as connection:
        first.make_place(connection)
        for thread in threads:
            thread.start()  # they wait for the lock, having seen no tables
        for statement in MIGRATIONS[0]:
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql(
            "CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied_at VARCHAR)"
        )
        connection.exec_driver_sql("INSERT INTO schema_version VALUES (1, '')")
    for thread in threads:
        thread.join()
    assert applied(path) == list(range(1, len(MIGRATIONS) + 1))
    for database in databases:
        database.close()


@pytest.mark.service
def test_texts_sort_by_their_bytes_whatever_the_servers_language(on_postgres):
    with Ledger(on_postgres) as ledger, ledger._database.reading() as connection:
        texts = connection.exec_driver_sql(
            "SELECT DISTINCT collation_name FROM information_schema.columns"
            " WHERE table_schema = current_schema() AND data_type = 'character varying'"
            " AND table_name <> 'schema_version'"
        )
        assert texts.scalars().all() == ["C"]


def test_the_file_is_set_up_for_several_readers_and_a_writer(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger, ledger._database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() >= 10_000
