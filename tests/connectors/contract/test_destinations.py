"""What every destination keeps. The first line of a docstring is the guarantee as the docs tell it."""

from __future__ import annotations

import pyarrow as pa
import pytest

from loom_dagster.errors import Misconfigured
from tests.connectors.contract.cases import Rows

pytestmark = pytest.mark.needs("writes")

NASTY = [
    "it's",
    'a "quote"',
    "a; DROP TABLE reviews; --",
    "%s %(x)s :x $1 \\",
    "line\nbreak\ttab",
    "œ 日本 🎈",
]


def table(*ids, **columns):
    values = {
        name: list(of) if isinstance(of, list | tuple) else [of] * len(ids) for name, of in columns.items()
    }
    return pa.table({"id": pa.array(ids, pa.int64()), **(values or {"label": [f"l{i}" for i in ids]})})


def there(bench, *columns):
    """The rows as texts, so that typed and untyped places compare; without key order."""
    rows = bench.look()
    wanted = columns or ("id", "label")
    return sorted(tuple(None if row.get(c) is None else str(row[c]) for c in wanted) for row in rows)


def test_append(bench):
    """append: a record is added once, however often it is loaded, by whichever snapshot."""
    bench.load(table(1, 2), "append")
    bench.load(table(1, 2), "append")
    bench.load(table(2, 3), "append", snapshot="s2")
    assert there(bench) == [("1", "l1"), ("2", "l2"), ("3", "l3")]
    bench.load(table(1), "append", snapshot="s3", fingerprint="another prompt")
    assert [i for i, _ in there(bench)] == ["1", "1", "2", "3"]


def test_overwrite(bench):
    """overwrite: afterwards there is this snapshot and nothing else."""
    bench.load(table(1, 2, 3), "overwrite")
    bench.load(table(3, 4, label="new"), "overwrite", snapshot="s2")
    bench.load(table(3, 4, label="new"), "overwrite", snapshot="s2")
    assert there(bench) == [("3", "new"), ("4", "new")]


def test_upsert(bench):
    """upsert: rows of an equal key get the new values; other rows and other columns stay."""
    bench.load(table(1, 2, label="old", note="kept"), "upsert")
    bench.load(table(2, 3, label="new"), "upsert", snapshot="s2")
    bench.load(table(2, 3, label="new"), "upsert", snapshot="s2")
    found = [(i, label, note or None) for i, label, note in there(bench, "id", "label", "note")]
    assert found == [("1", "old", "kept"), ("2", "new", "kept"), ("3", "new", None)]


def test_a_key_of_two_columns(bench):
    """A key may have several columns."""
    first = pa.table({"id": [1, 1], "lang": ["de", "en"], "label": ["a", "b"]})
    second = pa.table({"id": [1, 2], "lang": ["en", "en"], "label": ["c", "d"]})
    bench.load(Rows(first, ids=["1", "2"]), key=("id", "lang"))
    bench.load(Rows(second, ids=["2", "3"]), key=("id", "lang"), snapshot="s2")
    assert there(bench, "id", "lang", "label") == [("1", "de", "a"), ("1", "en", "c"), ("2", "en", "d")]


def test_texts(bench):
    """Whatever stands in a value arrives as it is and is never more than a value."""
    bench.load(table(*range(len(NASTY)), label=NASTY), "overwrite")
    bench.load(table(*range(len(NASTY)), label=NASTY), "upsert", snapshot="s2")
    assert sorted(str(row["label"]) for row in bench.look()) == sorted(NASTY)


@pytest.mark.needs("types")
def test_types(bench):
    """Numbers, truth values, times and nulls arrive as what they are."""
    rows = pa.table(
        {
            "id": pa.array([1, 2], pa.int64()),
            "score": pa.array([0.1, None], pa.float64()),
            "good": pa.array([True, None], pa.bool_()),
            "text": pa.array(["", None], pa.string()),
        }
    )
    bench.load(rows)
    found = sorted(bench.look(), key=lambda row: row["id"])
    assert [row["score"] for row in found] == [0.1, None]
    assert [None if row["good"] is None else bool(row["good"]) for row in found] == [True, None]
    assert [row["text"] for row in found] == ["", None]


def test_a_new_column(bench):
    """A new column is added; rows that were there have null in it."""
    bench.load(table(1, label="a"))
    bench.load(table(2, label="b", extra="x"), snapshot="s2")
    found = [(i, label, extra or None) for i, label, extra in there(bench, "id", "label", "extra")]
    assert found == [("1", "a", None), ("2", "b", "x")]


@pytest.mark.needs("types")
def test_a_changed_type(bench):
    """A column never changes its type: that is refused, and nothing is written."""
    bench.load(table(1, label=[5]))
    with pytest.raises(Misconfigured, match="label"):
        bench.load(table(2, label=["text"]), snapshot="s2")
    assert there(bench) == [("1", "5")]


@pytest.mark.parametrize("mode", ["append", "overwrite", "upsert"])
def test_a_load_that_fails_midway(bench, mode):
    """A load that fails leaves what was there; the next one brings everything."""
    bench.load(table(1, label="old"), mode)
    rows = table(*range(1, 10), label="new")
    with pytest.raises(Exception, match=r"the disk is gone|OSError"):
        bench.load(Rows(rows, fail_after=6), mode, snapshot="s2")
    assert there(bench) == [("1", "old")]
    bench.load(rows, mode, snapshot="s2")
    wanted = [(str(i), "new") for i in range(1, 10)]
    assert there(bench) == (sorted([("1", "old"), *wanted[1:]]) if mode == "append" else wanted)


@pytest.mark.parametrize("mode", ["append", "overwrite", "upsert"])
def test_nothing(bench, mode):
    """An empty shipment is no accident."""
    assert bench.load(table(1, 2).slice(0, 0), mode).rows == 0
    bench.load(table(1), mode, snapshot="s2")
    assert there(bench) == [("1", "l1")]


@pytest.mark.needs("refuses")
def test_a_refused_row(bench):
    """A row that the database refuses comes back with its words; the rest is loaded."""
    bench.load(table(1))
    bench.case.narrow(bench)
    loaded = bench.load(table(2, 3, 4, label=["ok", "far too long for it", "fine"]), snapshot="s2")
    assert [row.record_id for row in loaded.refused] == ["3"]
    assert loaded.refused[0].reason
    assert loaded.rows == 2
    assert [i for i, _ in there(bench)] == ["1", "2", "4"]
