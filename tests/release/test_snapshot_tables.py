"""What the tables of a snapshot hold, and that they hold it exactly."""

from __future__ import annotations

import datetime as dt
import decimal
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.errors import LoomError, Misconfigured
from loom_dagster.records import Batch, Record, Score
from loom_dagster.release import BatchResult


@pytest.fixture
def place(state):
    return state / "datasets" / "reviews" / "all" / "run-1"


def rows(path):
    return pq.read_table(path).to_pylist()


def test_a_passing_record_keeps_its_source_its_output_and_where_it_came_from(make, place):
    [record] = make.records(4, 1)
    answers = (
        make.answer(cost=0.25, latency=0.5),
        make.answer(cost=0.5, latency=0.25, reused=True, simulated=True),
    )
    writer = make.writer(place)
    result = BatchResult(
        batch=make.batch(0, [record]), passed=[make.passed(record, answers=answers, attempts=2)]
    )
    writer.add(result)
    written = writer.commit(1)
    [row] = rows(written.transformed)
    assert row == {
        "id": 4,
        "text": "text 4",
        "label": "good",
        "weight": 4,
        "_loom_record_id": "r4",
        "_loom_run_id": "run-1",
        "_loom_score_quality": 0.9,
        "_loom_prompt_version": "v1",
        "_loom_context_versions": '{"domain":"3"}',
        "_loom_model": "m",
        "_loom_attempts": 2,
        "_loom_fallback": None,
        "_loom_cost_usd": 0.75,
        "_loom_latency_s": 0.75,
        "_loom_simulated": True,
        "_loom_answers": "6b,6b",
    }
    assert written.columns[:3] == [("id", "int64"), ("text", "string"), ("label", "string")]
    assert list(written.sample) == [row]
    assert rows(written.quarantine) == []
    assert written.deferred_path is None


def test_what_is_not_known_is_null_and_not_zero(make, place):
    [record] = make.records(0, 1)
    failed_judge = (Score(name="quality", value=None, threshold=0.5, error="down"),)
    passed = make.passed(record, answers=(make.answer(), make.answer(cost=None)), scores=failed_judge)
    writer = make.writer(place, evaluators=["quality", "other"])
    writer.add(BatchResult(batch=make.batch(0, [record]), passed=[passed]))
    [row] = rows(writer.commit(1).transformed)
    assert [row[f"_loom_{n}"] for n in ("cost_usd", "score_quality", "score_other")] == [None, None, None]


def test_a_quarantined_record_is_kept_whole(make, place):
    [record] = make.records(3, 1)
    writer = make.writer(place)
    failed = make.failed(record, resolution="skipped")
    writer.add(BatchResult(batch=make.batch(0, [record]), passed=[], quarantined=[failed]))
    written = writer.commit(1)
    [row] = rows(written.quarantine)
    assert json.loads(row.pop("source")) == {"id": 3, "text": "text 3"}
    assert json.loads(row.pop("scores")) == [
        {"name": "quality", "value": 0.1, "threshold": 0.5, "passed": False, "explanation": "poor", "error": None,
         "weight": 1.0}
    ]  # fmt: skip
    assert json.loads(row.pop("output")) == {"label": "bad", "weight": 1}
    assert json.loads(row.pop("versions")) == {
        "prompt": {"name": "p", "version": "v1"}, "contexts": {"domain": "3"}, "model": "m", "pipeline": "2.10",
    }  # fmt: skip
    assert row == {
        "record_id": "r3",
        "position": 3,
        "stage": "evaluate",
        "reason": "quality 0.10 < 0.50",
        "kind": "gate_failed",
        "raw_answer": '{"label": "bad"}',
        "model": "m",
        "attempts": 1,
        "cost_usd": 0.25,
        "run_id": "run-1",
        "resolution": "skipped",
        "answers": "6b",
    }
    assert (written.quarantined, written.skipped, written.passed) == (1, 1, 0)
    assert written.quarantine_sample[0]["record_id"] == "r3"


def test_every_fate_is_counted_once(make, place):
    written = make.written(place, "pfdxppx")
    assert (written.passed, written.quarantined, written.deferred, written.source_errors) == (3, 3, 1, 2)
    assert rows(written.deferred_path) == [{"record_id": "r2", "position": 2, "reason": "outage: down"}]


def test_fallback_values_are_told_apart(make, place):
    one, two = make.records(0, 2)
    writer = make.writer(place)
    passed = [make.passed(one, fallback="value"), make.passed(two, fallback="model")]
    writer.add(BatchResult(batch=make.batch(0, [one, two]), passed=passed))
    assert writer.commit(1).fallbacks == 1


EXACT = {
    "decimal": (pa.decimal128(20, 4), decimal.Decimal("12345678901234.5670")),
    "nanoseconds": (pa.timestamp("ns", "UTC"), pa.scalar(1_700_000_000_123_456_789, pa.timestamp("ns", "UTC"))),
    "local": (pa.timestamp("us", "Europe/Berlin"), pa.scalar(1, pa.timestamp("us", "Europe/Berlin"))),
    "naive": (pa.timestamp("us"), dt.datetime.fromisoformat("2026-01-01T12:30:00.000005")),
    "date": (pa.date32(), dt.date(1969, 12, 31)),
    "time": (pa.time64("us"), dt.time(23, 59, 59, 1)),
    "duration": (pa.duration("us"), dt.timedelta(days=-1, microseconds=3)),
    "big": (pa.uint64(), 2**64 - 1),
    "small": (pa.int8(), -128),
    "float": (pa.float32(), float("inf")),
    "bytes": (pa.binary(), b"\x00\xff"),
    "nested": (pa.list_(pa.struct([("a", pa.list_(pa.int16())), ("b", pa.string())])), [{"a": [1, None], "b": None}, None]),
    "map": (pa.map_(pa.string(), pa.int32()), [("k", 1)]),
    "words": (pa.dictionary(pa.int32(), pa.string()), "kind"),
    "large": (pa.large_string(), "x" * 1_000_000),
    "nothing": (pa.null(), None),
    "control": (pa.string(), "a\x00b\u2028 é 🙂"),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_source_types_and_values_survive_to_the_last_bit(make, place, name):
    kind, value = EXACT[name]
    schema = pa.schema([("v", kind)])
    scalar = value if isinstance(value, pa.Scalar) else pa.scalar(value, kind)
    column = pa.array([scalar.as_py() if pa.types.is_dictionary(kind) else scalar.cast(kind), None], kind)
    table = pa.RecordBatch.from_arrays([column], schema=schema)
    records = [Record(id=str(i), position=i, row=i, columns={"v": None}) for i in range(2)]
    writer = make.writer(place, source=schema)
    result = BatchResult(
        batch=Batch(index=0, table=table, records=records),
        passed=[make.passed(records[0])],
        quarantined=[
            make.failed(records[1]),
        ],
    )
    writer.add(result)
    written = writer.commit(1)
    kept = pq.read_table(written.transformed).column("v").combine_chunks()
    assert kept.type == kind
    assert kept.to_pylist() == column.slice(0, 1).to_pylist()
    again = pq.read_table(place / "quarantine_source.parquet").column("v").combine_chunks()
    assert (again.type, again.to_pylist()) == (kind, [None])


def test_texts_that_are_no_unicode_are_kept_as_well_as_can_be(make, place):
    one, two = make.records(0, 2)
    broken = "a\ud800b"
    passed = make.passed(one, output={"label": broken, "weight": 1}, model=broken)
    failed = make.failed(
        two, reason=broken, raw_answer=broken + "\x00", output={"label": broken}, source={"text": broken}
    )
    writer = make.writer(place)
    writer.add(BatchResult(batch=make.batch(0, [one, two]), passed=[passed], quarantined=[failed]))
    written = writer.commit(1)
    assert rows(written.transformed)[0]["label"] == "a\\ud800b"
    [row] = rows(written.quarantine)
    assert row["raw_answer"] == "a\\ud800b\x00"
    assert json.loads(row["source"]) == {"text": "a\\ud800b"}


@pytest.mark.parametrize("weight", [2**70, "heavy", {"a": 1}])
def test_an_output_that_fits_no_column_is_one_quarantined_record(make, place, weight):
    one, two = make.records(0, 2)
    writer = make.writer(place)
    passed = [make.passed(one, output={"label": "x", "weight": weight}), make.passed(two)]
    writer.add(BatchResult(batch=make.batch(0, [one, two]), passed=passed))
    written = writer.commit(1)
    assert [r["_loom_record_id"] for r in rows(written.transformed)] == ["r1"]
    [row] = rows(written.quarantine)
    assert (row["record_id"], row["kind"], row["stage"]) == ("r0", "wrong_schema", "transform")
    assert "does not fit" in row["reason"]


def test_an_empty_run_has_tables_with_columns(make, place):
    written = make.writer(place).commit(0)
    for path in (written.transformed, written.quarantine):
        table = pq.read_table(path)
        assert (table.num_rows, table.num_columns > 10) == (0, True)


def test_samples_are_short(make, place):
    records = make.records(0, 12)
    writer = make.writer(place)
    long = {"label": "x" * 100_000, "weight": 1}
    passed = [make.passed(r, output=long) for r in records]
    writer.add(BatchResult(batch=make.batch(0, records), passed=passed))
    written = writer.commit(1)
    assert len(written.sample) == 10
    assert written.sample[0]["label"] == "x" * 500 + "…"
    assert json.dumps(list(written.sample))


def test_row_groups_are_of_a_size_that_reads_well(make, place):
    written = make.written(place, "p" * 20_000, size=500)
    file = pq.ParquetFile(written.transformed)
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [8_500, 8_500, 3_000]


def test_a_batch_that_never_came_is_not_passed_over(make, place):
    writer = make.writer(place)
    first, _, third = make.results("pppppp")
    writer.add(first)
    writer.add(third)
    with pytest.raises(LoomError, match="2 of 3 batches were settled") as told:
        writer.commit(3)
    assert told.value.kind == "conservation"
    with pytest.raises(ValueError, match="batch 2 was given twice"):
        writer.add(third)
    writer.discard()
    assert not place.parent.exists() or not list(place.parent.iterdir())


def test_a_place_that_cannot_be_written_is_told_in_one_sentence(make, state):
    state.mkdir()
    (state / "datasets").write_text("in the way")
    with pytest.raises(Misconfigured, match="the snapshot cannot be written") as told:
        make.writer(state / "datasets" / "reviews" / "all" / "run-1")
    assert told.value.kind == "disk"
