from __future__ import annotations

import gzip

import pyarrow as pa
import pytest

from loom_dagster.errors import Misconfigured


def types(schema: pa.Schema) -> dict[str, str]:
    return {f.name: str(f.type) for f in schema}


def test_types_are_narrowed_only_where_nothing_is_lost(files, read):
    found = files(
        a__csv=b"n,zero,price,flag,when,big,long,mix,none\n"
        b"1,0123,1.5,true,2026-01-01,99999999999999999999,0.12345678901234567890,1,\n"
        b"-20,7,2,false,2026-01-02,1,1.5,x,\n"
    )
    schema, rows, bad = read(found)
    assert types(schema) == {
        "n": "int64",
        "zero": "string",
        "price": "double",
        "flag": "bool",
        "when": "string",
        "big": "string",
        "long": "string",
        "mix": "string",
        "none": "null",
    }
    assert (
        rows[0]["n"] == 1
        and rows[0]["zero"] == "0123"
        and rows[1]["price"] == 2.0
        and rows[0]["flag"] is True
    )
    assert not bad


def test_the_last_value_of_a_million_still_decides(files, read):
    schema, rows, _ = read(files(a__csv=b"n,t\n" + b"1,a\n" * 50_000 + b"0x1,a\n"))
    assert types(schema)["n"] == "string"
    assert rows[-1]["n"] == "0x1" and rows[0]["n"] == "1" and len(rows) == 50_001


def test_a_key_column_tells_one_from_one_point_zero(files, read):
    found = files(a__csv=b"k,v\n1,1\n1.0,1.0\n")
    schema, rows, _ = read(found, exact={"k"})
    assert types(schema) == {"k": "string", "v": "double"}
    assert [r["k"] for r in rows] == ["1", "1.0"]


def test_empty_is_null_and_quoted_empty_is_the_empty_text(files, read):
    _, rows, _ = read(files(a__csv=b'a,b\n,""\nNA,null\n"",x\n'))
    assert rows == [{"a": None, "b": ""}, {"a": "NA", "b": "null"}, {"a": "", "b": "x"}]


def test_a_quoted_empty_text_keeps_a_column_of_numbers_a_column_of_texts(files, read):
    schema, rows, _ = read(files(a__csv=b'a,b\n1,x\n"",x\n'))
    assert types(schema)["a"] == "string" and [r["a"] for r in rows] == ["1", ""]


def test_newlines_quotes_and_a_byte_order_mark(files, read):
    _, rows, _ = read(files(a__csv='\ufeffid,text\r\n1,"line\r\nnext ""quoted"", ok"\r\n2,é😀\r\n'.encode()))
    assert rows == [{"id": 1, "text": 'line\r\nnext "quoted", ok'}, {"id": 2, "text": "é😀"}]


def test_texts_of_a_megabyte(files, read):
    text = "x" * (1 << 20) + ',"\n'
    quoted = text.replace('"', '""')
    _, rows, _ = read(files(a__csv=("id,t\n" + f'1,"{quoted}"\n' * 20).encode()))
    assert len(rows) == 20 and all(r["t"] == text for r in rows)


def test_rows_with_too_few_or_too_many_fields_are_kept_apart_in_their_place(files, read):
    _, rows, bad = read(files(a__csv=b'a,b\n1,2\n3\n\n4,5,6\n7,"8\n8"\n9\n'))
    assert rows == [{"a": 1, "b": "2"}, {"a": 7, "b": "8\n8"}]
    assert [(b.offset, b.raw) for b in bad] == [(1, "3"), (2, "4,5,6"), (4, "9")]
    assert bad[1].reason == "3 fields where the header has 2"


def test_only_bad_rows(files, read):
    _, rows, bad = read(files(a__csv=b"a,b\n1\n2\n"))
    assert not rows and [b.offset for b in bad] == [0, 1]


def test_places_hold_over_many_blocks(files, read, monkeypatch):
    from loom_dagster.connectors.files.formats import csv

    monkeypatch.setattr(csv, "_BLOCKS", (1 << 16,))
    lines = [b"bad" if i % 97 == 5 else b"%d,x%d" % (i, i) for i in range(30_000)]
    _, rows, bad = read(files(a__csv=b"n,t\n" + b"\n".join(lines) + b"\n"))
    assert [b.offset for b in bad] == [i for i in range(30_000) if i % 97 == 5]
    assert [r["n"] for r in rows] == [i for i in range(30_000) if i % 97 != 5]


def test_a_row_that_is_not_utf8_is_one_unreadable_row(files, read):
    schema, rows, bad = read(files(a__csv=b"a,b\n1,ok\n2,\xff\xfe\n3\n4,ok\n"))
    assert [r["a"] for r in rows] == [1, 4] and types(schema)["a"] == "int64"
    assert [(b.offset, b.raw) for b in bad] == [(1, "2,\\xff\\xfe"), (2, "3")]
    assert "extract.encoding" in bad[0].reason


def test_a_torn_row_with_too_few_fields_and_a_torn_end(files, read):
    _, rows, bad = read(files(a__csv=b"a,b\n1,\xc3\xa9\n\xff\xfe\n3,x\n4,\xc3"))
    assert [r["b"] for r in rows] == ["é", "x"]
    assert [(b.offset, b.raw) for b in bad] == [(1, "\\xff\\xfe"), (3, "4,\\xc3")]


def test_empty_lines_before_the_header(files, read):
    assert read(files(a__csv=b"\n\r\na\n1\n\n2\n"))[1] == [{"a": 1}, {"a": None}, {"a": 2}]
    _, rows, bad = read(files(a__csv=b"\n\na,b\n1,2\n3\n"))
    assert rows == [{"a": 1, "b": 2}] and bad[0].offset == 1


def test_other_encodings(files, read):
    for encoding in ("latin-1", "utf-16", "cp1252"):
        _, rows, _ = read(files(a__csv="id,näme\n1,größe\n".encode(encoding)), encoding=encoding)
        assert rows == [{"id": 1, "näme": "größe"}]


@pytest.mark.parametrize(
    ("data", "reading", "message"),
    [
        (b"a,,b\n1,2,3\n", {}, "column 2 of a.csv has no name"),
        (b"a,b,a\n1,2,3\n", {}, "two columns called `a`"),
        (b'a,b\n1,2\n2,"open\n3,4\n5,6\n', {}, "opened and never closed"),
        (b'a,b\n"open,2\n3,4\n', {}, "opened and never closed"),
        ("a,b\n1,2\n".encode("utf-16"), {}, "extract.encoding: utf-16"),
        ("nä,b\n1,2\n".encode("latin-1"), {}, "not UTF-8"),
        (b"a,b\n1,2\n", {"encoding": "klingon"}, "`klingon` is not an encoding"),
        (b"a,b\n1,\x80\x81\n" * 2, {"encoding": "ascii"}, ""),
        ("a,b\n1,é".encode("utf-16")[:-1], {"encoding": "utf-16"}, "not in the encoding expected"),
    ],
)
def test_files_that_are_wrong_as_a_whole(files, read, data, reading, message):
    found = files(a__csv=data)
    if not message:
        assert read(found, **reading)[2]
        return
    with pytest.raises(Misconfigured) as caught:
        read(found, **reading)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_last_field_that_ends_in_a_quoted_newline_is_fine(files, read):
    _, rows, _ = read(files(a__csv=b'a,b\n1,"x\ny"\n\n'))
    assert rows == [{"a": 1, "b": "x\ny"}]


def test_a_row_beyond_the_block_is_named(files, read, monkeypatch):
    from loom_dagster.connectors.files.formats import csv

    monkeypatch.setattr(csv, "_BLOCKS", (1 << 15, 1 << 16))
    with pytest.raises(Misconfigured, match=r"a row is larger than|a quote is never closed"):
        read(files(a__csv=b"a,b\n1,2\n" + b"1," + b"x" * (1 << 18) + b"\n1,2\n"))


@pytest.mark.parametrize("place", [0, 1, 5_000, 29_999])
def test_a_row_that_fits_the_larger_block_only_changes_nothing_else(files, read, monkeypatch, place):
    from loom_dagster.connectors.files.formats import csv

    monkeypatch.setattr(csv, "_BLOCKS", (1 << 16, 1 << 19))
    lines = [b"bad" if i % 97 == 5 else b"%d,x%d" % (i, i) for i in range(30_000)]
    lines[place] = b"%d,%s" % (place, b"y" * (1 << 17))
    _, rows, bad = read(files(a__csv=b"n,t\n" + b"\n".join(lines) + b"\n"))
    assert [b.offset for b in bad] == [i for i in range(30_000) if i % 97 == 5 and i != place]
    assert [r["n"] for r in rows] == [i for i in range(30_000) if i % 97 != 5 or i == place]
    assert next(r for r in rows if r["n"] == place)["t"] == "y" * (1 << 17)


def test_header_only_and_empty(files, read):
    assert read(files(a__csv=b"a,b\n"))[:2] == (pa.schema([("a", pa.null()), ("b", pa.null())]), [])
    assert read(files(a__csv=b"a,b"))[1] == []
    assert read(files(a__csv=b"\n\n"))[:2] == (pa.schema([]), [])


def test_files_with_columns_in_another_order(files, read):
    schema, rows, _ = read(files(a__csv=b"a,b\n1,2\n", b__csv=b"c,a\nx,1.5\n"))
    assert types(schema) == {"a": "double", "b": "int64", "c": "string"}
    assert rows == [{"a": 1.0, "b": 2, "c": None}, {"a": 1.5, "b": None, "c": "x"}]


def test_one_column_with_nulls(files, read):
    assert [r["a"] for r in read(files(a__csv=b'a\nx\n\n""\n'))[1]] == ["x", None, ""]


def test_tabs_and_gzip(files, read):
    assert read(files(a__tsv=b"a\tb\n1,5\tx\n"))[1] == [{"a": "1,5", "b": "x"}]
    assert read(files(a__csv__gz=gzip.compress(b"a,b\n1,x\n")))[1] == [{"a": 1, "b": "x"}]
    with pytest.raises(Misconfigured):
        read(files(a__csv__gz=gzip.compress(b"a,b\n1,x\n" * 1000)[:-20]))
