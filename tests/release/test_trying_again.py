"""A retry from quarantine: the rows as they were, and a snapshot that is the old one and more."""

from __future__ import annotations

import decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.errors import Misconfigured
from loom_dagster.records import Batch, Record
from loom_dagster.release import BatchResult, check_replay, merge_retry, rows_for_retry


def ids(path, column="_loom_record_id"):
    return pq.read_table(path).column(column).to_pylist()


@pytest.fixture
def again(make, ledger, releases, concluded, state):
    """Try ``which`` of a snapshot again; ``fates`` as in ``ran``."""

    def retry(base, which, fates):
        replay = rows_for_retry(base, which)
        handle = ledger.begin_run("reviews", "", "retry")
        writer = make.writer(state / "scratch" / "retry", source=replay.table.schema, run_id=handle.run_id)
        batches = list(replay.batches(2))
        fate = iter(fates)
        for batch in batches:
            passed, failed, deferred = [], [], []
            for record in batch.records:
                match next(fate):
                    case "p":
                        passed.append(make.passed(record, output={"label": "mended", "weight": 7}))
                    case "f":
                        failed.append(make.failed(record, reason="still", attempts=2))
                    case _:
                        deferred.append((record.id, record.position, "outage"))
            writer.add(BatchResult(batch=batch, passed=passed, quarantined=failed, deferred=deferred))
        retried = writer.commit(len(batches))
        written = merge_retry(base, retried, releases.folder("reviews", "", handle.run_id))
        return concluded(handle, written), written

    return retry


def test_rows_come_back_as_records_of_the_source(ran, make):
    replay = rows_for_retry(ran("pfxff"))
    assert (replay.ids, replay.positions) == (["r1", "r3", "r4"], [1, 3, 4])
    assert replay.table.schema.equals(make.source)
    first, second = replay.batches(2)
    assert (first.index, second.index) == (0, 1)
    assert second.records[0] == Record(id="r4", position=4, row=0, columns={"id": 4, "text": "text 4"})
    assert first.table.num_rows == 2


def test_types_come_back_exactly(make, ran, ledger, releases, concluded):
    schema = pa.schema(
        [
            ("d", pa.decimal128(30, 10)),
            ("t", pa.timestamp("ns", "UTC")),
            ("n", pa.list_(pa.struct([("a", pa.int8())]))),
            ("b", pa.binary()),
            ("f", pa.float64()),
            ("z", pa.null()),
        ]
    )
    row = {
        "d": decimal.Decimal("1.0000000001"),
        "n": [{"a": 1}, None],
        "b": b"\xff",
        "f": float("nan"),
        "z": None,
    }
    table = pa.RecordBatch.from_pylist([row], schema=schema)
    table = table.set_column(
        1, schema.field("t"), pa.array([1_700_000_000_123_456_789], schema.field("t").type)
    )
    record = Record(id="a", position=0, row=0, columns=row)
    handle = ledger.begin_run("reviews", "", "f")
    writer = make.writer(releases.folder("reviews", "", handle.run_id), source=schema)
    batch = Batch(index=0, table=table, records=[record])
    writer.add(BatchResult(batch=batch, passed=[], quarantined=[make.failed(record)]))
    snapshot = concluded(handle, writer.commit(1))
    [back] = rows_for_retry(snapshot).batches(10)
    assert back.table.schema.equals(schema)
    for name in ("d", "t", "n", "b", "z"):
        assert back.table.column(name).equals(table.column(name)), name
    assert str(back.table.column("f")[0]) == "nan"


def test_only_what_can_be_tried_again_is(ran):
    base = ran("pfx")
    assert rows_for_retry(base, ["r1"]).ids == ["r1"]
    with pytest.raises(Misconfigured, match=r"not in quarantine.*: r0, r9"):
        rows_for_retry(base, ["r1", "r0", "r9"])
    with pytest.raises(Misconfigured, match="cannot be tried again: x2: these rows were refused"):
        rows_for_retry(base, ["x2"])


def test_what_passes_now_joins_the_table_at_its_place(ran, again, releases):
    base = ran("fpffpxpf")
    merged, written = again(base, None, "pfpp")
    assert ids(merged.transformed) == ["r0", "r1", "r3", "r4", "r6", "r7"]
    labels = dict(zip(ids(merged.transformed), ids(merged.transformed, "label"), strict=True))
    assert labels == {
        "r0": "mended",
        "r1": "good",
        "r3": "mended",
        "r4": "good",
        "r6": "good",
        "r7": "mended",
    }
    assert ids(merged.quarantine, "record_id") == ["r2", "x5"]
    assert ids(merged.quarantine, "reason") == ["still", "null key"]
    assert (written.passed, written.quarantined, written.source_errors) == (6, 2, 1)
    assert releases.latest("reviews").id == merged.id
    assert ids(base.transformed) == ["r1", "r4", "r6"]  # the old snapshot is as it was


def test_each_row_says_which_run_it_is_of(ran, again):
    base = ran("fpf")
    merged, _ = again(base, ["r0"], "p")
    assert ids(merged.transformed, "_loom_run_id") == [merged.id, base.id]
    assert ids(merged.quarantine, "run_id") == [base.id]


def test_records_that_were_not_tried_or_not_settled_stay_as_they_were(ran, again):
    base = ran("ffff")
    merged, _ = again(base, ["r1", "r2", "r3"], "fdp")
    assert ids(merged.quarantine, "record_id") == ["r0", "r1", "r2"]
    assert ids(merged.quarantine, "reason") == ["quality 0.10 < 0.50", "still", "quality 0.10 < 0.50"]
    assert ids(merged.transformed) == ["r3"]


def test_a_merged_snapshot_can_be_tried_again(ran, again):
    merged, _ = again(ran("fpfpf"), ["r2"], "p")
    assert rows_for_retry(merged).ids == ["r0", "r4"]
    last, _ = again(merged, None, "pp")
    assert ids(last.transformed) == ["r0", "r1", "r2", "r3", "r4"]
    assert ids(last.quarantine, "record_id") == []
    with pytest.raises(Misconfigured):
        rows_for_retry(last, ["r0"])


def test_deferred_records_are_still_deferred_after_a_merge(ran, again):
    base = ran("fdpf")
    merged, written = again(base, ["r0"], "p")
    assert ids(merged.transformed) == ["r0", "r2"]
    assert ids(written.deferred_path, "record_id") == ["r1"]
    assert merged.counts["extracted"] == 4


def test_the_data_version_changes_only_with_the_data(ran, again):
    base = ran("pf")
    same, _ = again(base, None, "f")
    assert same.data_version == base.data_version
    more, _ = again(same, None, "p")
    assert more.data_version != base.data_version


def test_across_many_row_groups_the_order_holds(ran, again):
    fates = "".join("f" if i % 97 == 3 else "p" for i in range(17_000))
    base = ran(fates, size=1_000)
    merged, _ = again(base, None, "p" * fates.count("f"))
    assert ids(merged.transformed) == [f"r{i}" for i in range(17_000)]


def test_a_new_output_column_joins_and_a_changed_type_is_refused_before_spending(ran, make):
    base = ran("pf")
    more = check_replay(
        base, make.source, make.output.append(pa.field("extra", pa.string())), ["quality", "new"]
    )
    assert more.names[-2:] == ["extra", "_loom_score_new"]
    with pytest.raises(Misconfigured, match=r"its columns have changed since.*run it whole"):
        check_replay(base, make.source, pa.schema([("label", pa.int64())]), ["quality"])


def test_rows_of_both_shapes_lie_in_one_table(ran, make, state):
    base = ran("pf")
    replay = rows_for_retry(base)
    output = make.output.append(pa.field("extra", pa.string()))
    writer = make.writer(state / "scratch" / "r", source=replay.table.schema, output=output, run_id="later")
    [batch] = replay.batches(5)
    passed = make.passed(batch.records[0], output={"label": "a", "weight": 1, "extra": "new"})
    writer.add(BatchResult(batch=batch, passed=[passed]))
    written = merge_retry(base, writer.commit(1), state / "merged")
    assert pq.read_table(written.transformed).select(["label", "extra"]).to_pydict() == {
        "label": ["good", "a"],
        "extra": [None, "new"],
    }
    assert not (state / "scratch" / "r").exists()
