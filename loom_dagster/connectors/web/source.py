"""Web addresses as sources.

The pages of an API are fetched once, into files that are gone when the source is closed: both readings then
see the same rows, and a server that dies between two pages is known before anything is spent.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from loom_dagster.connectors.contract import Chunk, Place, Rows, Wanted
from loom_dagster.connectors.files.formats import Reading
from loom_dagster.connectors.files.source import FileRows, FileSource
from loom_dagster.connectors.web.client import Client
from loom_dagster.connectors.web.pages import kept_pages
from loom_dagster.errors import Misconfigured
from loom_dagster.spec.models import Extract
from loom_dagster.spec.web import Web

__all__ = ["WebSource"]


class WebSource:
    """One file without ``extract.web``, with it an API."""

    def __init__(self) -> None:
        self._files = FileSource()

    def open(self, place: Place, wanted: Wanted) -> Rows:
        web = wanted.extract.web
        if web is None:
            return self._files.open(place, wanted)
        folder = tempfile.mkdtemp(prefix="loom-web-")
        try:
            with _client(place, web) as client:
                files, form, encoding = kept_pages(client, place.uri, wanted.extract, web, Path(folder))
            reading = Reading(encoding=encoding, exact=frozenset(wanted.extract.key), rows=wanted.rows)
            schema = form.schema(files, reading)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return WebRows(FileRows(client.shown(place.uri), files, form, schema, reading, wanted.window), folder)

    def check(self, place: Place, extract: Extract, *, reach: bool) -> None:
        if extract.web is None:
            self._files.check(place, extract, reach=reach)
            return
        with _client(place, extract.web) as client:
            if reach:
                client.get(place.uri).close()


class WebRows:
    """The rows of all pages. They come from no files that would still be there the next time."""

    files: Mapping[str, Sequence[str]] = {}

    def __init__(self, rows: FileRows, folder: str) -> None:
        self._rows = rows
        self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    @property
    def uri(self) -> str:
        return self._rows.uri

    @property
    def schema(self) -> pa.Schema:
        return self._rows.schema

    def chunks(self) -> Iterator[Chunk]:
        if not self._remove.alive:
            raise Misconfigured(f"{self.uri} is closed")
        return self._rows.chunks()

    def close(self) -> None:
        self._remove()


def _client(place: Place, web: Web) -> Client:
    return Client(place.uri, headers_env=web.headers_env, stall=web.timeout.total_seconds())
