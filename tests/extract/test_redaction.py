"""What is redacted is a keyed hash from the moment it leaves its source; what goes wrong quotes no row."""

from __future__ import annotations

import re
import traceback
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.connectors import Chunk, Unreadable, place_of
from loom_dagster.errors import Misconfigured, Transient
from loom_dagster.extract import Redactor, Source, open_source
from loom_dagster.extract.redaction import RedactedRows, discreetly
from loom_dagster.spec.models import Extract

HASH = re.compile(r"redacted:[0-9a-f]{32}")
REDACTOR = Redactor(b"k" * 32)


class Given:
    """Rows as a source gives them."""

    uri, files = "here", {}

    def __init__(self, table, unreadable=()):
        self.table, self.schema, self.unreadable = table, table.schema, unreadable

    def chunks(self):
        yield Chunk(table=self.table, unreadable=self.unreadable)

    def close(self):
        pass


def redacted(columns, *paths, unreadable=()):
    table = columns if isinstance(columns, pa.RecordBatch) else pa.RecordBatch.from_pydict(columns)
    rows = RedactedRows(Given(table, unreadable), paths, REDACTOR)
    [chunk] = rows.chunks()
    assert chunk.table.schema == rows.schema
    return chunk


def test_equal_values_stay_equal_and_nothing_else_changes():
    table = redacted({"email": ["a@x", "b@x", "a@x", None, ""], "n": [1, 2, 3, 4, 5]}, "email").table
    one, other, again, missing, empty = table.column("email").to_pylist()
    assert HASH.fullmatch(one)
    assert (one == again, one == other, missing, empty) == (True, False, None, "")
    assert table.column("n").to_pylist() == [1, 2, 3, 4, 5]


def test_without_the_key_a_value_cannot_be_looked_up():
    assert Redactor(b"1" * 32).text("a@x") != Redactor(b"2" * 32).text("a@x")
    assert Redactor(b"1" * 32).identity != Redactor(b"2" * 32).identity


def test_what_was_redacted_before_stays_so_that_pipelines_join():
    once = REDACTOR.text("a@x")
    assert REDACTOR.text(once) == once
    assert REDACTOR.text(f"{once} ") != f"{once} "


@pytest.mark.parametrize(
    "values",
    [
        pa.array([493012345678]),
        pa.array([Decimal("12.50")]),
        pa.array([date(2026, 11, 21)]),
        pa.array([datetime(2026, 11, 21, tzinfo=UTC)], pa.timestamp("ns", "UTC")),
        pa.array([1.5]),
        pa.array([b"bytes"]),
        pa.array([["a", "b"]]),
        pa.array([{"a": 1}]),
        pa.array(["packed"]).dictionary_encode(),
        pa.array(["large"], pa.large_string()),
    ],
    ids=str,
)
def test_any_kind_of_column_becomes_a_text(values):
    column = redacted(pa.RecordBatch.from_arrays([values], ["x"]), "x").table.column("x")
    assert column.type == pa.string()
    assert HASH.fullmatch(column[0].as_py())


def test_a_number_and_its_text_are_equal():
    [one] = redacted({"phone": [4930123]}, "phone").table.column("phone").to_pylist()
    assert one == REDACTOR.text("4930123")


PEOPLE = [{"name": "n", "contact": {"email": "a@x"}}, None, {"name": "m", "contact": {"email": None}}]


def test_a_field_of_an_object_is_redacted_where_it_is():
    [first, second, third] = redacted({"who": PEOPLE}, "who.contact.email").table.column("who").to_pylist()
    assert first == {"name": "n", "contact": {"email": REDACTOR.text("a@x")}}
    assert (second, third) == (None, {"name": "m", "contact": {"email": None}})


def test_a_field_of_json_that_is_kept_as_text_is_redacted_and_what_is_no_object_goes_whole():
    texts = ['{"email":"a@x","n":1}', '[{"email":"a@x"}]', '"a@x"', "a@x", '{"n":1}', None]
    found = redacted({"who": texts}, "who.email").table.column("who").to_pylist()
    hidden = REDACTOR.text("a@x")
    assert found[0] == f'{{"email":"{hidden}","n":1}}'
    assert found[1] == f'[{{"email":"{hidden}"}}]'
    assert HASH.fullmatch(found[2])
    assert found[3:] == [hidden, '{"n":1}', None]


def test_a_column_with_a_dot_in_its_name_is_that_column():
    assert HASH.fullmatch(redacted({"a.b": ["x"]}, "a.b").table.column("a.b")[0].as_py())


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("emial", "did you mean `email`"),
        ("zzz", "no column `zzz`"),
        ("who.nmae", "did you mean `name`"),
        ("who.name.first.last", None),
        ("n.x", "redact all of it: `n`"),
        ("many.name", "redact all of it: `many`"),
        ("_loom_record_id", "no column `_loom_record_id`"),
    ],
)
def test_a_column_that_is_not_there_is_an_error_with_the_nearest_one(path, said):
    columns = {
        "email": ["a@x"], "who": [{"name": "n"}], "n": [1], "many": [[{"name": "n"}]], "_loom_record_id": ["r"],
    }  # fmt: skip
    if said is None:
        redacted(columns, path)  # a text may hold JSON
        return
    with pytest.raises(Misconfigured) as told:
        redacted(columns, path)
    assert said in str(told.value)
    assert "a@x" not in str(told.value)


def test_of_a_row_that_cannot_be_read_only_a_hash_is_kept():
    rows = [Unreadable(offset=0, raw="17,bob@x", reason="3 fields expected: 17,bob@x")]
    [row] = redacted({"email": ["a@x"]}, "email", unreadable=rows).unreadable
    assert HASH.fullmatch(row.raw)
    assert "bob" not in row.reason


def test_ids_of_another_pipeline_that_hold_the_value_are_hashed_too():
    ids = ["a@x", '["a@x",7]', "r3", None, '["q\\"@x"]']
    columns = {"email": ["a@x", "a@x", "a@x", "a@x", 'q"@x'], "_loom_record_id": ids}
    found = redacted(columns, "email").table.column("_loom_record_id").to_pylist()
    assert found[0] == REDACTOR.text("a@x")
    assert HASH.fullmatch(found[1])
    assert found[2:4] == ["r3", None]
    assert HASH.fullmatch(found[4])


def test_errors_keep_their_class_and_lose_the_words_that_may_quote_a_row():
    def broken(error):
        def work():
            try:
                raise ValueError("bob@x")
            except ValueError as cause:
                raise error from cause

        return work

    for error, kind in (
        (Misconfigured("it cannot be read", why="near 'bob@x'", kind="database"), Misconfigured),
        (Transient("it is away", why="no answer", retry_after=3.0), Transient),
        (ValueError("could not convert 'bob@x'"), Misconfigured),
    ):
        with pytest.raises(kind) as told:
            discreetly(broken(error))
        assert "bob" not in "".join(traceback.format_exception(told.value))
        assert "bob" not in repr(vars(told.value))
        assert told.value.__context__ is None
        assert getattr(told.value, "retry_after", None) in (None, 3.0)


def test_a_source_without_a_key_for_its_hashes_is_never_read(tmp_path):
    pq.write_table(pa.table({"email": ["a@x"]}), tmp_path / "a.parquet")
    extract = Extract(source="a.parquet", redact=("email",))
    with pytest.raises(Misconfigured, match="needs a key"):
        open_source(extract, place_of("a.parquet", tmp_path), batch_size=10, scratch=tmp_path / "s")
    with pytest.raises(Misconfigured, match="needs a key"):
        Source(
            Given(pa.RecordBatch.from_pydict({"email": []})), extract, key=(), batch_size=1, scratch=tmp_path
        )


def test_a_redacted_key_makes_the_records_id(tmp_path):
    pq.write_table(pa.table({"email": ["a@x", "b@x", "a@x", None]}), tmp_path / "a.parquet")
    extract = Extract(source="a.parquet", key=("email",), redact=("email",))
    source = open_source(
        extract, place_of("a.parquet", tmp_path), batch_size=10, scratch=tmp_path / "s", redactor=REDACTOR
    )
    [batch] = source.batches()
    source.close()
    assert [r.id for r in batch.records] == [REDACTOR.text("a@x"), REDACTOR.text("b@x")]
    assert [r.kind for r in batch.rejected] == ["repeated_key", "null_key"]
    assert "a@x" not in repr(batch.rejected)
