from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.connectors.files.formats import Chunk, Unreadable
from loom_dagster.errors import Misconfigured
from loom_dagster.extract.batching import rebatched


def chunk(rows: int, bad: tuple[int, ...] = ()) -> Chunk:
    table = pa.RecordBatch.from_pylist(
        [{"x": i} for i in range(rows - len(bad))], schema=pa.schema({"x": pa.int64()})
    )
    return Chunk(table=table, unreadable=[Unreadable(offset=b, raw="", reason="") for b in bad])


@pytest.mark.parametrize(("limit", "sizes"), [(None, [4, 4, 4, 1]), (5, [4, 1]), (4, [4]), (0, [])])
def test_chunks_of_any_size_become_batches_of_one(limit, sizes):
    found = list(rebatched([chunk(1), chunk(9, (0, 8)), chunk(3, (0, 1, 2))], 4, limit))
    assert [c.rows for c in found] == sizes
    if limit is None:
        assert [[u.offset for u in c.unreadable] for c in found] == [[1], [], [1, 2, 3], [0]]


def test_large_rows_make_small_batches():
    table = pa.RecordBatch.from_pydict({"t": ["x" * 5_000_000] * 20})
    sizes = [(c.rows, c.table.nbytes) for c in rebatched([Chunk(table=table)], 1000)]
    assert sum(rows for rows, _ in sizes) == 20 and max(size for _, size in sizes) <= 40_000_000


def test_positions_count_every_row_and_tables_hold_the_records(tmp_path, opened):
    (tmp_path / "a.csv").write_text("id,v\na,1\nbad\na,2\n,3\nb,4\nc,5\nbad,6,7\n")
    (tmp_path / "b.csv").write_text("id,v\nd,8\n")
    for size in (1, 2, 3, 100):
        source = opened("*.csv", key="id", batch_size=size)
        batches = list(source.batches())
        assert [b.index for b in batches] == list(range(len(batches)))
        assert [(r.id, r.position) for b in batches for r in b.records] == [
            ("a", 0),
            ("b", 4),
            ("c", 5),
            ("d", 7),
        ]
        found = [(q.position, q.kind) for b in batches for q in b.rejected]
        assert found == [(1, "unreadable_row"), (2, "repeated_key"), (3, "null_key"), (6, "unreadable_row")]
        for batch in batches:
            assert batch.table.to_pylist() == [r.columns for r in batch.records]
            assert [r.row for r in batch.records] == list(range(len(batch.records)))


def test_unreadable_rows_keep_their_text_and_an_id_each(tmp_path, opened):
    (tmp_path / "a.jsonl").write_bytes(b'{"id":1}\noops\n{"id":2}\noops\n')
    [batch] = opened("a.jsonl").batches()
    first, second = batch.rejected
    assert (
        first.source == {"_raw": "oops"}
        and first.kind == "unreadable_row"
        and first.reason.startswith("line 2: ")
    )
    assert first.id.startswith("~raw:") and second.id == f"{first.id}#2"


def test_a_limit_counts_rows_and_a_second_reading_starts_anew(tmp_path, opened):
    (tmp_path / "a.csv").write_text("id\n" + "".join(f"{i}\n" for i in range(100)))
    source = opened("a.csv", key="id", batch_size=30)
    assert sum(len(b.records) for b in source.batches(limit=45)) == 45
    assert sum(len(b.records) for b in source.batches()) == 100


def test_nothing_is_left_in_scratch_even_when_reading_stops_half_way(tmp_path, opened):
    (tmp_path / "a.csv").write_text("id\n" + "".join(f"{i}\n" for i in range(100)))
    source = opened("a.csv", batch_size=10)
    next(source.batches())
    assert [p.name for p in (tmp_path / "scratch").iterdir()] == []
    source.close()


def test_a_file_that_grows_while_it_is_read_stops_the_run(tmp_path, opened):
    path = tmp_path / "a.csv"
    path.write_text("id\n" + "".join(f"{i}\n" for i in range(10)))
    source = opened("a.csv")
    path.write_text("id\nnot a number\n")
    with pytest.raises(Misconfigured, match=r"a\.csv changed while being read"):
        list(source.batches())
    source = opened("a.csv")
    with path.open("a") as stream:
        stream.write("more\n")
    with pytest.raises(Misconfigured, match="changed while being read"):
        list(source.batches())


def test_values_are_plain_python(tmp_path, opened):
    table = pa.table(
        {"t": pa.array([1], pa.timestamp("ns")), "d": pa.array(["x"]).dictionary_encode(), "n": [[{"a": 1}]]}
    )
    pq.write_table(table, tmp_path / "a.parquet")
    [batch] = opened("a.parquet").batches()
    assert batch.records[0].columns == {"t": "1970-01-01 00:00:00.000000001", "d": "x", "n": [{"a": 1}]}
    assert batch.table.schema.field("t").type == pa.timestamp("ns")


def test_sources_on_other_file_systems(tmp_path, opened):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe({"/ex/a.csv": b"id,t\n1,x\n", "/ex/b.csv": b"id,t\n2,y\n"})
    assert [r.id for b in opened("memory://ex/*.csv", key="id").batches() for r in b.records] == ["1", "2"]
    memory.rm("/ex", recursive=True)
