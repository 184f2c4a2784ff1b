from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loom_dagster.extract.identity import Identities
from loom_dagster.records import Quarantined, Record, Stage


def ids(source) -> list[str]:
    return [r.id for b in source.batches() for r in b.records]


def rejected(source) -> list[Quarantined]:
    return [q for b in source.batches() for q in b.rejected]


def test_a_key_is_its_own_text(tmp_path, opened):
    (tmp_path / "a.csv").write_text("id,v\n1,x\n1.0,x\n007,x\n")
    assert ids(opened("a.csv", key="id")) == ["1", "1.0", "007"]
    (tmp_path / "b.jsonl").write_text('{"id":1}\n{"id":1.0}\n{"id":"x"}\n')
    assert ids(opened("b.jsonl", key="id")) == ["1", "1.0", "x"]


def test_several_key_columns_are_a_canonical_list(tmp_path, opened):
    (tmp_path / "a.csv").write_text("day,shop,v\n2026-01-01,5,x\n2026-01-01,,y\n")
    source = opened("a.csv", key=("shop", "day"))
    assert ids(source) == ['[5,"2026-01-01"]']
    assert [(q.kind, q.reason) for q in rejected(source)] == [("null_key", "key `shop` is null or empty")]


def test_without_a_key_the_content_counts_not_the_order_of_columns(tmp_path, opened):
    (tmp_path / "a.jsonl").write_text('{"x":1,"y":"é"}\n{"y":"é","x":1}\n{"x":2,"y":"é"}\n')
    (tmp_path / "b.csv").write_text("y,x\né,2\né,1\n")
    first, again, other = ids(opened("a.jsonl"))
    assert first.startswith("h1:") and "#" not in first and again == f"{first}#2"
    assert ids(opened("b.csv")) == [other, first]


def test_the_hash_of_a_row_is_for_ever(tmp_path):
    # a change here gives every record without a key a new identity: then it is h2
    [record] = Identities((), tmp_path).identify([(0, {"b": None, "a": "é", "n": 1.5})])
    assert record.id == "h1:f6af0a0faffbee9b1e495cbd5038eecb"


def test_nulls_nan_and_empty_texts_are_no_keys(tmp_path, opened):
    pq.write_table(
        pa.table({"id": [1.5, None, float("nan"), None], "v": ["a", "b", "c", "b"]}), tmp_path / "a.parquet"
    )
    source = opened("a.parquet", key="id")
    assert ids(source) == ["1.5"]
    found = rejected(source)
    assert [q.position for q in found] == [1, 2, 3]
    assert {q.kind for q in found} == {"null_key"} and {q.stage for q in found} == {Stage.EXTRACT}
    assert len({q.id for q in found}) == 3 and found[2].id == f"{found[0].id}#2"
    assert found[0].source == {"id": None, "v": "b"}
    (tmp_path / "b.csv").write_text('id,v\n"",x\na,x\n')
    assert [q.kind for q in rejected(opened("b.csv", key="id"))] == ["null_key"]


def test_the_first_of_a_repeated_key_wins_across_batches(tmp_path, opened):
    (tmp_path / "a.csv").write_text("id,v\na,1\nb,2\na,3\nc,4\na,5\n")
    for size in (1, 2, 1000):
        source = opened("a.csv", key="id", batch_size=size)
        assert ids(source) == ["a", "b", "c"]
        found = rejected(source)
        assert [(q.id, q.position, q.kind, q.source["v"]) for q in found] == [
            ("a#2", 2, "repeated_key", 3),
            ("a#3", 4, "repeated_key", 5),
        ]
        assert found[0].reason == "key id = a occurs again (number 2)"


def test_keys_that_look_like_our_marks_stay_unique(tmp_path, opened):
    keys = ["a", "a", "a#2", "a#2", "a#2#2", "~null:x", "~raw:y", "a#1", "a"]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"id": k}) + "\n" for k in keys))
    source = opened("a.jsonl", key="id")
    everyone = ids(source) + [q.id for q in rejected(source)]
    assert len(set(everyone)) == len(keys)
    assert ids(source)[0] == "a"


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.none(), st.text("a#12~", max_size=4)), max_size=40), st.integers(1, 7))
def test_every_row_has_an_id_of_its_own_and_the_same_one_next_time(tmp_path, keys, size):
    def run() -> list[Record | Quarantined]:
        identities = Identities(("k",), tmp_path)
        rows = [(i, {"k": k}) for i, k in enumerate(keys)]
        found = [f for at in range(0, len(rows), size) for f in identities.identify(rows[at : at + size])]
        identities.close()
        return found

    found = run()
    assert len({f.id for f in found}) == len(keys) and [f.position for f in found] == list(range(len(keys)))
    assert [f.id for f in run()] == [f.id for f in found]


def test_rows_of_a_pipelines_table_keep_their_ids_and_lose_its_columns(tmp_path, opened):
    table = pa.table({"id": [1, 2], "_loom_record_id": ["one", "two"], "_loom_run_id": ["r", "r"]})
    pq.write_table(table, tmp_path / "t.parquet")
    source = opened("pipeline://other", resolved=str(tmp_path / "t.parquet"))
    [batch] = source.batches()
    assert [r.id for r in batch.records] == ["one", "two"]
    assert (
        batch.table.schema.names == ["id"]
        and source.schema.names == ["id"]
        and batch.records[0].columns == {"id": 1}
    )
    assert ids(opened("pipeline://other", resolved=str(tmp_path / "t.parquet"), key="id")) == ["1", "2"]
