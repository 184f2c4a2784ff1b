"""Rows for tests: of the pipeline's own source, of another place, of a file of cases."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loom_dagster.assembly.places import place_at
from loom_dagster.errors import LoomError, Misconfigured, Transient
from loom_dagster.extract import Source, open_source
from loom_dagster.extract.redaction import Redactor
from loom_dagster.prompt_tests.drawing import Drawn, Row, draw
from loom_dagster.prompt_tests.subjects import reference_of, truth_of
from loom_dagster.prompt_tests.table import Reference
from loom_dagster.spec import is_stream
from loom_dagster.spec.models import Extract
from loom_dagster.spec.suites import Cases, DistributionalTest, IntegrationTest

if TYPE_CHECKING:
    from loom_dagster.assembly.loom import Loom
    from loom_dagster.assembly.prepared import Prepared
    from loom_dagster.settings import RunOptions

__all__ = ["Sample", "Samples"]

_BATCH = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a distributional test is run with, from ``place``."""

    place: str
    drawn: Drawn
    truth: Mapping[str, float]
    reference: Reference | None


class Samples:
    """Of one pipeline, for the tests of one suite. Everything blocks; sources are opened when they are first needed."""

    def __init__(self, loom: Loom, ready: Prepared, options: RunOptions, scratch: Path) -> None:
        """``ready`` may be without its source."""
        self._loom, self._ready, self._options, self.scratch = loom, ready, options, scratch
        self._open = dict[Extract, Source]()
        self._own: Prepared | None = None
        self._reading = threading.Lock()

    def close(self) -> None:
        for source in self._open.values():
            source.close()
        if self._own is not None and self._own.source is not None:
            self._own.source.close()

    def check(self, test: DistributionalTest | IntegrationTest) -> None:
        """Raises Misconfigured when the records of ``test`` cannot be had, or lack a column that is needed."""
        with self._reading:
            source = self._source(test)
        prompt = self._ready.prompt
        problems = prompt.check_columns(source.schema.names) if prompt is not None else ()
        if problems:
            raise Misconfigured(
                f"`{source.uri}` lacks a column that the prompt needs", problems=tuple(problems)
            )
        if isinstance(test, DistributionalTest):
            reference_of(test, self._fields, source.schema.names)

    def of(self, test: DistributionalTest) -> Sample:
        """Its records, drawn. Raises Misconfigured."""
        with self._reading:
            source = self._source(test)
            drawn = draw(_rows(source), test.sample_size, test.seed)
        truthful = test.type == "hallucination_rate"
        partition = self._own.partition if test.source is None and self._own is not None else ""
        return Sample(
            place=f"partition {partition}, the newest, of `{source.uri}`" if partition else f"`{source.uri}`",
            drawn=drawn,
            truth=truth_of(test, self._ready.spec.evaluate.evaluators) if truthful else {},
            reference=reference_of(test, self._fields, source.schema.names),
        )

    def whole(self, test: IntegrationTest) -> tuple[Prepared, Drawn]:
        """The pipeline with its source open, and the records to run it for. Raises Misconfigured."""
        with self._reading:
            source = self._source(test)
            return self._with_source(), draw(_rows(source), test.sample_size, test.seed)

    def cases(self, cases: Cases) -> Sequence[Mapping[str, Any]]:
        """The rows of a file of cases. Raises Misconfigured when it is not there, or holds what is no row."""
        source = self._at(cases.file, Extract(source=cases.file))
        rows = list[Mapping[str, Any]]()
        for batch in source.batches():
            if batch.rejected:
                wrong = batch.rejected[0]
                what = f"row {wrong.position + 1} of `{cases.file}` cannot be read"
                raise Misconfigured(what, why=wrong.reason)
            rows.extend(record.columns for record in batch.records)
        return rows

    @property
    def _fields(self) -> Sequence[str]:
        return list(self._ready.schema.fields) if self._ready.schema is not None else []

    def _source(self, test: DistributionalTest | IntegrationTest) -> Source:
        if isinstance(test, DistributionalTest) and test.source is not None:
            return self._dataset(test.source)
        own = self._with_source().source
        if own is None:
            raise Misconfigured(f"the source of `{self._ready.spec.name}` cannot be read")
        return own

    def _with_source(self) -> Prepared:
        """The pipeline with its own source; of partitions the newest."""
        if self._own is not None:
            return self._own
        spec = self._ready.spec
        if is_stream(spec.extract.source):
            fix = "a distributional test can name a file of messages as its `source`"
            raise Misconfigured(f"`{spec.name}` reads a stream, of which no sample can be drawn", fix=fix)
        try:
            ready = self._loom.prepared(
                spec.name,
                self._options,
                self.scratch,
                partition=self._ready.partition,
                without=("keys",),
            )
        except Transient as error:
            raise _cannot(spec.extract.source, error) from error
        self._own = ready  # to be closed, whatever is wrong with the rest
        ready.require()
        return ready

    def _dataset(self, uri: str) -> Source:
        """Records of another place, with the pipeline's key where it has one. What the pipeline redacts nobody sees here
        either."""
        spec = self._ready.spec
        columns = self._at(uri, Extract(source=uri)).schema.names
        key = spec.extract.key if set(spec.extract.key) <= set(columns) else ()
        hidden = tuple(path for path in spec.extract.redact if {path, path.partition(".")[0]} & set(columns))
        redactor = self._with_source().redactor if hidden else None
        return self._at(uri, Extract(source=uri, key=key, redact=hidden), redactor)

    def _at(self, uri: str, extract: Extract, redactor: Redactor | None = None) -> Source:
        if extract not in self._open:
            place = place_at(uri, self._ready.spec, self._loom.settings)
            try:
                self._open[extract] = open_source(
                    extract, place, batch_size=_BATCH, scratch=self.scratch, redactor=redactor
                )
            except Transient as error:
                raise _cannot(uri, error) from error
        return self._open[extract]


def _cannot(uri: str, error: LoomError) -> Misconfigured:
    return Misconfigured(f"`{uri}` cannot be read", why=error.sentence())


def _rows(source: Source) -> Iterator[Row]:
    """Every row that is a record."""
    for batch in source.batches():
        for record in batch.records:
            yield Row(record.id, record.columns)
