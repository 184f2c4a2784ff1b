"""CSV and TSV. Every value is text first; a column becomes a number or a truth value only when
that loses nothing, seen over all files before the first row is given out.

An empty field is null, a quoted empty one is the empty text. Rows with too many or too few
fields, or bytes that are not UTF-8, are unreadable rows; the rest of the file is not.
"""

from __future__ import annotations

import collections
import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from loom_dagster.connectors.files.formats.contract import Chunk, Reading, Unreadable, Writer
from loom_dagster.connectors.files.formats.marking import MARKS, MarkedStream, restored
from loom_dagster.connectors.files.formats.narrowing import Narrowing
from loom_dagster.connectors.files.formats.text import open_utf8
from loom_dagster.connectors.files.formats.texts import CsvWriter
from loom_dagster.connectors.files.locations import File, accessing
from loom_dagster.connectors.plain import conformed
from loom_dagster.errors import Misconfigured

__all__ = ["Csv"]

# Read at a time. Arrow reads up to 32 blocks ahead of whoever takes the rows, so they are small, but for
# files with a row that does not fit; into the large one each row must fit.
_BLOCKS = (1024 * 1024, 8 * 1024 * 1024)


class Csv:
    """Comma-separated; a ``.tsv`` is separated by tabs."""

    name = "csv"
    extensions = (".csv", ".tsv")

    def schema(self, files: Sequence[File], reading: Reading) -> pa.Schema:
        columns: dict[str, Narrowing] = {}
        for file in files:
            for name in _header(file, reading)[0]:
                columns.setdefault(name, Narrowing(exact=name in reading.exact))
            for chunk in self.texts(file, reading):
                for name, column in zip(chunk.table.schema.names, chunk.table.columns, strict=True):
                    columns[name].see(column)
        return pa.schema([(name, narrowing.type) for name, narrowing in columns.items()])

    def chunks(self, files: Sequence[File], schema: pa.Schema, reading: Reading) -> Iterator[Chunk]:
        for file in files:
            for chunk in self.texts(file, reading):
                with accessing(file.uri):
                    table = conformed(chunk.table, schema)
                yield Chunk(table=table, unreadable=chunk.unreadable)

    def texts(self, file: File, reading: Reading) -> Iterator[Chunk]:
        """The rows of one file with every column as text."""
        names, filled = _header(file, reading)
        if not filled:
            return
        given = 0
        for block in _BLOCKS:
            with accessing(file.uri), open_utf8(file, reading.encoding) as stream:
                while stream.peek(1)[:1] in (b"\r", b"\n"):  # empty lines before the header
                    stream.read(1)
                try:
                    for chunk in _Rows(file, MarkedStream(stream), names, block).after(given):
                        given += chunk.rows
                        yield chunk
                except _DoesNotFitError:
                    continue
                return
        raise Misconfigured(
            f"{file.uri} cannot be read as CSV after row {given}",
            why=f"a row is larger than {_BLOCKS[-1] >> 20} MB, or a quote is never closed",
        )

    def writer(self, stream: BinaryIO, schema: pa.Schema, *, path: str = "") -> Writer:
        return CsvWriter(stream, schema, _delimiter(path))


class _DoesNotFitError(Exception):
    """A row is larger than a block."""


class _Rows:
    """One reading of one file."""

    def __init__(self, file: File, stream: MarkedStream, names: Sequence[str], block: int) -> None:
        self._file, self._stream = file, stream
        self._bad: collections.deque[Any] = collections.deque()
        with _fitting():
            self._reader = self._open(names, block)
        self._given = 0

    def after(self, given: int) -> Iterator[Chunk]:
        """What comes after the first ``given`` rows, unreadable ones counted. Raises _DoesNotFitError."""
        for chunk in self._chunks():
            over = max(given - (self._given - chunk.rows), 0)
            if over < chunk.rows:
                yield _without_first(chunk, over)

    def _open(self, names: Sequence[str], block: int) -> Any:
        return pyarrow.csv.open_csv(
            self._stream,
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False, block_size=_block_size(self._file, block)
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=_delimiter(self._file.name),
                newlines_in_values=True,
                ignore_empty_lines=len(names) > 1,  # in a file of one column an empty line is a null
                invalid_row_handler=self._keep,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={name: pa.string() for name in names},
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )

    def _chunks(self) -> Iterator[Chunk]:
        last = None
        while (batch := self._next()) is not None:
            chunk = self._chunk(batch, final=False)
            last = chunk if chunk.rows else last
            if chunk.rows:
                yield chunk
        rest = self._chunk(pa.RecordBatch.from_pylist([], schema=self._reader.schema), final=True)
        self._assert_closed(rest if rest.rows else last)
        if rest.rows:
            yield rest

    def _keep(self, row: Any) -> str:
        self._bad.append(row)
        return "skip"

    def _next(self) -> pa.RecordBatch | None:
        with _fitting():
            try:
                return self._reader.read_next_batch()
            except StopIteration:
                return None

    def _chunk(self, batch: pa.RecordBatch, *, final: bool) -> Chunk:
        unreadable: list[Unreadable] = []
        # the parser counts the header as row 1, and may be rows ahead of what it has given out
        while self._bad:
            row = self._bad[0]
            offset = row.number - 2 - self._given
            if not final and offset - len(unreadable) > batch.num_rows:
                break
            self._bad.popleft()
            reason = f"{row.actual_columns} fields where the header has {row.expected_columns}"
            unreadable.append(Unreadable(offset=offset, raw=restored(row.text), reason=reason))
        chunk = Chunk(table=batch, unreadable=unreadable)
        if self._stream.torn:
            chunk = _without_torn_rows(chunk)
        self._given += chunk.rows
        return chunk

    def _assert_closed(self, last: Chunk | None) -> None:
        """A quote that is never closed swallows the rest of the file: no row to reject, a file to mend."""
        if last is None:
            return
        if last.unreadable and last.unreadable[-1].offset == last.rows - 1:
            raw = last.unreadable[-1].raw
            swallowed, begin = raw.count('"') % 2 == 1, raw
        else:
            begin = str(last.table.columns[-1][-1].as_py() or "")
            swallowed = "\n" in begin and not self._stream.last.rstrip().endswith(b'"')
        if swallowed:
            raise Misconfigured(
                f"a quote in {self._file.uri} is opened and never closed",
                where=f"{self._file.uri}, row {self._given}",
                why=f"everything after `{begin.splitlines()[0][:40]}` is inside it",
                fix="close it, or double the quotes that are part of the text",
            )


def _header(file: File, reading: Reading) -> tuple[list[str], bool]:
    """The column names of a file, none if it is empty; and whether anything comes after them."""
    with accessing(file.uri), open_utf8(file, reading.encoding) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="")
        try:
            names = next((row for row in csv.reader(text, delimiter=_delimiter(file.name)) if row), [])
        except csv.Error as error:
            raise Misconfigured(f"the header of {file.uri} cannot be read", why=str(error)) from error
        filled = bool(names) and bool(text.read(1))
    for number, name in enumerate(names, 1):
        if any("\udc80" <= c <= "\udcff" for c in name):
            raise Misconfigured(
                f"{file.uri} is not UTF-8", fix="name its encoding in `extract.encoding`, for example latin-1"
            )
        if not name.strip():
            raise Misconfigured(f"column {number} of {file.uri} has no name", fix="name it in the first line")
        if name in names[: number - 1]:
            raise Misconfigured(f"{file.uri} has two columns called `{name}`", fix="rename one of them")
    return names, filled


def _delimiter(path: str) -> str:
    return "\t" if path.lower().removesuffix(".gz").endswith(".tsv") else ","


def _block_size(file: File, block: int) -> int:
    # small files need no large buffers
    return min(max((file.size or block) * 2, 1 << 16), block)


@contextmanager
def _fitting() -> Iterator[None]:
    try:
        yield
    except pa.ArrowInvalid as error:  # it bears with everything else
        raise _DoesNotFitError from error


def _without_first(chunk: Chunk, rows: int) -> Chunk:
    if rows == 0:
        return chunk
    dropped = sum(row.offset < rows for row in chunk.unreadable)
    return Chunk(
        table=chunk.table.slice(rows - dropped),
        unreadable=[replace(row, offset=row.offset - rows) for row in chunk.unreadable[dropped:]],
    )


def _without_torn_rows(chunk: Chunk) -> Chunk:
    """Rows that are not UTF-8 join the unreadable ones."""
    torn: set[int] = set()
    for column in chunk.table.columns:
        marked = pc.match_substring_regex(column, MARKS)
        torn.update(row for row, found in enumerate(marked.to_pylist()) if found)
    if not torn:
        return chunk
    taken = {row.offset for row in chunk.unreadable}
    offsets = [offset for offset in range(chunk.rows) if offset not in taken]
    more = [
        Unreadable(
            offset=offsets[row],
            raw=restored(
                ",".join(value or "" for value in chunk.table.slice(row, 1).to_pylist()[0].values())
            ),
            reason="not UTF-8; if the whole source is not, name its encoding in `extract.encoding`",
        )
        for row in sorted(torn)
    ]
    kept = pa.array([row not in torn for row in range(chunk.table.num_rows)])
    unreadable = sorted([*chunk.unreadable, *more], key=lambda row: row.offset)
    return Chunk(table=chunk.table.filter(kept), unreadable=unreadable)
