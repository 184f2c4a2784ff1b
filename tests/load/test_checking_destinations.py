from __future__ import annotations

import os

import pytest

from loom_dagster.connectors import place_of
from loom_dagster.load import check_destination
from loom_dagster.spec.models import Load


@pytest.fixture
def check(tmp_path):
    def run(destination: str, **options):
        found = check_destination(
            Load(destination=destination, format=options.pop("format", None)),
            place_of(destination, tmp_path),
            where=lambda *loc: "pipelines/p.yaml:9",
            **options,
        )
        return [str(problem) for problem in found]

    return run


def test_good_ones_are_good_and_nothing_is_written(check, tmp_path):
    for destination in ("x.csv", "deep/er/x.parquet", "folder/", "memory://a/x.jsonl", "s3://bucket/folder/"):
        assert check(destination) == []
    assert check("memory://a/x.jsonl", connections=True) == []
    assert [p.name for p in (tmp_path).iterdir()] == []


@pytest.mark.parametrize(
    ("destination", "message"),
    [
        ("folder.csv", "is a folder, not a file"),
        ("file/x.csv", "is not a folder"),
        ("x.txt", "set `load.format` to one of csv, json, jsonl, parquet"),
        ("s3://bucket/x.txt", "set `load.format` to one of"),
        ("https://example.org/x.csv", "can be read, not written"),
        ("gs://bucket/x.csv", "pip install 'loom-dagster[gcs]'"),
        ("foo://x", "not a kind of location"),
        ("x*.csv", "is a pattern"),
    ],
)
def test_bad_ones_say_where_and_what_to_do(check, tmp_path, destination, message):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").write_text("")
    [problem] = check(destination)
    assert problem.startswith("pipelines/p.yaml:9: ") and message in problem and "secret" not in problem


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write(check, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    [problem] = check("locked/x.csv")
    assert "may not be written" in problem
