"""Files in an object store, spoken to over HTTP: read, loaded, and left whole whenever a load is killed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.connectors import Wanted, place_of, source_at
from loom_dagster.connectors.files import locate
from loom_dagster.errors import Misconfigured, Transient
from loom_dagster.load import load_snapshot
from loom_dagster.spec.models import Extract, Load

pytestmark = pytest.mark.service

ONE = [{"id": 1, "v": "a"}, {"id": 2, "v": "b"}]
TWO = [{"id": 2, "v": "changed"}, {"id": 3, "v": "c"}]


def read(uri, **extract):
    place = place_of(uri, Path("/"))
    rows = source_at(place).open(place, Wanted(extract=Extract(source=uri, **extract)))
    found = [row for chunk in rows.chunks() for row in chunk.table.to_pylist()]
    rows.close()
    return found


def parquet(rows) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


@pytest.fixture
def load(tmp_path):
    def run(to, rows, mode, *, snapshot="s1", partition="", form=None):
        table = pa.Table.from_pylist(rows)
        pq.write_table(
            table.append_column("_loom_record_id", table["id"].cast(pa.string())), tmp_path / "t.parquet"
        )
        return load_snapshot(
            tmp_path / "t.parquet",
            place_of(to, tmp_path),
            load=Load(destination=to, mode=mode, format=form),
            key=("id",),
            pipeline="p",
            columns=["id", "v"],
            snapshot=snapshot,
            fingerprint="f",
            partition=partition,
        ).rows

    return run


def test_every_format_is_read(s3):
    bucket = s3.bucket()
    s3.put(
        bucket,
        in___a__csv=b"id,v\n1,a\n",
        in___b__csv=b"id,v\n2,b\n",
        x__parquet=parquet(ONE),
        x__jsonl=b'{"id": 1, "v": "a"}\n{"id": 2, "v": "b"}\n',
        x__json=json.dumps(ONE).encode(),
    )
    s3.write(bucket, "in/", b"")  # as consoles mark a folder
    for uri in ("in", "in/", "in/*.csv", "x.parquet", "x.jsonl", "x.json"):
        assert read(f"s3://{bucket}/{uri}") == ONE


def test_a_prefix_of_documents_is_records(s3):
    bucket = s3.bucket()
    s3.put(bucket, raw___a__md=b"# One", raw___deep___b__txt=b"two", raw___c__txt=b"\xff\xfe\xfd")
    s3.write(bucket, "raw/", b"")
    rows = read(f"s3://{bucket}/raw")
    assert [(r["path"], r["text"], r["size"]) for r in rows] == [
        (f"s3://{bucket}/raw/a.md", "# One", 5),
        (f"s3://{bucket}/raw/deep/b.txt", "two", 3),
    ]
    place = place_of(f"s3://{bucket}/raw", Path("/"))
    chunks = source_at(place).open(place, Wanted(extract=Extract(source=place.uri))).chunks()
    assert [row.raw for chunk in chunks for row in chunk.unreadable] == [f"s3://{bucket}/raw/c.txt"]
    assert len(rows[0]["etag"]) == 32 and rows[0]["modified"].tzinfo


def test_what_others_wrote_meanwhile_is_seen(s3, load):
    bucket = s3.bucket()
    s3.put(bucket, in___a__csv=b"id,v\n1,a\n")
    uri = f"s3://{bucket}/in"
    assert read(uri) == ONE[:1]
    s3.put(bucket, in___b__csv=b"id,v\n2,b\n")
    assert read(uri) == ONE
    place = locate(uri, Path("/"))
    assert len(place.fs.ls(place.path)) == 2
    s3.put(bucket, in___c__csv=b"id,v\n3,c\n")
    assert len(locate(uri, Path("/")).fs.ls(place.path)) == 3
    load(f"s3://{bucket}/out/", ONE, "append")
    assert len(read(f"s3://{bucket}/out/*.parquet")) == 2
    s3.write(bucket, "out/theirs.parquet", parquet(TWO))
    assert len(read(f"s3://{bucket}/out/*.parquet")) == 4
    with pytest.raises(Misconfigured, match=r"theirs\.parquet among them"):
        load(f"s3://{bucket}/out/", ONE, "overwrite")
    load(f"s3://{bucket}/out.csv", ONE, "upsert")
    s3.write(bucket, "out.csv", b"id,v\n2,theirs\n9,theirs\n")
    load(f"s3://{bucket}/out.csv", ONE, "upsert")
    assert {r["id"] for r in read(f"s3://{bucket}/out.csv")} == {1, 2, 9}


@pytest.mark.parametrize("form", ["csv", "json", "jsonl", "parquet"])
def test_one_file_in_the_three_modes_and_their_repetition(s3, load, form):
    bucket = s3.bucket()
    uri = f"s3://{bucket}/deep/out.{form}"
    for mode, rows, expected in (
        ("overwrite", ONE, ONE),
        ("upsert", TWO, [ONE[0], *TWO]),
        ("overwrite", ONE, ONE),
        ("append", TWO, [*ONE, *TWO]),
    ):
        for _ in range(2):
            load(uri, rows, mode, snapshot=mode)
            assert read(uri) == expected
    assert [k for k in s3.keys(bucket) if not k.startswith("deep/.")] == [f"deep/out.{form}"]


def test_a_folder_has_files_named_by_run_or_partition(s3, load):
    bucket = s3.bucket()
    uri = f"s3://{bucket}/out/"
    for _ in range(2):
        load(uri, ONE, "append", snapshot="s1")
        load(uri, [*ONE, {"id": 3, "v": "c"}], "append", snapshot="s2")
    data = [k for k in s3.keys(bucket) if not k.startswith("out/.")]
    assert data == ["out/loom-s1.parquet", "out/loom-s2.parquet"]
    assert [r["id"] for r in read(uri)] == [1, 2, 3]
    load(uri, ONE, "overwrite", snapshot="s3")
    assert read(uri) == ONE
    parts = f"s3://{bucket}/parts/"
    for partition, rows in (("2026-01-01", ONE), ("2026-01-02", ONE), ("2026-01-01", TWO)):
        load(parts, rows, "overwrite", partition=partition)
    assert read(parts) == [*TWO, *ONE]


KILLED = """
import os, signal, sys
from pathlib import Path
import s3fs
from loom_dagster.connectors import place_of
from loom_dagster.load import load_snapshot
from loom_dagster.spec.models import Load

nth, when, mode, uri, root = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], Path(sys.argv[5])
real, calls = s3fs.S3FileSystem.put_file, []

def dying(*args, **kwargs):
    calls.append(args)
    last = len(calls) == nth
    if last and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    real(*args, **kwargs)
    if last:
        os.kill(os.getpid(), signal.SIGKILL)

s3fs.S3FileSystem.put_file = dying
load_snapshot(root / "t.parquet", place_of(uri, root), load=Load(destination=uri, mode=mode), key=("id",),
              pipeline="p", columns=["id", "v"], snapshot="s2", fingerprint="f")
"""


@pytest.mark.slow
@pytest.mark.parametrize(("nth", "when"), [(1, "before"), (1, "after"), (2, "after")])
@pytest.mark.parametrize(
    ("mode", "place"),
    [("append", "out.csv"), ("append", "out/"), ("overwrite", "out.csv"), ("upsert", "out.csv")],
)
def test_a_load_killed_around_its_manifest_or_its_file_is_put_right_by_the_next_one(
    s3, load, tmp_path, mode, place, nth, when
):
    bucket = s3.bucket()
    uri = f"s3://{bucket}/{place}"
    load(uri, ONE, "append", snapshot="s1")  # so that every mode has a manifest to keep
    load(f"s3://{bucket}/other.csv", TWO, "overwrite")  # makes the snapshot
    before = s3.data(bucket, "out.csv") if place == "out.csv" else b""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(nth), when, mode, uri, str(tmp_path)], check=False
    )
    assert done.returncode == -9
    if place == "out.csv" and nth == 1:
        assert s3.data(bucket, "out.csv") == before
    for _ in range(2):
        load(uri, TWO, mode, snapshot="s2")
        once = {"append": [*ONE, TWO[1]], "overwrite": TWO, "upsert": [ONE[0], *TWO]}[mode]
        assert sorted(read(uri), key=lambda r: r["id"]) == once


@pytest.mark.parametrize(
    ("environ", "uri", "error", "message"),
    [
        ({}, "s3://no-such-bucket/x.csv", Misconfigured, "does not exist"),
        ({}, "s3://{bucket}/none.csv", Misconfigured, "does not exist"),
        (
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
            "s3://{bucket}/x.csv",
            Misconfigured,
            "AWS_ACCESS_KEY_ID",
        ),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "s3://{bucket}/x.csv", Transient, "does not answer"),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
            "s3://user:s3-secret-word@{bucket}/x.csv",
            Misconfigured,
            "x.csv",
        ),
    ],
)
@pytest.mark.slow
def test_what_is_wrong_is_told_without_secrets(s3, environ, uri, error, message):
    """In a process of its own: a driver keeps what it knew of the environment."""
    bucket = s3.bucket()
    s3.put(bucket, x__csv=b"id\n1\n")
    code = (
        "import sys; from pathlib import Path; from loom_dagster.connectors import *\n"
        "from loom_dagster.spec.models import Extract\n"
        "place = place_of(sys.argv[1], Path('/'))\n"
        "try: source_at(place).open(place, Wanted(extract=Extract(source=place.uri)))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    env = {**os.environ, "AWS_MAX_ATTEMPTS": "1", "HOME": "/nonexistent", **environ}
    done = subprocess.run(
        [sys.executable, "-c", code, uri.format(bucket=bucket)],
        capture_output=True,
        text=True,
        check=True,
        env=env,
    )
    assert done.stdout.startswith(error.__name__) and message in done.stdout, done.stdout + done.stderr
    assert s3.secret not in done.stdout + done.stderr
