"""Documents: files that are a record each, whatever their folder.

A document that is no text is a row that cannot be read, never the end of a run.
"""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import pyarrow as pa

from loom_dagster.connectors.contract import CHUNK_BYTES, Chunk, Unreadable
from loom_dagster.connectors.files.html import text_of
from loom_dagster.connectors.files.locations import File, accessing
from loom_dagster.errors import Misconfigured, Permanent
from loom_dagster.spec.documents import DOCUMENT_COLUMNS

__all__ = ["DocumentRows", "is_document"]

_TYPES = (pa.string(), pa.string(), pa.int64(), pa.string(), pa.timestamp("us", "UTC"))
_SCHEMA = pa.schema(list(zip(DOCUMENT_COLUMNS, _TYPES, strict=True)))
_HTML = (".html", ".htm", ".xhtml")
_TEXTS = (".txt", ".md", ".markdown", ".rst", ".adoc", *_HTML)
_CHUNK = 8 << 20  # bytes of text at a time

_Row = tuple[str, str, int, str | None, datetime | None]


def is_document(name: str) -> bool:
    """Whether a file's name says that it is a text for people."""
    return _bare(name).endswith(_TEXTS)


class DocumentRows:
    """``files`` as rows: path, text, size (bytes), etag (None on this machine), modified. Of HTML the text
    that people see. Those in ``known``, unchanged, are left out."""

    schema = _SCHEMA

    def __init__(
        self, uri: str, files: Sequence[File], *, encoding: str, rows: int, known: Mapping[str, Sequence[str]]
    ) -> None:
        try:
            codecs.lookup(encoding)
        except LookupError as error:
            raise Misconfigured(f"`{encoding}` is not an encoding", fix="set `extract.encoding`") from error
        self.uri = uri
        self._encoding, self._rows = encoding, rows
        self._files = [f for f in files if list(known.get(f.uri, ())) != _state(f)]

    @property
    def files(self) -> Mapping[str, Sequence[str]]:
        return {file.uri: _state(file) for file in self._files}

    def chunks(self) -> Iterator[Chunk]:
        rows: list[_Row] = []
        unreadable: list[Unreadable] = []
        size = 0
        for file in self._files:
            try:
                text = self._text(file)
            except Permanent as error:
                offset = len(rows) + len(unreadable)
                unreadable.append(Unreadable(offset=offset, raw=file.uri, reason=error.sentence()))
            else:
                rows.append((file.uri, text, file.size or 0, file.etag, file.modified))
                size += len(text)
            if size >= _CHUNK or len(rows) + len(unreadable) >= self._rows:
                yield _chunk(rows, unreadable)
                rows, unreadable, size = [], [], 0
        if rows or unreadable:
            yield _chunk(rows, unreadable)

    def close(self) -> None:
        """No document stays open."""

    def _text(self, file: File) -> str:
        data = _data(file)
        text = _decoded(data, self._encoding)
        if _bare(file.name).endswith(_HTML):
            text = text_of(text)
        if not text.strip():
            raise Permanent("there is no text in it")
        return text


def _data(file: File) -> bytes:
    too_large = f"larger than {CHUNK_BYTES >> 20} MB, which is no document for a model"
    if (file.size or 0) > CHUNK_BYTES:
        raise Permanent(too_large)
    with accessing(file.uri):
        try:
            with file.open() as stream:
                data = stream.read(CHUNK_BYTES + 1)
        except PermissionError as error:
            if not file.location.local:  # a token that has expired, for all of them
                raise
            raise Permanent("it may not be read: permission denied") from error
        except (FileNotFoundError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            gone = isinstance(error, FileNotFoundError)
            why = "it went away while the source was read" if gone else "it is packed, and cannot be unpacked"
            raise Permanent(why) from error
    if len(data) > CHUNK_BYTES:
        raise Permanent(too_large)
    return data


def _decoded(data: bytes, encoding: str) -> str:
    if data.startswith(b"%PDF-"):
        raise Permanent("a PDF; turn it into text first")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif data.startswith(codecs.BOM_UTF8):
        encoding = "utf-8-sig"
    elif b"\0" in data and not encoding.lower().startswith(("utf-16", "utf-32", "utf_16", "utf_32")):
        raise Permanent("not a text: it has zero bytes")
    try:
        return data.decode(encoding)
    except UnicodeError as error:
        raise Permanent(
            f"not {encoding}; if all documents are in another encoding, name it in `extract.encoding`"
        ) from error


def _chunk(rows: Sequence[_Row], unreadable: Sequence[Unreadable]) -> Chunk:
    columns = zip(*rows, strict=True) if rows else [()] * len(_SCHEMA)
    arrays = [pa.array(list(column), field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
    return Chunk(table=pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA), unreadable=tuple(unreadable))


def _state(file: File) -> list[str]:
    return [str(part) for part in (file.size, *file.stamp)]


def _bare(name: str) -> str:
    return name.lower().removesuffix(".gz")
