"""Messages become rows whose columns stay as they are, and what does not fit is set aside with its reason."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from loom_dagster.connectors.streams import Message, MessageReader


def messages(*values) -> list[Message]:
    texts = [value if isinstance(value, bytes) else json.dumps(value).encode() for value in values]
    return [Message(id=f"{n}-0", value=text) for n, text in enumerate(texts)]


def read(reader: MessageReader, *values):
    [chunk] = reader.rows(messages(*values)).chunks()
    return chunk


def test_the_message_is_the_record_where_there_is_no_key():
    chunk = read(MessageReader("redis://c/s"), {"a": 1}, {"a": 2})
    assert chunk.table.to_pylist() == [{"a": 1, "_loom_record_id": "0-0"}, {"a": 2, "_loom_record_id": "1-0"}]
    assert "_loom_record_id" not in read(MessageReader("redis://c/s", key=["a"]), {"a": 1}).table.schema.names


def test_a_field_that_is_left_out_is_null_also_in_later_batches():
    reader = MessageReader("u", key=["id"])
    assert read(reader, {"id": "a", "n": 1}, {"id": "b"}).table.column("n").to_pylist() == [1, None]
    later = read(reader, {"id": "c"}).table
    assert later.column("n").to_pylist() == [None] and later.schema.field("n").type == pa.int64()


@pytest.mark.parametrize("known", [None, pa.schema([("id", pa.string()), ("n", pa.int64())])])
def test_a_field_keeps_its_kind(known):
    reader = MessageReader("u", key=["id"], known=known)
    if known is None:
        read(reader, {"id": "a", "n": 1})
    chunk = read(reader, {"id": "b", "n": "many"}, {"id": "c", "n": 2.5}, {"id": "d", "n": None}, {"id": 5})
    assert chunk.table.column("n").to_pylist() == [2.5, None, None]
    assert chunk.table.column("id").to_pylist() == ["c", "d", "5"]  # a text takes everything
    [unreadable] = chunk.unreadable
    assert (unreadable.offset, unreadable.reason) == (
        0,
        "message 0-0: its field `n` is a text, and it was a number before",
    )


def test_what_is_no_row_is_set_aside_with_its_text():
    reader = MessageReader("u", wanted=frozenset({"text"}), taken=frozenset({"label"}))
    chunk = read(
        reader,
        {"text": "good"},
        b"\xff{",
        [1],
        {"text": None},
        {"text": "x", "_loom_run_id": 1},
        {"text": "x", " ": 1},
        {"text": "x", "label": 1},
    )
    assert chunk.table.num_rows == 1
    assert [row.offset for row in chunk.unreadable] == [1, 2, 3, 4, 5, 6]
    reasons = [row.reason.partition(": ")[2] for row in chunk.unreadable]
    assert reasons[1:] == [
        "a list, not an object",
        "it has nothing to ask about, no text",
        "its field `_loom_run_id` is named like ours (`_loom_`)",
        "it has a field without a name",
        "its field `label` is called like an output column",
    ]
    assert chunk.unreadable[1].raw == "[1]"


def test_declared_columns_are_all_that_is_read():
    reader = MessageReader("u", columns=["id", "text"], key=["id"], taken=frozenset({"label"}))
    chunk = read(reader, {"id": 1, "label": "theirs", "other": []}, {"id": 2, "text": "x"})
    assert chunk.table.to_pylist() == [{"id": 1, "text": None}, {"id": 2, "text": "x"}]
    assert reader.names(messages({"id": 1, "other": 2})) == ["id", "text"]


def test_the_columns_that_a_pipeline_has_to_fit():
    reader = MessageReader("u", taken=frozenset({"label"}))
    assert reader.names(messages({"a": 1}, {"b": 1, "label": 1}, b"{")) == ["a", "b"]
    assert reader.names(messages({"a": 1, "label": 1}, b"{")) == ["a", "label"]


def test_a_batch_ends_before_a_key_comes_again():
    reader = MessageReader("u", key=["id"])
    many = messages({"id": 1}, {"id": 2}, b"{", {"other": 1}, {"other": 2}, {"id": 1}, {"id": 3})
    assert reader.until_repeated(many) == 5
    assert reader.until_repeated(many[5:]) == 2
    assert MessageReader("u").until_repeated(many) == 7
