"""What every source keeps. The first line of a docstring is the guarantee as the docs tell it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from loom_dagster.connectors import State, Window
from loom_dagster.errors import Misconfigured

BERLIN = ZoneInfo("Europe/Berlin")

pytestmark = pytest.mark.needs("reads")

TEXTS = [
    "plain",
    "with 'quotes' and \"more\"",
    "a; DROP TABLE reviews; --",
    "{{ input }} {% x %} $5 %s :x %(y)s",
    "line\nbreak",
    "œ 日本 🎈",
    " ",
]
ROWS = pa.table({"id": range(len(TEXTS)), "text": TEXTS})


def test_rows(bench):
    """Every row comes, in one order, as often as one reads."""
    bench.make(ROWS)
    first = bench.read()
    assert first.column("text").to_pylist() == TEXTS
    assert [int(i) for i in first.column("id").to_pylist()] == list(range(len(TEXTS)))
    assert bench.read().equals(first)


def test_chunks(bench):
    """Rows come in chunks of a bounded size, whatever the size of the source."""
    bench.make(pa.table({"id": range(20_000), "text": ["x"] * 20_000}))
    assert bench.read().num_rows == 20_000


@pytest.mark.needs("types")
def test_types(bench):
    """Numbers, truth values, times and nulls keep their types."""
    at, zones = datetime(2026, 3, 29, 1, 59, 59, 123456, tzinfo=UTC), "UTC" if bench.case.zones else None
    table = pa.table(
        {
            "id": pa.array([1, 2**53 + 1], pa.int64()),
            "amount": pa.array([0.1, None], pa.float64()),
            "good": pa.array([True, None], pa.bool_()),
            "at": pa.array([at if zones else at.replace(tzinfo=None), None], pa.timestamp("us", tz=zones)),
            "day": pa.array([at.date(), None], pa.date32()),
            "note": pa.array(["", None], pa.string()),
        }
    )
    bench.make(table)
    read = bench.read()
    assert read.to_pylist() == table.to_pylist()
    assert pa.types.is_integer(read.schema.field("id").type)
    assert pa.types.is_floating(read.schema.field("amount").type)
    assert pa.types.is_timestamp(read.schema.field("at").type)


def test_a_window(bench):
    """A window is start <= column < end, and nulls are in none."""
    bench.make(pa.table({"id": range(10), "n": [*range(9), None], "text": ["x"] * 10}))
    assert bench.read(window=Window(column="n", start=3, end=6)).column("n").to_pylist() == [3, 4, 5]
    assert bench.read(window=Window(column="n", start=7)).column("n").to_pylist() == [7, 8]


@pytest.mark.needs("types")
def test_a_window_of_times(bench):
    """A window of times is exact to the microsecond."""
    zones = "UTC" if bench.case.zones else None
    begin = datetime(2026, 1, 1, tzinfo=UTC if zones else None)
    at = [begin + timedelta(microseconds=n) for n in range(5)]
    bench.make(
        pa.table({"id": range(5), "at": pa.array(at, pa.timestamp("us", tz=zones)), "text": ["x"] * 5})
    )
    read = bench.read(window=Window(column="at", start=at[1], end=at[4]))
    assert read.column("at").to_pylist() == at[1:4]


def test_one_value(bench):
    """A window of one value has the rows that hold it, numbers and texts alike."""
    bench.make(pa.table({"id": range(4), "n": [1, 2, 1, None], "text": ["a", "b", "b", None]}))
    assert bench.read(window=Window(column="n", equal="1")).column("id").to_pylist() == [0, 2]
    assert bench.read(window=Window(column="text", equal="b")).column("id").to_pylist() == [1, 2]
    assert bench.read(window=Window(column="text", equal="c")).num_rows == 0


@pytest.mark.needs("types")
def test_a_day_of_a_zone(bench):
    """A day of a zone bounds times with a zone by the moment, and those without by what clocks there show."""
    begin = datetime(2026, 7, 2, tzinfo=BERLIN)
    end = begin + timedelta(days=1)
    at = [begin - timedelta(seconds=1), begin, end - timedelta(microseconds=1), end]
    zones = "UTC" if bench.case.zones else None
    shown = at if zones else [moment.replace(tzinfo=None) for moment in at]
    bench.make(
        pa.table({"id": range(4), "at": pa.array(shown, pa.timestamp("us", tz=zones)), "text": ["x"] * 4})
    )
    read = bench.read(window=Window(column="at", start=begin, end=end))
    assert read.column("id").to_pylist() == [1, 2]


def test_what_is_not_there(bench):
    """What is not there is said in one line that names it."""
    bench.make(ROWS)
    with pytest.raises(Misconfigured, match="no_such_table") as told:
        bench.read("no_such_table")
    assert "\n" not in str(told.value)
    assert "secret-word" not in str(told.value)


@pytest.mark.needs("queries")
def test_a_query_and_its_values(bench):
    """Values of a query are bound: text in them is never SQL."""
    bench.make(ROWS)
    query = "SELECT id, text FROM reviews WHERE text = {{ params.text }}"
    for text in TEXTS:
        read = bench.read(query=query, values={"params.text": text})
        assert read.column("text").to_pylist() == [text]
    numbers = bench.read(
        query="SELECT id FROM reviews WHERE id >= {{ params.least }} ORDER BY id", values={"params.least": 5}
    )
    assert pc.min(numbers.column("id")).as_py() == 5


@pytest.mark.needs("queries")
def test_a_query_in_a_window(bench):
    """A window holds whatever the query says."""
    bench.make(ROWS)
    query = "SELECT id, text FROM reviews WHERE id < 3 OR id > 4"
    read = bench.read(query=query, window=Window(column="id", start=2, end=6))
    assert sorted(read.column("id").to_pylist()) == [2, 5]


@pytest.mark.needs("watched")
def test_a_state(bench):
    """What is there is told without reading it: equal while nothing comes, another when a row does, also a late one."""
    rows = pa.table({"id": range(4), "n": [1, 2, 2, 5], "text": ["x"] * 4})
    late = pa.table({"id": range(5), "n": [1, 2, 2, 5, 3], "text": ["x"] * 5})
    bench.make(rows)
    before = bench.state("n", start=2)
    assert bench.state("n", start=2) == before
    if before.files:
        bench.make(late)
        assert bench.state("n", start=2) != before
        assert bench.state("n", table="not_there") == State()
        return
    bench.make(late, "later")
    after = bench.state("n", start=2, table="later")
    assert (before.rows, before.values, before.highest) == (3, 2, 5)
    assert (after.rows, after.values, after.highest) == (4, 3, 5)
    assert bench.state("n", start=99) == State()
