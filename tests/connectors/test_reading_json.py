from __future__ import annotations

import json

import pyarrow as pa
import pytest

from loom_dagster.errors import Misconfigured


def test_lines_with_nested_values_and_unicode(files, read):
    lines = [
        {"id": 1, "tags": ["a", "é"], "who": {"name": "Ö"}},
        {"id": 2, "tags": [], "who": None, "new": True},
    ]
    schema, rows, bad = read(files(a__jsonl="\n\n".join(json.dumps(x) for x in lines).encode()))
    assert rows == [
        {"id": 1, "tags": ["a", "é"], "who": {"name": "Ö"}, "new": None},
        {"id": 2, "tags": [], "who": None, "new": True},
    ]
    assert schema.field("tags").type == pa.list_(pa.string()) and not bad


@pytest.mark.parametrize("as_array", [False, True])
def test_one_type_for_each_column(files, read, as_array):
    rows_in = [
        {"n": 1, "m": 1, "x": 1, "deep": {"a": 1}, "list": [1], "big": 2**53 + 1, "huge": 2**70, "e": {}},
        {"n": 2.5, "m": 2, "x": "two", "deep": {"b": "y"}, "list": ["z"], "big": 0.5, "huge": 1, "e": {}},
        {"n": None, "m": 2**60, "x": [3], "deep": None, "list": None, "big": None, "huge": None, "e": None},
    ]
    text = json.dumps(rows_in) if as_array else "\n".join(json.dumps(r) for r in rows_in)
    name = "a__json" if as_array else "a__jsonl"
    schema, rows, _ = read(files(**{name: text.encode()}))
    assert {f.name: str(f.type) for f in schema} == {
        "n": "double",
        "m": "int64",
        "x": "string",
        "deep": "struct<a: int64, b: string>",
        "list": "list<item: string>",
        "big": "string",
        "huge": "string",
        "e": "string",
    }
    assert [r["x"] for r in rows] == ["1", "two", "[3]"]
    assert [r["big"] for r in rows] == [str(2**53 + 1), "0.5", None]
    assert [r["huge"] for r in rows] == [str(2**70), "1", None]
    assert rows[0]["deep"] == {"a": 1, "b": None} and rows[0]["list"] == ["1"] and rows[2]["m"] == 2**60


def test_a_key_column_tells_one_from_one_point_zero(files, read):
    _, rows, _ = read(files(a__jsonl=b'{"k":1}\n{"k":1.0}\n'), exact={"k"})
    assert [r["k"] for r in rows] == ["1", "1.0"]


def test_lines_that_are_no_object_are_kept_with_their_number(files, read):
    data = b'{"a":1}\n\n[1]\n{"a":\n"text"\n{"a":NaN}\n{"a":"\\ud800"}\n{"a":"\xff"}\n{"a":2}'
    _, rows, bad = read(files(a__jsonl=data))
    assert [r["a"] for r in rows] == [1, 2]
    assert [b.offset for b in bad] == [1, 2, 3, 4, 5, 6]
    assert bad[0].reason == "line 3: a list, not an object" and bad[0].raw == "[1]"
    assert bad[5].raw == '{"a":"\\xff"}'


def test_nesting_beyond_reason_is_no_crash(files, read):
    deep = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    middling = b'{"a":' + b"[" * 60 + b"]" * 60 + b"}"
    _, rows, bad = read(files(a__jsonl=deep + b"\n" + middling + b'\n{"b":1}\n'))
    assert len(bad) == 1 and len(rows) == 2
    with pytest.raises(Misconfigured, match="nested too deeply"):
        read(files(a__json=b"[" * 100_000 + b"]" * 100_000))


def test_an_array_is_read_element_by_element_whatever_stands_between(files, read):
    _, rows, bad = read(
        files(a__json=b'\xef\xbb\xbf [ {"a": 1} ,\n\t{"a": 2}\r\n, 12345, {"a": NaN}, {"a":3} ] \n')
    )
    assert [r["a"] for r in rows] == [1, 2, 3]
    assert [(b.offset, b.raw) for b in bad] == [(2, "12345"), (3, '{"a": NaN}')]


def test_elements_larger_than_the_buffer(files, read):
    big = [{"i": i, "t": "é" * 400_000} for i in range(3)]
    _, rows, _ = read(files(a__json=json.dumps(big, ensure_ascii=False).encode()))
    assert rows == big


def test_a_single_object_is_one_row(files, read):
    assert read(files(a__json=b' {"a": [1,\n 2]} '))[1] == [{"a": [1, 2]}]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'[{"a":1},{"a":2}', "it ends too early"),
        (b'[{"a":1},{"a":', "it ends too early"),
        (b'[{"a":1} {"a":2}]', "where a comma should be"),
        (b'{"a":1}\n{"a":2}\n', "extract.format: jsonl"),
        (b'[{"a":1}] x', "more after its end"),
        (b"hello", "Expecting value"),
        (b'[{"a":1}, oops]', "Expecting value"),
    ],
)
def test_broken_files_say_where(files, read, data, message):
    with pytest.raises(Misconfigured) as caught:
        read(files(a__json=data))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_empty_ones(files, read):
    assert read(files(a__json=b"[]"))[:2] == (pa.schema([]), [])
    assert read(files(a__jsonl=b"\n \n"))[:2] == (pa.schema([]), [])
    assert len(read(files(a__jsonl=b"{}\n{}\n"))[1]) == 2


def test_other_encodings(files, read):
    lines = '{"a":"ü\u2028ü"}\n{"a":"b"}\n'
    for encoding in ("utf-8-sig", "utf-16", "latin-1"):
        text = lines if encoding != "latin-1" else lines.replace("\u2028", "")
        _, rows, _ = read(files(a__jsonl=text.encode(encoding)), encoding=encoding)
        assert [r["a"] for r in rows] == [json.loads(line)["a"] for line in text.strip().split("\n")]


def test_text_with_line_separators_of_other_worlds_stays_one_line(files, read):
    _, rows, bad = read(files(a__jsonl='{"a":"x\u2028\x85y"}\n'.encode()))
    assert rows == [{"a": "x\u2028\x85y"}] and not bad
