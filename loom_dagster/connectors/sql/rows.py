"""The rows of a table or a query: read once more from where a lost connection left off."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from loom_dagster.connectors.contract import Chunk
from loom_dagster.connectors.sql.progress import Progress
from loom_dagster.connectors.sql.reader import Reader
from loom_dagster.connectors.sql.selection import Selection
from loom_dagster.errors import Transient

__all__ = ["PATIENCE", "SqlRows"]

PATIENCE = 60.0  # seconds that a server which was there may be away
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


class SqlRows:
    """Made by ``SqlSource``. ``resumes``: a reading may begin behind a value of the order."""

    def __init__(
        self,
        reader: Reader,
        selection: Selection,
        schema: pa.Schema,
        *,
        rows: int,
        resumes: bool,
        what: str,
        patience: float = PATIENCE,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.uri, self.schema = selection.table.uri, schema
        self._reader, self._selection, self._rows, self._resumes = reader, selection, rows, resumes
        self._what, self._patience, self._pause = what, patience, pause
        self._open: list[Generator[Chunk, None, None]] = []

    @property
    def files(self) -> Mapping[str, Sequence[str]]:
        return {}

    def chunks(self) -> Iterator[Chunk]:
        reading = self._chunks()
        self._open.append(reading)
        return reading

    def close(self) -> None:
        for reading in self._open:
            reading.close()
        self._open.clear()

    def _chunks(self) -> Generator[Chunk, None, None]:
        progress = Progress(self._selection.order if self._resumes else ())
        given, since, pause = 0, None, _FIRST_PAUSE
        while True:
            try:
                for chunk in progress.rest(self._from(progress, given), self._what):
                    since, pause = None, _FIRST_PAUSE
                    progress.given(chunk)
                    given += chunk.rows
                    yield chunk
                return
            except Transient as error:
                now = time.monotonic()
                since = now if since is None else since
                if error.kind != "database_away" or now + pause - since > self._patience:
                    raise
            self._pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _from(self, progress: Progress, given: int) -> Iterator[Chunk]:
        selection = self._selection
        if progress.key:
            left = None if selection.limit is None else selection.limit - given + progress.passed
            selection = replace(selection, after=progress.key, limit=left)
        return self._reader.read(selection, self.schema, self._rows)
