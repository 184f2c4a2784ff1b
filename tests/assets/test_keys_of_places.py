from __future__ import annotations

from pathlib import Path

import pytest

from loom_dagster.assets.keys import Keys, address, identifier, segment

ROOT = Path("/srv/project")


def key(text: str, table: str = "reviews") -> str:
    return "/".join(address(text, root=ROOT, table=table).segments)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgres://customers/reviews", "customers/reviews"),
        ("postgresql+psycopg2://customers/public/reviews", "customers/public/reviews"),
        ("postgres://summaries", "summaries/reviews"),
        ("snowflake://warehouse/sales", "warehouse/sales"),
        ("s3://documents/raw", "s3/documents/raw"),
        ("s3://documents//raw/", "s3/documents/raw"),
        ("S3://documents/raw", "s3/documents/raw"),
        ("data/reviews.csv", "file/data/reviews.csv"),
        ("./data/../data//reviews.csv", "file/data/reviews.csv"),
        ("/srv/project/data/reviews.csv", "file/data/reviews.csv"),
        ("file:///srv/project/data/reviews.csv", "file/data/reviews.csv"),
        ("pipeline://reviews", "reviews/transformed"),
    ],
)
def test_a_place_has_one_key_however_it_is_written(text: str, expected: str) -> None:
    assert key(text) == expected


def test_what_had_to_be_encoded_carries_a_hash() -> None:
    first, second, third = key("data/a b.csv"), key("data/a/b.csv"), key("data/a_b.csv")
    assert len({first, second, third}) == 3
    assert first.startswith("file/data/a_b.csv-")
    assert third == "file/data/a_b.csv"


def test_a_path_outside_the_project_differs_from_one_inside() -> None:
    assert key("/data/reviews.csv") != key("data/reviews.csv")


def test_neither_user_nor_password_nor_query_is_shown() -> None:
    for text in (
        "postgres://ann:s3cret@host/reviews",
        "https://ann:s3cret@host/a.csv?token=s3cret",
        "s3://k:s3cret@b/x",
    ):
        place = address(text, root=ROOT, table="t")
        assert "s3cret" not in "".join(place.segments)
        assert "s3cret" not in place.uri
        assert "ann" not in place.uri


@pytest.mark.parametrize("text", ["a/b", "überall", "🙂 good", "", " ", "a b", "x" * 200, "\ud800"])
def test_any_text_becomes_a_segment_and_an_identifier(text: str) -> None:
    assert set(segment(text)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
    assert identifier(text).replace("_", "a").isalnum()
    assert segment(text)


def test_texts_that_look_alike_stay_apart() -> None:
    for turn in (segment, identifier):
        assert len({turn("a b"), turn("a/b"), turn("a_b"), turn("a  b")}) == 4


def test_two_places_never_share_a_key_and_one_place_keeps_its_own() -> None:
    keys = Keys()
    first = keys.claim("pipeline a", ["a", "transformed"])
    second = keys.claim("table a.transformed", ["a", "transformed"])
    third = keys.claim("table A.transformed", ["A", "transformed"])
    assert first == ("a", "transformed")
    assert len({first, second, third}) == 3
    assert keys.claim("table a.transformed", ["a", "transformed"]) == second


@pytest.mark.parametrize(
    ("text", "kind"),
    [("a.csv", "csv"), ("a.ndjson", "jsonl"), ("s3://b/a.parquet", "parquet"), ("s3://b/a", "s3"),
     ("postgresql://c/t", "postgres"), ("data/", "file")],
)  # fmt: skip
def test_kinds(text: str, kind: str) -> None:
    assert address(text, root=ROOT, table="t").kind == kind
