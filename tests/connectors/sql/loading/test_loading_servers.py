"""Servers that go away in the middle of a load, and loads that meet."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pytest

from loom_dagster.connectors import Shipment
from loom_dagster.connectors.sql.destination import SqlDestination
from loom_dagster.errors import Transient
from loom_dagster.spec.models import Load
from tests.connectors.sql.loading.conftest import Incoming

ROWS = [{"id": i, "v": "x" * 50} for i in range(60_000)]
SERVERS = [
    pytest.param("postgres", marks=pytest.mark.service),
    pytest.param("mysql", marks=pytest.mark.service),
]


@dataclass(frozen=True)
class Interrupted(Incoming):
    """Something happens when half of the rows are on their way."""

    then: Callable[[], None] = lambda: None

    def with_ids(self):
        for n, one in enumerate(super().with_ids()):
            if n == self.rows // self.at_once // 2:
                self.then()
            yield one


def shipment(incoming, mode, snapshot="s"):
    return Shipment(
        incoming=incoming, mode=mode, key=("id",), pipeline="p", snapshot=snapshot, fingerprint="f"
    )


def load(db, destination, one):
    return destination.load(db.place(), Load(destination="x"), one)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("mode", ["append", "upsert", "overwrite"])
def test_a_server_that_dies_and_comes_back_is_loaded_whole(database, kind, mode):
    db = database(kind)
    db.load(ROWS[:10], mode=mode, at_once=10)
    times = []

    def kill():
        if not times:
            db.server.kill()

    def sleep(seconds):
        if not times:
            db.server.start()
            assert len(db.rows()) == 10
        times.append(seconds)

    incoming = Interrupted(pa.Table.from_pylist(ROWS), 5000, kill)
    loaded = load(db, SqlDestination(sleep=sleep), shipment(incoming, mode, "s2"))
    assert loaded.rows == len(ROWS) and len(times) == 1
    assert [row[0] for row in db.rows()] == list(range(len(ROWS)))


@pytest.mark.parametrize("kind", SERVERS)
def test_after_a_minute_it_is_transient(database, kind):
    db = database(kind)
    db.load(ROWS[:10], mode="append")
    waited = []
    db.server.stop()
    try:
        with pytest.raises(Transient) as away:
            load(
                db,
                SqlDestination(sleep=waited.append),
                shipment(Incoming(pa.Table.from_pylist(ROWS[:20])), "append"),
            )
    finally:
        db.server.start()
    assert 50 < sum(waited) < 70
    assert db.server.password not in str(away.value)
    assert len(db.rows()) == 10


@pytest.mark.parametrize("mode", ["append", "upsert", "overwrite"])
def test_two_loads_at_once_follow_each_other(db, mode):
    """The first is held open until the second has begun; both load the same records, and one row of their own."""
    db.load(ROWS[:3], mode=mode)
    began, results, errors = threading.Event(), [], []

    def run(incoming, snapshot, begin):
        try:
            begin.set()
            results.append(load(db, SqlDestination(), shipment(incoming, mode, snapshot)))
        except Exception as error:  # noqa: BLE001 - shown below
            errors.append(error)

    second = threading.Thread(target=run, args=(Incoming(pa.Table.from_pylist(ROWS[:50]), 10), "s2", began))

    def start_second():
        second.start()
        began.wait(10)

    first = Interrupted(pa.Table.from_pylist(ROWS[:60]), 10, start_second)
    run(first, "s1", threading.Event())
    second.join(60)
    assert not errors and len(results) == 2
    assert [row[0] for row in db.rows()] == list(range(50 if mode == "overwrite" else 60))


@pytest.mark.slow
def test_many_loads_that_make_one_table(db):
    """Each brings a column of its own and the same records."""
    errors = []

    def run(n):
        try:
            db.load(
                [{"id": i, "v": "a", f"c{n}": n} for i in range(20)],
                mode="append",
                snapshot=f"s{n}",
                at_once=5,
            )
        except Exception as error:  # noqa: BLE001 - shown below
            errors.append(error)

    db.destination = SqlDestination()
    threads = [threading.Thread(target=run, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []
    assert [row[0] for row in db.rows()] == list(range(20))
    assert db.run("SELECT count(c0), count(c5) FROM t")


def test_another_writer_between_update_and_insert_is_not_a_refusal(database, tmp_path):
    """Rows that somebody else inserted since are updated."""
    db = database("sqlite")
    db.load(ROWS[:3])
    db.run("INSERT INTO t VALUES (7, 'theirs')")
    assert db.load([{"id": 7, "v": "ours"}, {"id": 8, "v": "ours"}]).refused == []
    assert db.rows()[-2:] == [(7, "ours"), (8, "ours")]
