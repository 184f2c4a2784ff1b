"""The demo's data is what the README says: 208 lines, most of them good, each kind of trouble among them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ["id", "created_at", "customer", "product_area", "review", "expected_sentiment"]


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return (ROOT / "data" / "reviews.jsonl").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def rows(lines) -> list[dict]:
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def test_readme_tells_how_many_there_are(lines):
    assert f"{len(lines)} customer reviews" in " ".join((ROOT / "README.md").read_text("utf-8").split())


def test_each_kind_of_broken_line_is_there(lines, rows):
    ids = Counter(row["id"] for row in rows)
    assert len(lines) - len(rows) == 1  # not JSON
    assert ids.pop(None) == 2
    assert sum(count - 1 for count in ids.values()) == 2
    assert sum(row["review"] == "" for row in rows) == 1
    assert sum(row["expected_sentiment"] is None for row in rows) == 1


def test_reviews_are_varied(rows):
    labels = Counter(row["expected_sentiment"] for row in rows)
    assert all(list(row) == COLUMNS for row in rows)
    assert min(labels[name] for name in ("positive", "negative", "neutral")) > 40
    assert len({row["product_area"] for row in rows}) >= 8
    assert len({row["review"] for row in rows}) > 200
    assert sum(len(row["review"]) > 1000 for row in rows) == 1
    assert (
        sum(len(row["review"].encode()) != len(row["review"]) for row in rows) >= 8
    )  # emoji, other languages
