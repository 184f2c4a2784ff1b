"""Files as a source: of one format and one schema, and as they were when they were found."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from loom_dagster.connectors.contract import Chunk, Place, Rows, State, Wanted, Window
from loom_dagster.connectors.files.documents import DocumentRows, is_document
from loom_dagster.connectors.files.formats import FORMATS, Format, Reading, format_of
from loom_dagster.connectors.files.locations import NO_FILES, File, accessing, expand, locate
from loom_dagster.connectors.files.windows import inside
from loom_dagster.errors import Misconfigured
from loom_dagster.spec.models import Extract

__all__ = ["FileSource"]


class FileSource:
    """A path, a glob, a folder or an fsspec URL."""

    def open(self, place: Place, wanted: Wanted) -> Rows:
        extract = wanted.extract
        files, form = _files(place, extract)
        if form is None:
            if wanted.window is not None:
                raise Misconfigured(
                    f"{place.uri} holds documents, which have no column `{wanted.window.column}` of partitions",
                    fix="put {{ partition }} into `extract.source`, and leave `extract.partitions.column` out",
                )
            return DocumentRows(
                place.uri, files, encoding=extract.encoding, rows=wanted.rows, known=wanted.known
            )
        files = [file for file in files if list(_state(file)) != list(wanted.known.get(file.uri, ()))]
        reading = Reading(encoding=extract.encoding, exact=frozenset(extract.key), rows=wanted.rows)
        filled = [file for file in files if file.size != 0 or form.name == "parquet"]
        schema = form.schema(filled, reading)
        for file in filled:
            file.assert_unchanged()
        return FileRows(place.uri, filled, form, schema, reading, wanted.window)

    def state(self, place: Place, wanted: Wanted) -> State:
        try:
            files, _ = _files(place, wanted.extract)
        except Misconfigured as error:
            if error.kind != NO_FILES:
                raise
            return State()
        return State(files={file.uri: _state(file) for file in files})

    def check(self, place: Place, extract: Extract, *, reach: bool) -> None:
        location = locate(place.uri, place.root)
        if location.local or reach:
            files, form = _files(place, extract)
            for file in files if form else files[:1]:
                with accessing(file.uri), file.open() as stream:
                    stream.read(1)


class FileRows:
    """The rows of all files, one file after the other."""

    def __init__(
        self,
        uri: str,
        files: Sequence[File],
        form: Format,
        schema: pa.Schema,
        reading: Reading,
        window: Window | None,
    ) -> None:
        self.uri, self.schema = uri, schema
        self._window = window if schema.names else None
        self._files, self._form, self._reading = files, form, reading

    @property
    def files(self) -> Mapping[str, Sequence[str]]:
        return {file.uri: _state(file) for file in self._files}

    def chunks(self) -> Iterator[Chunk]:
        for file in self._files:
            file.assert_unchanged()
            for chunk in _watched(file, self._form.chunks([file], self.schema, self._reading)):
                yield chunk if self._window is None else inside(chunk, self._window)

    def close(self) -> None:
        """Nothing stays open between two chunks but the file of a reading, which ends with it."""


def _state(file: File) -> tuple[str, ...]:
    """How to tell that a file is the one that was read before: size, and etag or time."""
    return tuple(str(part) for part in (file.size, *file.stamp))


def _files(place: Place, extract: Extract) -> tuple[list[File], Format | None]:
    """The files of a source and their one format; None: each is a document."""
    uri, location = place.uri, locate(place.uri, place.root)
    files = expand(location)
    if extract.format == "documents":
        return files, None
    if extract.format is not None:
        form = FORMATS[extract.format]
        several = len(files) > 1 or files[0].path != location.path
        fitting = [f for f in files if format_of(f.name) in (form, None)] if several else files
        if not fitting:
            what = f"{uri} has no {form.name} files"
            raise Misconfigured(what, fix="see `extract.format`", kind=NO_FILES)
        return fitting, form
    formats = {file.path: format_of(file.name) for file in files}
    known = {form.name: form for form in formats.values() if form is not None}
    if len(known) > 1:
        raise Misconfigured(
            f"{uri} has files of several formats: {', '.join(sorted(known))}",
            fix="name one with a glob (data/*.csv) or in `extract.format`",
        )
    folder = files[0].path != location.path and re.search(r"[*?\[]", location.path) is None
    if not known and folder and any(is_document(file.name) for file in files):
        return files, None  # all of them, so that what is no text is told
    if not known:
        raise Misconfigured(
            f"the format of {files[0].uri} cannot be told from its name",
            fix=f"set `extract.format` to one of {', '.join(FORMATS)}, documents",
        )
    [form] = known.values()
    return [file for file in files if formats[file.path] is not None], form


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
