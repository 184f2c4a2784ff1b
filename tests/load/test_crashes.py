"""A load that is killed leaves the old destination whole, and the next one puts all right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

OLD = [{"id": i, "v": "old"} for i in range(5)]
NEW = [{"id": i, "v": "new"} for i in range(3, 8)]

KILLED = """
import os, signal, sys
from pathlib import Path
from loom_dagster.connectors import place_of
from loom_dagster.load import load_snapshot
from loom_dagster.spec.models import Load

name, nth, mode, root = sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
real, calls = getattr(os, name), []

def die(*args, **kwargs):
    calls.append(args)
    if len(calls) == nth:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **kwargs)

setattr(os, name, die)
load_snapshot(root / ".loom/transformed.parquet", place_of("x.csv", root), load=Load(destination="x.csv", mode=mode), key=("id",),
              pipeline="p", columns=["id", "v"], snapshot="s2", fingerprint="f")
"""


def killed(root: Path, call: str, nth: int, mode: str) -> None:
    """Runs the load of the snapshot at hand in a process that dies by SIGKILL at the nth call of os.<call>."""
    done = subprocess.run([sys.executable, "-c", KILLED, call, str(nth), mode, str(root)], check=False)
    assert done.returncode == -9


@pytest.mark.parametrize(("call", "mode"), [("fsync", "overwrite"), ("replace", "upsert")])
def test_the_old_file_stays_whole(load, rows_in, tmp_path, call, mode):
    load("x.csv", OLD, mode=mode)
    data = (tmp_path / "x.csv").read_bytes()
    load("other.csv", NEW)  # makes the snapshot
    killed(tmp_path, call, 1, mode)
    assert (tmp_path / "x.csv").read_bytes() == data
    assert any(name.endswith(".loom-tmp") for name in [p.name for p in (tmp_path).iterdir()])
    load("x.csv", NEW, mode=mode, snapshot="s2")
    assert {r["id"]: r["v"] for r in rows_in("x.csv")}[7] == "new"
    assert not any(name.endswith(".loom-tmp") for name in [p.name for p in (tmp_path).iterdir()])


@pytest.mark.parametrize(("nth", "manifest"), [(1, "old"), (2, "new")])
def test_an_append_killed_before_or_after_its_manifest_adds_each_record_once(
    load, rows_in, tmp_path, nth, manifest
):
    load("x.csv", OLD, mode="append")
    before = (tmp_path / ".x.csv.loom").read_bytes()
    load("other.csv", NEW)
    killed(tmp_path, "replace", nth, "append")  # the first renames the manifest, the second the data
    assert ((tmp_path / ".x.csv.loom").read_bytes() == before) == (manifest == "old")
    assert rows_in("x.csv") == OLD
    for _ in range(2):
        load("x.csv", NEW, mode="append", snapshot="s2")
        assert [r["id"] for r in rows_in("x.csv")] == [0, 1, 2, 3, 4, 5, 6, 7]


def test_other_modes_keep_the_manifest_true(load, rows_in):
    load("x.csv", OLD, mode="append")
    load("x.csv", NEW, mode="overwrite")
    load("x.csv", OLD, mode="append")
    assert sorted(r["id"] for r in rows_in("x.csv")) == [0, 1, 2, 3, 4, 5, 6, 7]
    load("x.csv", [{"id": 9, "v": "upserted"}], mode="upsert")
    load("x.csv", [{"id": 9, "v": "again"}], mode="append")
    assert [r["v"] for r in rows_in("x.csv") if r["id"] == 9] == ["upserted"]


def test_a_file_mended_by_hand_is_not_filled_up_again_and_a_removed_one_is(load, rows_in, tmp_path):
    load("x.csv", OLD, mode="append")
    text = (tmp_path / "x.csv").read_text()
    (tmp_path / "x.csv").write_text(text.replace("0,old\n", ""))
    load("x.csv", OLD, mode="append")
    assert [r["id"] for r in rows_in("x.csv")] == [1, 2, 3, 4]
    (tmp_path / "x.csv").unlink()
    load("x.csv", OLD, mode="append")
    assert rows_in("x.csv") == OLD


def test_a_file_that_was_there_before_is_added_to(load, rows_in, tmp_path):
    (tmp_path / "x.csv").write_text("id,v\n0,theirs\n")
    load("x.csv", OLD, mode="append")
    load("x.csv", OLD, mode="append")
    assert [r["v"] for r in rows_in("x.csv")] == ["theirs", *["old"] * 5]
