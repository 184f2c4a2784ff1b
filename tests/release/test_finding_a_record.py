"""A record is found by its id in any snapshot, with an index or without, and nothing else is taken for it."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.errors import Misconfigured
from loom_dagster.release import row_index
from loom_dagster.release.finding import find_record, has_record
from loom_dagster.release.row_index import IndexFile, index_of, rows_in_index
from loom_dagster.release.table_file import TableFile


def test_every_record_is_found_where_it_is(make, tmp_path):
    folder = make.written(tmp_path / "run-1", "pfdxppfdx").transformed.parent
    for at, fate in enumerate("pfdxppfdx"):
        found = find_record(folder, f"{'x' if fate == 'x' else 'r'}{at}")
        assert found.table == {"p": "transformed", "d": "deferred"}.get(fate, "quarantine")
        source = {"id": at, "text": f"text {at}"}
        made = {"label": "good", "weight": at}
        assert found.kept == {"p": {**source, **made}, "f": source}.get(fate)
    assert find_record(folder, "r99") is None
    assert find_record(folder, "r\udc80") is None
    assert has_record(folder, "r0") == "transformed"
    assert has_record(folder, "r99") is None


@pytest.mark.parametrize("break_it", ["gone", "short", "other", "a row", "half"])
def test_without_a_usable_index_the_table_is_read(make, tmp_path, break_it):
    folder = make.written(tmp_path / "run-1", "pfpppf").transformed.parent
    for path in folder.glob("*.idx"):
        if break_it == "gone":
            path.unlink()
        else:
            held = path.read_bytes()
            cut = {
                "short": held[:-1],
                "other": b"otherfmt" + held[8:],
                "a row": held[:-12],
                "half": held[:44],
            }
            path.write_bytes(cut[break_it])
    assert find_record(folder, "r4").row["_loom_record_id"] == "r4"
    assert find_record(folder, "r1").kept == {"id": 1, "text": "text 1"}
    assert find_record(folder, "nobody") is None
    assert has_record(folder, "r4") is None or break_it in ("a row", "half")


def test_an_index_that_names_rows_that_are_not_there_is_no_reason_to_fail(make, tmp_path):
    folder = make.written(tmp_path / "run-1", "pppp").transformed.parent
    path = folder / "transformed.idx"
    path.write_bytes(path.read_bytes()[: 8 + 4 * 8] + b"\xff" * 16)
    assert find_record(folder, "r2") is None


@pytest.mark.parametrize("left", [0, 100, -50])
def test_a_damaged_table_is_said_to_be_one(make, tmp_path, left):
    table = make.written(tmp_path / "run-1", "pppp").transformed
    table.write_bytes(table.read_bytes()[:left])
    with pytest.raises(Misconfigured, match="cannot be read") as told:
        find_record(table.parent, "r2")
    assert told.value.where == str(table.parent)


def test_a_snapshot_whose_files_are_gone_has_no_record(tmp_path):
    assert find_record(tmp_path / "nowhere", "r1") is None


def test_an_index_of_many_pieces_finds_every_row(tmp_path, monkeypatch):
    monkeypatch.setattr(row_index, "_PIECE", 100)
    ids = [f"id {i}" for i in range(1_037)]
    index = IndexFile(tmp_path / "t.parquet")
    for start in range(0, len(ids), 333):
        index.append(ids[start : start + 333])
    index.finish()
    assert index_of(tmp_path / "t.parquet").stat().st_size == 8 + 12 * len(ids)
    for row, record_id in enumerate(ids):
        assert rows_in_index(tmp_path / "t.parquet", record_id) == [row]
    assert rows_in_index(tmp_path / "t.parquet", "id 1037") == []


def test_two_ids_with_one_hash_are_told_apart(make, tmp_path, monkeypatch):
    monkeypatch.setattr(row_index, "blake2b", lambda text, digest_size: _Same())
    folder = make.written(tmp_path / "run-1", "ppppff").transformed.parent
    for record_id in ("r0", "r3", "r5"):
        row = find_record(folder, record_id).row
        assert record_id in (row.get("_loom_record_id"), row.get("record_id"))
    assert find_record(folder, "r9") is None


def test_the_row_is_the_right_one_whichever_group_holds_it(tmp_path, monkeypatch):
    monkeypatch.setattr("loom_dagster.release.table_file._GROUP_ROWS", 10)
    schema = pa.schema([("_loom_record_id", pa.string()), ("n", pa.int64())])
    file = TableFile(tmp_path / "transformed.parquet", schema)
    for start in range(0, 95, 7):
        numbers = list(range(start, min(start + 7, 95)))
        file.append(
            pa.RecordBatch.from_pydict({"_loom_record_id": [f"r{n}" for n in numbers], "n": numbers}, schema)
        )
    file.finish()
    assert pq.read_metadata(tmp_path / "transformed.parquet").num_row_groups > 5
    for n in range(95):
        assert find_record(tmp_path, f"r{n}").kept == {"n": n}


class _Same:
    def digest(self) -> bytes:
        return b"8 bytes!"
