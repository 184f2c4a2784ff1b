"""Rows for tests: of the pipeline's own source, of another place, of a file of cases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loom_dagster.assembly.places import place_at
from loom_dagster.errors import Misconfigured
from loom_dagster.extract import Source, open_source
from loom_dagster.prompt_tests.drawing import Row
from loom_dagster.settings import Settings
from loom_dagster.spec import is_stream
from loom_dagster.spec.models import Extract, Pipeline
from loom_dagster.spec.suites import Cases

if TYPE_CHECKING:
    from loom_dagster.assembly.loom import Loom
    from loom_dagster.assembly.prepared import Prepared
    from loom_dagster.settings import RunOptions

__all__ = ["case_rows", "dataset", "own_source", "rows_of"]

_BATCH = 1_000


def own_source(loom: Loom, name: str, options: RunOptions, scratch: Path) -> Prepared:
    """The pipeline with its source opened; of partitions the newest. Raises Misconfigured when it cannot be read."""
    if is_stream(loom.spec(name).extract.source):
        fix = "name a file of messages in the test's `source`"
        raise Misconfigured(f"`{name}` reads a stream, of which no sample can be drawn", fix=fix)
    ready = loom.prepared(name, options, scratch, validating=True, without=("keys",))
    ready.require()
    if ready.source is None:
        raise Misconfigured(f"the source of `{name}` cannot be read", problems=tuple(ready.problems))
    return ready


def dataset(uri: str, spec: Pipeline, settings: Settings, scratch: Path) -> Source:
    """Another place to draw rows from, with the pipeline's key where it has one. Raises Misconfigured."""
    place = place_at(uri, spec, settings)
    source = open_source(Extract(source=uri), place, batch_size=_BATCH, scratch=scratch)
    key = spec.extract.key
    if not key or not set(key) <= set(source.schema.names):
        return source
    source.close()
    return open_source(Extract(source=uri, key=key), place, batch_size=_BATCH, scratch=scratch)


def rows_of(source: Source) -> Iterator[Row]:
    """Every row that is a record. Blocks."""
    for batch in source.batches():
        for record in batch.records:
            yield Row(record.id, record.columns)


def case_rows(cases: Cases, spec: Pipeline, settings: Settings, scratch: Path) -> Sequence[Mapping[str, Any]]:
    """The rows of a file of cases. Raises Misconfigured when it is not there, or holds what is no row."""
    place = place_at(cases.file, spec, settings)
    source = open_source(Extract(source=cases.file), place, batch_size=_BATCH, scratch=scratch)
    try:
        rows = list[Mapping[str, Any]]()
        for batch in source.batches():
            if batch.rejected:
                wrong = batch.rejected[0]
                raise Misconfigured(
                    f"row {wrong.position + 1} of `{cases.file}` cannot be read", why=wrong.reason
                )
            rows.extend(record.columns for record in batch.records)
    finally:
        source.close()
    return rows
