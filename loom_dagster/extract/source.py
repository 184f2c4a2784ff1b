"""A source of records: everything that can be wrong with it is known when it is opened."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from loom_dagster.connectors import Chunk, Place, Rows, Wanted, Window, source_at
from loom_dagster.connectors.plain import plain_rows
from loom_dagster.errors import Misconfigured, Problem, Transient
from loom_dagster.extract.batching import rebatched
from loom_dagster.extract.identity import Identities
from loom_dagster.extract.redaction import RedactedRows, Redactor, discreetly
from loom_dagster.records import Batch, Quarantined, Record
from loom_dagster.spec.documents import document_key
from loom_dagster.spec.models import Extract
from loom_dagster.watermark import Cursor, Watermark

__all__ = ["Source", "check_source", "open_source"]

_OURS = "_loom_"
_RECORD_ID = "_loom_record_id"
_PARTITION = "_loom_partition"  # what a load by partitions adds to a table; nobody's input
_LARGEST_BATCH = 8192  # rows: what is in memory at once does not follow from `batch_size`


class Source:
    """Rows and who they are. Made by ``open_source``.

    ``schema`` holds the input columns. A source without any (zero bytes) has an empty one.
    """

    def __init__(
        self,
        rows: Rows,
        extract: Extract,
        *,
        key: Sequence[str],
        batch_size: int,
        scratch: Path,
        cursor: str | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        if extract.redact:
            rows = RedactedRows(rows, extract.redact, _needed(redactor))
        self.uri = rows.uri
        self._rows, self._cursor = rows, cursor
        self._highest: Cursor = None
        self._key, self._limit = tuple(key), extract.limit
        self._batch_size, self._scratch = batch_size, scratch
        names = extract.columns or [name for name in rows.schema.names if not name.startswith(_OURS)]
        self.schema = pa.schema([rows.schema.field(name) for name in names if rows.schema.names])
        self._open: list[Generator[Batch, None, None]] = []

    def batches(self, limit: int | None = None) -> Iterator[Batch]:
        """The rows in order, at most ``limit`` of them, from the start each time this is called. Blocks.

        Raises Misconfigured at the batch where a file turns out to have changed or to be broken.
        """
        limits = [most for most in (limit, self._limit) if most is not None]
        reading = self._batches(min(limits, default=None))
        self._open.append(reading)
        return reading

    @property
    def reached(self) -> Watermark:
        """How far the last reading came: its highest cursor, or its files."""
        files = {} if self._cursor else {name: tuple(state) for name, state in self._rows.files.items()}
        return Watermark(cursor=self._highest, files=files)

    def close(self) -> None:
        """Ends readings that are not at their end, and removes what they kept on disk."""
        for reading in self._open:
            reading.close()
        self._open.clear()
        self._rows.close()

    def _batches(self, limit: int | None) -> Generator[Batch, None, None]:
        with closing(Identities(self._key, self._scratch)) as identities:
            position = 0
            self._highest = None
            for index, chunk in enumerate(rebatched(self._rows.chunks(), self._batch_size, limit)):
                yield self._batch(index, position, chunk, identities)
                position += chunk.rows

    def _batch(self, index: int, start: int, chunk: Chunk, identities: Identities) -> Batch:
        if self._cursor is not None:
            self._highest = _higher(self._highest, chunk.table.column(self._cursor))
        lineage = None
        if not self._key and _RECORD_ID in chunk.table.schema.names:
            lineage = chunk.table.column(_RECORD_ID).to_pylist()
        table = chunk.table.select(self.schema.names) if self.schema.names else chunk.table
        skipped = {row.offset for row in chunk.unreadable}
        offsets = (o for o in range(chunk.rows) if o not in skipped)
        rows = [(start + offset, columns) for offset, columns in zip(offsets, plain_rows(table), strict=True)]
        identified = identities.identify(rows, lineage)
        records = [found for found in identified if isinstance(found, Record)]
        rejected = [found for found in identified if isinstance(found, Quarantined)]
        if rejected:
            table = table.filter(pa.array([isinstance(found, Record) for found in identified]))
        rejected += identities.reject(chunk.unreadable, start)
        return Batch(
            index=index, table=table, records=records, rejected=sorted(rejected, key=lambda row: row.position)
        )


def open_source(
    extract: Extract,
    place: Place,
    *,
    batch_size: int,
    scratch: Path,
    from_pipeline: bool = False,
    values: Mapping[str, Cursor] | None = None,
    window: Window | None = None,
    known: Mapping[str, Sequence[str]] | None = None,
    redactor: Redactor | None = None,
) -> Source:
    """The source at ``place``, looked at as a whole: columns, key.

    ``from_pipeline``: it is the table of another pipeline, whose ``_loom_*`` columns are then lineage, not
    input; without a key its records keep their ids. ``values``, ``window`` and ``known``: see
    ``Wanted``. Raises Misconfigured for all that can be known before the first call, Transient where a
    database is away.
    """
    batch_size = min(batch_size, _LARGEST_BATCH)
    wanted = Wanted(extract=extract, values=values or {}, window=window, rows=batch_size, known=known or {})
    opened = functools.partial(source_at(place).open, place, wanted)
    rows = discreetly(opened) if extract.redact else opened()
    _check_names(rows.schema, place.uri, from_pipeline)
    key = extract.key or document_key(rows.schema.names)
    cursor = extract.incremental.cursor if extract.incremental else None
    if rows.schema.names:
        _check_columns(key, "key", rows.schema, place.uri)
        _check_columns([cursor] if cursor else [], "incremental.cursor", rows.schema, place.uri)
        if window is not None and window.column != cursor:
            _check_columns([window.column], "partitions.column", rows.schema, place.uri)
        _check_columns(extract.columns, "columns", rows.schema, place.uri)
    return Source(
        rows,
        extract,
        key=key,
        batch_size=batch_size,
        scratch=scratch,
        cursor=cursor if rows.schema.names else None,
        redactor=redactor,
    )


def check_source(
    extract: Extract, place: Place, *, where: Callable[..., str], connections: bool = False
) -> tuple[Problem, ...]:
    """What is wrong with a source, without reading its rows.

    ``where("source")`` says which line names it. With ``connections`` other machines are asked, too.
    """
    check = functools.partial(source_at(place).check, place, extract, reach=connections)
    try:
        if extract.redact:
            discreetly(check)
        else:
            check()
    except (Misconfigured, Transient) as error:
        what = f"{error.what}: {error.why}" if error.why else error.what
        return (Problem(what=what, fix=error.fix, where=where("source")),)
    return ()


def _needed(redactor: Redactor | None) -> Redactor:
    if redactor is None:
        raise Misconfigured("`extract.redact` needs a key, and there is none", kind="redaction")
    return redactor


def _check_names(schema: pa.Schema, uri: str, from_pipeline: bool) -> None:
    for name in schema.names:
        if not name.strip():
            raise Misconfigured(f"{uri} has a column without a name", fix="name it")
        if name.startswith(_OURS) and name != _PARTITION and not from_pipeline:
            raise Misconfigured(
                f"{uri} has a column `{name}`, and names that begin with `{_OURS}` are ours",
                fix="rename it; if this is the table of a pipeline, read it as `source: pipeline://NAME`",
            )


def _check_columns(names: Sequence[str], of: str, schema: pa.Schema, uri: str) -> None:
    for name in names:
        if name in schema.names and not name.startswith(_OURS):
            continue
        columns = [n for n in schema.names if not n.startswith(_OURS)]
        near = difflib.get_close_matches(name, columns, n=1)
        fix = f"did you mean `{near[0]}`?" if near else f"it has: {', '.join(columns[:20])}"
        raise Misconfigured(f"{uri} has no column `{name}`, which `extract.{of}` names", fix=fix)


def _higher(highest: Cursor, column: pa.Array) -> Cursor:
    """The highest value so far; nulls and NaN say nothing."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(
            pa.timestamp("us", tz=column.type.tz), safe=False
        )  # nanoseconds would drag pandas in
    value = pc.max(column).as_py() if pa.types.is_primitive(column.type) or _is_text(column.type) else None
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return highest
    found: Cursor = value if highest is None else max(highest, value)
    return found


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_decimal(kind))
