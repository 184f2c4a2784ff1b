"""A source of records: everything that can be wrong with it is known when it is opened."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from loom_dagster.connectors import File, accessing, expand, locate
from loom_dagster.connectors.formats import FORMATS, Chunk, Format, Reading, format_of
from loom_dagster.connectors.plain import plain_rows
from loom_dagster.errors import Misconfigured, Problem
from loom_dagster.extract.batching import rebatched
from loom_dagster.extract.identity import Identities
from loom_dagster.records import Batch, Quarantined, Record
from loom_dagster.spec.models import Extract

__all__ = ["Source", "check_source", "open_source"]

_OURS = "_loom_"
_RECORD_ID = "_loom_record_id"
_LARGEST_BATCH = 8192  # rows: what is in memory at once does not follow from `batch_size`


class Source:
    """Files of one format with one schema. Made by ``open_source``.

    ``schema`` holds the input columns. A source without any (zero bytes) has an empty one.
    """

    def __init__(
        self,
        *,
        uri: str,
        files: Sequence[File],
        form: Format,
        whole: pa.Schema,
        reading: Reading,
        key: Sequence[str],
        batch_size: int,
        scratch: Path,
    ) -> None:
        self.uri = uri
        self._files, self._form, self._whole, self._reading = files, form, whole, reading
        self._key, self._batch_size, self._scratch = tuple(key), batch_size, scratch
        self.schema = pa.schema([f for f in whole if not f.name.startswith(_OURS)])
        self._open: list[Generator[Batch, None, None]] = []

    def batches(self, limit: int | None = None) -> Iterator[Batch]:
        """The rows in order, at most ``limit`` of them, from the start each time this is called. Blocks.

        Raises Misconfigured at the batch where a file turns out to have changed or to be broken.
        """
        reading = self._batches(limit)
        self._open.append(reading)
        return reading

    def close(self) -> None:
        """Ends readings that are not at their end, and removes what they kept on disk."""
        for reading in self._open:
            reading.close()
        self._open.clear()

    def _batches(self, limit: int | None) -> Generator[Batch, None, None]:
        with closing(Identities(self._key, self._scratch)) as identities:
            position = 0
            for index, chunk in enumerate(rebatched(self._chunks(), self._batch_size, limit)):
                yield self._batch(index, position, chunk, identities)
                position += chunk.rows

    def _chunks(self) -> Iterator[Chunk]:
        for file in self._files:
            file.assert_unchanged()
            yield from _watched(file, self._form.chunks([file], self._whole, self._reading))

    def _batch(self, index: int, start: int, chunk: Chunk, identities: Identities) -> Batch:
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
    *,
    root: Path,
    batch_size: int,
    scratch: Path,
    source: str | None = None,
    from_pipeline: bool | None = None,
) -> Source:
    """The source that ``extract`` names, looked at as a whole: files, format, columns, key.

    ``source`` goes before ``extract.source``. ``from_pipeline``: it is the table of another pipeline
    (default: as ``extract.source`` says), whose ``_loom_*`` columns are then lineage, not input; without
    a key its records keep their ids. Raises Misconfigured for all that can be known before the first call.
    """
    if from_pipeline is None:
        from_pipeline = extract.source.startswith("pipeline://")
    uri = source or extract.source
    files, form = _files(uri, extract, root)
    batch_size = min(batch_size, _LARGEST_BATCH)
    reading = Reading(encoding=extract.encoding, exact=frozenset(extract.key), rows=batch_size)
    filled = [file for file in files if file.size != 0 or form.name == "parquet"]
    schema = form.schema(filled, reading)
    for file in filled:
        file.assert_unchanged()
    _check_names(schema, uri, from_pipeline)
    if schema.names:
        _check_key(extract.key, schema, uri)
    return Source(
        uri=uri,
        files=filled,
        form=form,
        whole=schema,
        reading=reading,
        key=extract.key,
        batch_size=batch_size,
        scratch=scratch,
    )


def check_source(
    extract: Extract, *, root: Path, where: Callable[..., str], connections: bool = False
) -> tuple[Problem, ...]:
    """What is wrong with a source, without reading its rows.

    ``where("source")`` says which line names it. With ``connections`` files on other machines are looked
    for, too.
    """
    try:
        location = locate(extract.source, root)
        if location.local or connections:
            for file in _files(extract.source, extract, root)[0]:
                with accessing(file.uri), file.open() as stream:
                    stream.read(1)
    except Misconfigured as error:
        return (
            Problem(
                what=f"{error.what}: {error.why}" if error.why else error.what,
                fix=error.fix,
                where=where("source"),
            ),
        )
    return ()


def _files(uri: str, extract: Extract, root: Path) -> tuple[list[File], Format]:
    """The files of a source and their one format."""
    location = locate(uri, root)
    files = expand(location)
    if extract.format is not None:
        form = FORMATS[extract.format]
        several = len(files) > 1 or files[0].path != location.path
        fitting = [f for f in files if format_of(f.name) in (form, None)] if several else files
        if not fitting:
            raise Misconfigured(f"{uri} has no {form.name} files", fix="see `extract.format`")
        return fitting, form
    formats = {file.path: format_of(file.name) for file in files}
    known = {form.name: form for form in formats.values() if form is not None}
    if len(known) > 1:
        raise Misconfigured(
            f"{uri} has files of several formats: {', '.join(sorted(known))}",
            fix="name one with a glob (data/*.csv) or in `extract.format`",
        )
    if not known:
        raise Misconfigured(
            f"the format of {files[0].uri} cannot be told from its name",
            fix=f"set `extract.format` to one of {', '.join(FORMATS)}",
        )
    [form] = known.values()
    return [file for file in files if formats[file.path] is not None], form


def _check_names(schema: pa.Schema, uri: str, from_pipeline: bool) -> None:
    for name in schema.names:
        if not name.strip():
            raise Misconfigured(f"{uri} has a column without a name", fix="name it")
        if name.startswith(_OURS) and not from_pipeline:
            raise Misconfigured(
                f"{uri} has a column `{name}`, and names that begin with `{_OURS}` are ours",
                fix="rename it; if this is the table of a pipeline, read it as `source: pipeline://NAME`",
            )


def _check_key(key: Sequence[str], schema: pa.Schema, uri: str) -> None:
    for name in key:
        if name in schema.names and not name.startswith(_OURS):
            continue
        columns = [n for n in schema.names if not n.startswith(_OURS)]
        near = difflib.get_close_matches(name, columns, n=1)
        fix = f"did you mean `{near[0]}`?" if near else f"it has: {', '.join(columns[:20])}"
        raise Misconfigured(f"{uri} has no column `{name}`, which `extract.key` names", fix=fix)


def _watched(file: File, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """The chunks of a file as long as it stays as it was found."""
    while True:
        try:
            chunk = next(chunks, None)
        except (Misconfigured, ValueError, TypeError, KeyError):
            file.assert_unchanged()  # then that is why
            raise
        if file.location.local or chunk is None:
            file.assert_unchanged()
        if chunk is None:
            return
        yield chunk
