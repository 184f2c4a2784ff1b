from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import fsspec
import pytest

from loom_dagster.connectors import Wanted, place_of, source_at
from loom_dagster.connectors.files.documents import CHUNK_BYTES
from loom_dagster.connectors.files.html import text_of
from loom_dagster.errors import Misconfigured
from loom_dagster.extract import open_source
from loom_dagster.spec.models import Extract


@pytest.fixture
def raw(tmp_path):
    """Writes documents into ``raw/``."""

    def write(**documents: bytes) -> None:
        for name, data in documents.items():
            path = tmp_path / "raw" / name.replace("__", ".")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)

    return write


@pytest.fixture
def read(tmp_path):
    def run(source="raw", **extract):
        place = place_of(source, tmp_path)
        rows = source_at(place).open(place, Wanted(extract=Extract(source=source, **extract), rows=3))
        chunks = list(rows.chunks())
        assert all(c.table.schema == rows.schema and c.rows <= 3 for c in chunks)
        rows.close()
        return (
            [row for c in chunks for row in c.table.to_pylist()],
            {row.raw: row.reason for c in chunks for row in c.unreadable},
        )

    return run


def test_each_file_is_a_record(raw, read, tmp_path):
    raw(b__md="# Größe\n".encode(), a__txt=b"one", deep=b"no extension", c__txt__gz=gzip.compress(b"packed"))
    rows, bad = read()
    assert [(r["path"], r["text"], r["size"], r["etag"]) for r in rows[:2]] == [
        ("raw/a.txt", "one", 3, None),
        ("raw/b.md", "# Größe\n", 10, None),
    ]
    assert [r["text"] for r in rows[2:]] == ["packed", "no extension"] and bad == {}
    found = datetime.fromtimestamp((tmp_path / "raw/a.txt").stat().st_mtime, UTC)
    assert rows[0]["modified"] == found
    assert read("raw/*.md", format="documents")[0][0]["path"] == "raw/b.md"
    assert read("raw/a.txt", format="documents")[0][0]["text"] == "one"
    with pytest.raises(Misconfigured, match=r"set `extract.format` to one of .*documents"):
        read("raw/a.txt")  # may be a table as well


def test_what_is_no_text_is_a_row_that_cannot_be_read(raw, read):
    raw(
        a__txt=b"fine",
        b__txt=b"caf\xe9",
        c__pdf=b"%PDF-1.7 ...",
        d__png=b"\x89PNG\0\0",
        e__txt=b"  \n",
        f__txt="größe".encode("utf-16"),
        g__txt__gz=gzip.compress(b"x" * 100)[:-12],
        h__txt=b"x" * (CHUNK_BYTES + 1),
        i__txt__gz=gzip.compress(b"x" * (CHUNK_BYTES + 1)),
        j__html=b"<script>only()</script>",
        z__txt=b"last",
    )
    rows, bad = read()
    assert [r["text"] for r in rows] == ["fine", "größe", "last"]
    words = {name.removeprefix("raw/"): reason for name, reason in bad.items()}
    assert "extract.encoding" in words["b.txt"] and "PDF" in words["c.pdf"] and "zero bytes" in words["d.png"]
    assert "no text" in words["e.txt"] and "unpacked" in words["g.txt.gz"] and "no text" in words["j.html"]
    assert "larger than 32 MB" in words["h.txt"] and "larger than 32 MB" in words["i.txt.gz"]
    assert "café" in [r["text"] for r in read(encoding="latin-1")[0]]


def test_one_that_goes_away_while_they_are_read_ends_nothing(raw, tmp_path):
    raw(**{f"{n}__txt": b"text" for n in "abcdef"})
    place = place_of("raw", tmp_path)
    rows = source_at(place).open(place, Wanted(extract=Extract(source="raw"), rows=2))
    chunks = rows.chunks()
    next(chunks)
    (tmp_path / "raw/d.txt").unlink()
    rest = list(chunks)
    assert [r["path"] for c in rest for r in c.table.to_pylist()] == ["raw/c.txt", "raw/e.txt", "raw/f.txt"]
    assert [row.reason for c in rest for row in c.unreadable] == ["it went away while the source was read"]


def test_known_ones_are_left_out(raw, tmp_path):
    raw(a__txt=b"old", b__txt=b"old")
    place = place_of("raw", tmp_path)
    known = source_at(place).open(place, Wanted(extract=Extract(source="raw"))).files
    raw(b__txt=b"changed", c__txt=b"new")
    rows = source_at(place).open(place, Wanted(extract=Extract(source="raw"), known=known))
    assert [r["text"] for c in rows.chunks() for r in c.table.to_pylist()] == ["changed", "new"]


def test_other_stores_tell_their_etags(tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe({"/docs/raw/a.md": b"one", "/docs/raw/sub/b.txt": b"two"})
    place = place_of("memory://docs/raw", tmp_path)
    rows = source_at(place).open(place, Wanted(extract=Extract(source=place.uri)))
    found = [r for c in rows.chunks() for r in c.table.to_pylist()]
    assert [r["path"] for r in found] == ["memory://docs/raw/a.md", "memory://docs/raw/sub/b.txt"]
    assert all(r["modified"].tzinfo for r in found)
    memory.rm("/docs", recursive=True)


def test_tables_are_no_documents_and_odd_files_are_not_guessed(raw, read):
    raw(a__csv=b"id\n1\n", readme__md=b"about")
    assert read()[0] == [{"id": 1}]
    assert len(read(format="documents")[0]) == 2
    raw(b__bin=b"x")
    with pytest.raises(Misconfigured, match="documents"):
        read("raw/*.bin")


@pytest.mark.parametrize("how", [{}, {"format": "documents"}])
def test_a_document_is_known_by_its_path(raw, tmp_path, how):
    raw(a__txt=b"same", b__txt=b"same", c__bin=b"\0")
    source = open_source(
        Extract(source="raw", **how), place_of("raw", tmp_path), batch_size=10, scratch=tmp_path
    )
    [batch] = source.batches()
    source.close()
    assert [r.id for r in batch.records] == ["raw/a.txt", "raw/b.txt"]
    assert [(r.source, r.kind) for r in batch.rejected] == [({"_raw": "raw/c.bin"}, "unreadable_row")]


def test_a_key_of_ones_own_and_the_defaults():
    assert Extract(source="raw", format="documents").key == ("path",)
    assert Extract(source="raw", format="documents", key="etag").key == ("etag",)
    assert Extract(source="raw").key == ()


@pytest.mark.parametrize(
    ("html", "text"),
    [
        (
            "<html><head><title>T</title><style>x{}</style></head><body><p>One <b>bold</b></p><p>Two</p>",
            "T\n\nOne bold\n\nTwo",
        ),
        ("a&amp;b &lt;c&gt; &eacute;", "a&b <c> é"),
        ("<script>if (a < b) alert('</p>')</script>seen<template>x</template>", "seen"),
        ("<li>a<li>b</ul></div></p>c", "a\nb\n\nc"),
        ("<head><meta charset=x><body>text", "text"),
        ("no tags at all < here", "no tags at all < here"),
        ("", ""),
    ],
)
def test_html_is_the_text_people_see(html, text):
    assert text_of(html) == text


def test_an_encoding_that_is_none(raw, read):
    raw(a__txt=b"x")
    with pytest.raises(Misconfigured, match="is not an encoding"):
        read(encoding="klingon")


def test_paths_in_quarantine_are_as_they_are_written(tmp_path: Path, raw, read):
    raw(**{"a b'__txt": b"\xff"})
    assert list(read()[1]) == ["raw/a b'.txt"]
