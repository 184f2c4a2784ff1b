from __future__ import annotations

import io
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.connectors.plain import plain_rows
from loom_dagster.errors import Misconfigured


def parquet(table: pa.Table, **options) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


ROW = {
    "d": Decimal("12.340"),
    "t": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    "day": date(2026, 1, 2),
    "b": b"\x00\xff",
    "nested": [{"x": 1, "y": ["é"]}],
    "m": {"k": 1},
    "u": uuid.UUID(int=7),
}
SCHEMA = pa.schema(
    {
        "d": pa.decimal128(10, 3),
        "t": pa.timestamp("us", "UTC"),
        "day": pa.date32(),
        "b": pa.binary(),
        "nested": pa.list_(pa.struct({"x": pa.int8(), "y": pa.list_(pa.string())})),
        "m": pa.map_(pa.string(), pa.int64()),
        "u": pa.uuid(),
    }
)


def table_of(row: dict) -> pa.Table:
    arrays = [
        pa.array([row[f.name].bytes], pa.binary(16)).cast(f.type)
        if f.name == "u"
        else pa.array([row[f.name]], f.type)
        if f.name != "m"
        else pa.array([list(row["m"].items())], f.type)
        for f in SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def test_types_survive_and_rows_are_plain_python(files, read):
    schema, _, _ = read(files(a__parquet=parquet(table_of(ROW))))
    assert schema.field("d").type == pa.decimal128(10, 3) and schema.field("t").type == pa.timestamp(
        "us", "UTC"
    )
    [row] = plain_rows(table_of(ROW).to_batches()[0])
    assert row == ROW and type(row["t"]) is datetime


def test_dictionaries_are_unpacked_nested_ones_too(files, read):
    packed = pa.array(["a", "b", "a"]).dictionary_encode()
    table = pa.table({"plain": packed, "deep": pa.StructArray.from_arrays([packed], ["x"])})
    schema, rows, _ = read(files(a__parquet=parquet(table)))
    assert schema == pa.schema({"plain": pa.string(), "deep": pa.struct({"x": pa.string()})})
    assert [r["deep"]["x"] for r in rows] == ["a", "b", "a"]


def test_nanoseconds_do_not_need_pandas():
    array = pa.array([1_000, 1_700_000_000_123_456_789, None], pa.timestamp("ns"))
    batch = pa.RecordBatch.from_arrays([array], names=["t"])
    values = [row["t"] for row in plain_rows(batch)]
    assert values == [datetime(1970, 1, 1, 0, 0, 0, 1), "2023-11-14 22:13:20.123456789", None]  # noqa: DTZ001 - a column without a zone


def test_dates_that_python_does_not_have_are_text():
    batch = pa.RecordBatch.from_arrays([pa.array([4_000_000], pa.date32())], names=["d"])
    assert plain_rows(batch)[0]["d"].startswith("12921-")


def test_files_of_one_folder_share_one_schema(files, read):
    one, two = (
        pa.table({"id": pa.array([1], pa.int32())}),
        pa.table({"id": pa.array([2], pa.int64()), "x": ["y"]}),
    )
    schema, rows, _ = read(files(a__parquet=parquet(one), b__parquet=parquet(two)))
    assert schema == pa.schema({"id": pa.int64(), "x": pa.string()})
    assert rows == [{"id": 1, "x": None}, {"id": 2, "x": "y"}]
    with pytest.raises(Misconfigured, match=r"b\.parquet do not fit"):
        read(files(a__parquet=parquet(one), b__parquet=parquet(pa.table({"id": ["x"]}))))


def test_large_rows_come_in_small_chunks(files):
    from loom_dagster.connectors.files.formats import FORMATS, Reading

    found = files(
        a__parquet=parquet(pa.table({"t": [str(i) * 2_000_000 for i in range(40)]}), compression="none")
    )
    form, how = FORMATS["parquet"], Reading(rows=1000)
    sizes = [c.table.nbytes for c in form.chunks(found, form.schema(found, how), how)]
    assert len(sizes) > 1 and max(sizes) < 70_000_000


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (lambda data: data[: len(data) // 2], "it is cut off"),
        (lambda data: b"", "it is empty"),
        (lambda data: b"id,text\n1,x\n", "it is something else"),
        (lambda data: b"PARE" + data[4:-4] + b"PARE", "it is encrypted"),
    ],
)
def test_what_is_no_parquet_file_gets_one_clear_message(files, read, cut, message):
    data = cut(parquet(pa.table({"a": list(range(1000))})))
    with pytest.raises(Misconfigured) as caught:
        read(files(a__parquet=data))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_damage_inside_the_file_is_no_traceback(files, read):
    data = bytearray(parquet(pa.table({"a": [str(i) for i in range(10_000)]}), compression="zstd"))
    data[100:2000] = b"\xff" * 1900
    with pytest.raises(Misconfigured, match=r"a\.parquet"):
        read(files(a__parquet=bytes(data)))
