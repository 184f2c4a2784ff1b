from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from loom_dagster.errors import Misconfigured, Transient

ONE = [{"id": 1, "v": "a"}, {"id": 2, "v": "b"}]
TWO = [{"id": 2, "v": "changed"}, {"id": 3, "v": "c"}]
ALL = "SELECT id, v FROM reviews ORDER BY id"


def test_the_three_modes_and_their_repetition(load, ask):
    for _ in range(2):
        assert load(ONE, "upsert").rows == 2
        assert ask(ALL) == [(1, "a"), (2, "b")]
    for _ in range(2):
        load(TWO, "upsert", snapshot="s2")
        assert ask(ALL) == [(1, "a"), (2, "changed"), (3, "c")]
    for _ in range(2):
        load(ONE, "overwrite", snapshot="s3")
        assert ask(ALL) == [(1, "a"), (2, "b")]
    for snapshot in ("s3", "s4", "s4"):
        load(TWO, "append", snapshot=snapshot)
        assert ask(ALL) == [
            (1, "a"),
            (2, "b"),
            (3, "c"),
        ]  # record 2 of this fingerprint came with the overwrite
    load(TWO, "append", snapshot="s5", fingerprint="g")
    assert len(ask(ALL)) == 5
    assert ask("SELECT DISTINCT target, pipeline, rows FROM _loom_loads") == [("reviews", "p", 2)]


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_partition_is_replaced_and_others_stay(load, ask, mode):
    load(ONE, mode, partition="2026-01-01")
    load(ONE, mode, partition="2026-01-02", snapshot="s2")
    for _ in range(2):
        load(TWO, mode, partition="2026-01-01", snapshot="s3", fingerprint="g")
        assert ask("SELECT _loom_partition, id FROM reviews ORDER BY 1, 2") == [
            ("2026-01-01", 2),
            ("2026-01-01", 3),
            ("2026-01-02", 1),
            ("2026-01-02", 2),
        ]


def test_an_upsert_of_a_partition_takes_out_what_came_with_it_and_is_gone(load, ask):
    load(ONE, "upsert", partition="a")
    load([{"id": 9, "v": "z"}], "upsert", partition="b", snapshot="s2")
    for _ in range(2):
        load(TWO, "upsert", partition="a", snapshot="s3")
        assert ask("SELECT _loom_partition, id FROM reviews ORDER BY 1, 2") == [("a", 2), ("a", 3), ("b", 9)]


def test_columns_are_made_added_and_never_changed(load, ask):
    load(ONE)
    load(
        [{"id": 2, "v": None, "s": {"a": [1]}, "at": datetime(2026, 1, 1, tzinfo=UTC), "d": Decimal("1.50")}]
    )
    assert ask("SELECT * FROM reviews WHERE id = 2") == [
        (2, None, {"a": [1]}, datetime(2026, 1, 1, tzinfo=UTC), Decimal("1.50"))
    ]
    assert ask("SELECT s FROM reviews WHERE id = 1") == [(None,)]
    before = ask("FROM reviews")
    with pytest.raises(Misconfigured) as caught:
        load([{"id": 2, "v": 1.5}])
    assert 'ALTER TABLE "reviews" ALTER COLUMN "v" TYPE DOUBLE' in str(caught.value)
    assert ask("FROM reviews") == before


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("INTEGER", pa.array([1.5])),
        ("FLOAT", pa.array([0.1])),
        ("DECIMAL(10, 1)", pa.array([Decimal("1.55")])),
        ("DATE", pa.array([0], pa.timestamp("us"))),
        ("INTEGER", pa.array(["1"])),
        ("TIMESTAMP", pa.array([datetime(2026, 1, 1, tzinfo=UTC)])),
    ],
)
def test_no_value_is_changed_in_silence(load, ask, column, values):
    ask(f"CREATE TABLE reviews (id INTEGER, v {column})")
    with pytest.raises(Misconfigured, match="never changes the type"):
        load(pa.table({"id": [1], "v": values}))
    assert ask("FROM reviews") == []


@pytest.mark.parametrize("mode", ["append", "overwrite", "upsert"])
def test_rows_that_the_table_refuses_come_back_and_the_rest_is_loaded(load, ask, mode):
    ask(
        "CREATE TABLE reviews (id SMALLINT PRIMARY KEY, v VARCHAR NOT NULL CHECK (v <> 'bad'), u INTEGER UNIQUE)"
    )
    rows = [{"id": i, "v": "fine", "u": i} for i in range(50)]
    rows[7]["v"], rows[8]["v"], rows[30]["u"], rows[49]["id"] = "bad", None, 3, 70_000
    loaded = load(rows, mode)
    words = {row.record_id: row.reason for row in loaded.refused}
    assert sorted(words) == ["30", "7", "70000", "8"] and loaded.rows == 46
    assert (
        "NOT NULL" in words["8"]
        and "CHECK" in words["7"]
        and '"3"' in words["30"]
        and "70000" in words["70000"]
    )
    assert ask("SELECT count(*), count(DISTINCT id) FROM reviews") == [(46, 46)]
    assert ask("SELECT count(*) FROM _loom_marks") == [(46,)]
    assert len(load(rows, mode).refused) == 4
    assert ask("SELECT count(*) FROM reviews") == [(46,)]


def test_an_upsert_into_a_table_with_a_primary_key_and_lists(load, ask):
    ask("CREATE TABLE reviews (id INTEGER PRIMARY KEY, v INTEGER[], note VARCHAR DEFAULT 'mine')")
    load([{"id": 1, "v": [1]}, {"id": 2, "v": [2]}])
    load([{"id": 2, "v": [3, 4]}, {"id": 3, "v": None}])
    assert ask("FROM reviews ORDER BY id") == [(1, [1], "mine"), (2, [3, 4], "mine"), (3, None, "mine")]
    load([{"id": 2, "v": [5], "new": 1}])
    assert ask("FROM reviews WHERE id = 2") == [(2, [5], "mine", 1)]


def test_two_rows_with_one_key_are_not_guessed_about(load, ask):
    ask("CREATE TABLE reviews AS SELECT 1 AS id, 'a' AS v UNION ALL SELECT 1, 'b'")
    with pytest.raises(Misconfigured, match="two rows with one key"):
        load(ONE)
    assert len(ask("FROM reviews")) == 2


def test_names_and_values_are_data(load, ask):
    evil = 'x"; DROP TABLE reviews; --'
    load([{"id": 1, "v": "'); DROP TABLE reviews; --", evil: "$partition"}])
    load([{"id": 1, "v": "a", "ID2": 1}])
    assert ask("SELECT v FROM reviews") == [("a",)]
    load(ONE, to="duckdb:///shop.duckdb/odd%22%20name")
    assert ask('SELECT count(*) FROM "odd"" name"') == [(2,)]


def test_a_file_that_another_process_has_open_is_waited_for(load, tmp_path):
    load(ONE)
    holding = "import duckdb, sys; c = duckdb.connect('shop.duckdb'); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holding], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        with pytest.raises(Transient, match="another process or run has it open"):
            load(TWO)
        other.stdin.close()
        other.wait()
    assert load(TWO).rows == 2


KILLED = """
import os, signal, sys
from pathlib import Path
from loom_dagster.connectors import place_of
from loom_dagster.connectors.duckdb.merge import Merge
from loom_dagster.load import load_snapshot
from loom_dagster.spec.models import Load

mode, root, to = sys.argv[1], Path(sys.argv[2]), "duckdb:///shop.duckdb/reviews"
Merge._note = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # all is merged, nothing is committed
load_snapshot(root / "transformed.parquet", place_of(to, root), load=Load(destination=to, mode=mode), key=("id",),
              pipeline="p", columns=["id", "v"], snapshot="s2", fingerprint="f")
"""


@pytest.mark.parametrize("mode", ["append", "overwrite", "upsert"])
def test_a_killed_load_leaves_the_table_as_it_was(load, ask, tmp_path, mode):
    load(ONE, mode)
    load(TWO, mode, to="duckdb:///other.duckdb/reviews")  # makes the snapshot
    done = subprocess.run([sys.executable, "-c", KILLED, mode, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert ask(ALL) == [(1, "a"), (2, "b")]
    load(TWO, mode, snapshot="s2")
    expected = {"append": [(1, "a"), (2, "b"), (3, "c")], "overwrite": [(2, "changed"), (3, "c")]}
    assert ask(ALL) == expected.get(mode, [(1, "a"), (2, "changed"), (3, "c")])
