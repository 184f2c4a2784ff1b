"""What is written is what is read: any text, nulls, nested values, numbers at their limits."""

from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loom_dagster.connectors.files import expand, locate
from loom_dagster.connectors.files.formats import FORMATS, Reading
from loom_dagster.connectors.files.formats.texts import as_texts
from loom_dagster.connectors.plain import conformed

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
maybe = st.one_of(st.none(), texts)
numbers = st.floats(allow_nan=False, allow_infinity=False)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(-(2**63), 2**63 - 1),
            "text": maybe,
            "number": st.one_of(st.none(), numbers),
            "flag": st.one_of(st.none(), st.booleans()),
            "nested": st.one_of(
                st.none(), st.fixed_dictionaries({"a": maybe, "b": st.lists(st.integers(-5, 5), max_size=3)})
            ),
        }
    ),
    min_size=1,
    max_size=8,
)
SCHEMA = pa.schema(
    {
        "id": pa.int64(),
        "text": pa.string(),
        "number": pa.float64(),
        "flag": pa.bool_(),
        "nested": pa.struct({"a": pa.string(), "b": pa.list_(pa.int64())}),
    }
)
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def through(name: str, batch: pa.RecordBatch) -> list[dict]:
    """Writes and reads a file in memory."""
    form = FORMATS[name]
    sink = io.BytesIO()
    writer = form.writer(sink, batch.schema)
    writer.write(batch)
    writer.close()
    path = f"/trip/x{form.extensions[0]}"
    fsspec.filesystem("memory").pipe(path, sink.getvalue())
    files = expand(locate(f"memory:/{path}", Path("/")))
    found: list[dict] = []
    schema = form.schema(files, Reading())
    for chunk in form.chunks(files, schema, Reading()):
        assert not chunk.unreadable
        found += conformed(chunk.table, _known(batch.schema, schema)).to_pylist()
    return found


def _known(wanted: pa.Schema, found: pa.Schema) -> pa.Schema:
    """A column of nulls has no type in a text format; it gets that of what was written."""
    fields = [found.field(f.name) if f.name in found.names else f for f in wanted]
    return pa.schema([w if pa.types.is_null(f.type) else f for f, w in zip(fields, wanted, strict=True)])


@quick
@given(rows)
def test_parquet(given_rows):
    batch = pa.RecordBatch.from_pylist(given_rows, schema=SCHEMA)
    assert through("parquet", batch) == given_rows


@quick
@given(rows)
@pytest.mark.parametrize("name", ["json", "jsonl"])
def test_json(name, given_rows):
    batch = pa.RecordBatch.from_pylist(given_rows, schema=SCHEMA)
    found = through(name, batch)
    for row in found:  # a struct or list that is null in every row has lost its shape
        if row["nested"] is not None:
            row["nested"] = {"a": row["nested"].get("a"), "b": row["nested"].get("b") or []}
    assert found == given_rows


@quick
@given(rows)
def test_csv_as_texts(given_rows):
    batch = as_texts(pa.RecordBatch.from_pylist(given_rows, schema=SCHEMA))
    sink = io.BytesIO()
    form = FORMATS["csv"]
    form.writer(sink, batch.schema).write(batch)
    fsspec.filesystem("memory").pipe("/trip/t.csv", sink.getvalue())
    [file] = expand(locate("memory://trip/t.csv", Path("/")))
    found = [row for chunk in form.texts(file, Reading()) for row in chunk.table.to_pylist()]
    assert found == batch.to_pylist()


@quick
@given(st.lists(maybe, min_size=1, max_size=5))
def test_csv_of_one_column(values):
    batch = pa.RecordBatch.from_arrays([pa.array(values, pa.string())], names=["only column"])
    sink = io.BytesIO()
    form = FORMATS["csv"]
    form.writer(sink, batch.schema).write(batch)
    fsspec.filesystem("memory").pipe("/trip/o.csv", sink.getvalue())
    [file] = expand(locate("memory://trip/o.csv", Path("/")))
    found = [row["only column"] for chunk in form.texts(file, Reading()) for row in chunk.table.to_pylist()]
    assert found == values


@quick
@given(
    st.lists(numbers, min_size=1, max_size=20),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=20, max_size=20),
)
def test_numbers_come_back_from_csv_as_the_same_numbers(floats, integers):
    schema = pa.schema({"f": pa.float64(), "i": pa.int64()})
    given_rows = [{"f": f, "i": i} for f, i in zip(floats, integers, strict=False)]
    assert through("csv", pa.RecordBatch.from_pylist(given_rows, schema=schema)) == given_rows


def test_decimals_times_and_bytes_in_csv_and_json(files):
    import datetime as dt

    when = dt.datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=dt.UTC)
    batch = pa.RecordBatch.from_pylist(
        [{"d": Decimal("1.10"), "t": when, "b": b"\x00\xff", "l": ["é", None]}],
        schema=pa.schema(
            {
                "d": pa.decimal128(9, 2),
                "t": pa.timestamp("us", "UTC"),
                "b": pa.binary(),
                "l": pa.list_(pa.string()),
            }
        ),
    )
    assert as_texts(batch).to_pylist() == [
        {"d": "1.10", "t": "2026-01-02T03:04:05.000600+00:00", "b": "AP8=", "l": '["é",null]'}
    ]
    assert through("jsonl", batch) == [
        {"d": "1.10", "t": "2026-01-02T03:04:05.000600+00:00", "b": "AP8=", "l": ["é", None]}
    ]
