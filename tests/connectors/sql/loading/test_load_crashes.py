"""kill -9 of the loader, anywhere: what is there afterwards is all of a shipment or nothing, and once more makes it right."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

FIRST = [{"id": i, "v": "first"} for i in range(400)]
SECOND = [{"id": i, "v": "second", "more": i} for i in range(200, 700)]
KINDS = ["sqlite", *(pytest.param(kind, marks=pytest.mark.service) for kind in ("postgres", "mysql"))]

# Reads orders, one a line, and forks a loader for each, so that imports are paid for once. A loader ticks at each batch,
# and before and after each statement; it kills itself at the tick or at the millisecond it is told.
LOADER = """
import json, os, signal, sys, threading
from pathlib import Path
import pyarrow as pa
import sqlalchemy as sa
from tests.connectors.sql.loading.conftest import Database, Incoming
from loom_dagster.connectors.sql.engines import engine_of

kind, url, table = sys.argv[1], sys.argv[2], pa.Table.from_pylist(json.loads(sys.argv[3]))

def work(mode, at_tick, after_ms):
    ticks = 0
    def tick(*_):
        nonlocal ticks
        ticks += 1
        if ticks == at_tick:
            os.kill(os.getpid(), signal.SIGKILL)
    db = Database(kind, url)
    engine = engine_of(db.connection)
    sa.event.listen(engine, "before_cursor_execute", tick)
    sa.event.listen(engine, "after_cursor_execute", tick)
    real = Incoming.with_ids
    def with_ids(self):
        for one in real(self):
            tick()
            yield one
    Incoming.with_ids = with_ids
    if after_ms:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, after_ms / 1000)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    db.load(table, mode=mode, snapshot="s2", at_once=50)
    return ticks

Database(kind, url).load(table, table="warm")
for line in sys.stdin:
    out, back = os.pipe()
    if (child := os.fork()) == 0:
        ticks = work(*json.loads(line))
        os.write(back, str(ticks).encode())
        os._exit(0)
    os.close(back)
    _, status = os.waitpid(child, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), os.read(out, 20).decode()]), flush=True)
    os.close(out)
"""


@contextmanager
def loader(db, rows) -> Iterator:
    command = [sys.executable, "-c", LOADER, db.kind, db.url, json.dumps(rows)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def load(mode, at_tick=0, after_ms=0.0):
            process.stdin.write(json.dumps([mode, at_tick, after_ms]) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield load
        process.stdin.close()


def expected(mode):
    by_id = {row["id"]: row["v"] for row in FIRST}
    for row in SECOND:
        if mode == "upsert" or row["id"] not in by_id:
            by_id[row["id"]] = row["v"]
    return sorted(
        ((SECOND if mode == "overwrite" else []) and [(r["id"], r["v"]) for r in SECOND]) or by_id.items()
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["append", "upsert", "overwrite"])
def test_a_killed_load_is_all_or_nothing_and_the_next_one_whole(database, kind, mode):
    db = database(kind)
    before = [(row["id"], row["v"]) for row in FIRST]
    after = expected(mode)
    dice = random.Random(f"{kind} {mode}")

    def start():
        db.run(
            "DROP TABLE IF EXISTS t", "DROP TABLE IF EXISTS _loom_loads", "DROP TABLE IF EXISTS _loom_marks"
        )
        db.load(FIRST, mode=mode, at_once=200)

    with loader(db, SECOND) as load:
        start()
        code, ticks = load(mode)
        assert code == 0 and db.rows() == after
        many = kind != "sqlite" and mode != "overwrite"
        points = [(n, 0) for n in sorted(dice.sample(range(1, int(ticks)), 15 if many else 5))] + [
            (int(ticks), 0)
        ]
        points += [(0, dice.uniform(1, 60)) for _ in range(4 if many else 1)]
        seen = set()
        for tick, ms in points:
            start()
            code, _ = load(mode, tick, ms)
            assert code == -14 if ms and code else code == (-9 if tick else 0)
            there = db.rows()
            assert there in (before, after), f"half a shipment after tick {tick}, {ms} ms"
            seen.add(there == after)
            assert load(mode)[0] == 0
            assert db.rows() == after, f"not exactly once after tick {tick}, {ms} ms"
        assert seen == {False, True}  # both sides of the commit were hit


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_loader_that_dies_while_it_makes_the_table(database, kind):
    db = database(kind)
    with loader(db, SECOND) as load:
        ticks = int(load("append")[1])
        for tick in range(1, ticks, 8):
            db.run(
                "DROP TABLE IF EXISTS t",
                "DROP TABLE IF EXISTS _loom_loads",
                "DROP TABLE IF EXISTS _loom_marks",
            )
            assert load("append", tick)[0] == -9
            assert load("append")[0] == 0
            assert [row[0] for row in db.rows()] == list(range(200, 700))
