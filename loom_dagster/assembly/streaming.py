"""A pipeline that consumes a stream: `loom stream`. Each batch is an ordinary run over the messages it was given."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from loom_dagster.assembly.places import source_place
from loom_dagster.assembly.plan import Materials, make_plan
from loom_dagster.assembly.prepare import check_columns_of
from loom_dagster.assembly.prepared import Prepared
from loom_dagster.assembly.seat import Notes, Seat
from loom_dagster.assembly.telemetry import watched
from loom_dagster.connectors.streams import Message, MessageReader, consumer_of
from loom_dagster.errors import Misconfigured
from loom_dagster.events import Event, Listener, Note, RunStarted
from loom_dagster.extract import Source
from loom_dagster.ledger import Ledger
from loom_dagster.pipeline import BatchDone, Consumed, LoadResult, Outcome, Stop, Terms, consume
from loom_dagster.release import Snapshot, prune
from loom_dagster.release.folders import encoded
from loom_dagster.spec import is_stream
from loom_dagster.spec.models import Stream

__all__ = ["stream"]

KEPT = 100  # snapshots of a stream whose files stay
_SWEEP_EVERY = 10  # batches


class Home(Protocol):
    """What is needed of the project."""

    @property
    def ledger(self) -> Ledger: ...

    def load(self, name: str, options: None, only: Snapshot) -> LoadResult:
        """Loads one snapshot, and brings the quarantine's table up to date."""

    def publish_quarantine(self, name: str) -> int: ...


def stream(
    ready: Prepared,
    materials: Materials,
    home: Home,
    *,
    batches: int | None,
    until_empty: bool,
    scratch: Path,
    listen: Listener,
    done: Callable[[BatchDone], None],
    stop: Stop | None,
) -> Consumed:
    """Consume the source of ``ready``. Raises Misconfigured when it is no stream or cannot run."""
    spec = ready.spec
    if not is_stream(spec.extract.source):
        raise Misconfigured(
            f"`{spec.name}` reads {spec.extract.source}, which is no stream", fix=f"loom run {spec.name}"
        )
    ready.require()
    state = materials.settings.state_dir
    folder = state / "streams" / encoded(spec.name)
    how = spec.extract.stream or Stream()
    note = functools.partial(_note, listen, spec.name)
    terms = Terms(
        batch=how.batch,
        wait=how.wait.total_seconds(),
        batches=batches,
        until_empty=until_empty,
        lenient=spec.evaluate.on_batch_failure == "load_passed",
    )
    with closing(Seat(folder)) as seat:
        source = consumer_of(
            source_place(spec, materials.settings),
            how,
            group=how.group or f"loom-{spec.name}",
            consumer=seat.name,
            note=note,
        )
        work = _Work(ready, materials, home, Notes(folder), scratch, listen)
        with closing(source):
            return consume(
                source, work, terms, stop=stop or Stop(), note=note, done=done, clock=materials.clock
            )


class _Work:
    """Runs, loads and forgets batches of one pipeline."""

    def __init__(
        self,
        ready: Prepared,
        materials: Materials,
        home: Home,
        notes: Notes,
        scratch: Path,
        listen: Listener,
    ) -> None:
        self._ready, self._materials, self._home, self._scratch = ready, materials, home, scratch
        self._notes, self._listen = notes, listen
        self._name = ready.spec.name
        self._reader = _reader(ready, materials)
        self._checked = False
        self._batches = 0

    def first_batch(self, messages: Sequence[Message]) -> int:
        return self._reader.until_repeated(messages)

    def settled(self, messages: Sequence[Message]) -> Collection[str]:
        done: set[str] = set()
        for run_id, ids in self._notes.of([m.id for m in messages]).items():
            snapshot = self._materials.releases.snapshot(self._name, run_id)
            if snapshot is not None and snapshot.released_at is not None:
                self._home.load(self._name, None, snapshot)
                done |= ids
        return done

    def run(self, messages: Sequence[Message]) -> Outcome:
        if not self._checked:
            self._check(messages)
        rows = self._reader.rows(messages)
        spec = self._ready.spec
        source = Source(
            rows,
            spec.extract,
            key=spec.extract.key,
            batch_size=spec.transform.batch_size,
            scratch=self._scratch,
            redactor=self._ready.redactor,
        )
        materials = replace(self._materials, batches=source.batches, source_schema=source.schema)
        plan = replace(make_plan(self._ready, materials), whole=False)

        def hear(event: Event) -> None:
            if isinstance(event, RunStarted):  # nothing was asked yet
                self._notes.write(event.run_id, [m.id for m in messages])
            self._listen(event)

        with closing(source):
            run = watched(materials.settings)
            return run(plan, self._home.ledger, fresh=False, listen=hear, stop=Stop(), clock=materials.clock)

    def load(self, outcome: Outcome) -> LoadResult | None:
        if not outcome.released:
            self._home.publish_quarantine(self._name)
            return None
        snapshot = self._materials.releases.snapshot(self._name, outcome.run_id)
        if snapshot is None:
            raise Misconfigured(f"snapshot {outcome.run_id} of `{self._name}` is gone")
        return self._home.load(self._name, None, snapshot)

    def acknowledged(self, messages: Sequence[Message]) -> None:
        self._notes.forget([m.id for m in messages])
        if self._batches % _SWEEP_EVERY == 0:
            prune(self._home.ledger, self._materials.settings.state_dir, self._name, keep=KEPT)
        self._batches += 1

    def _check(self, messages: Sequence[Message]) -> None:
        """What only the messages can show, at the first batch: that the pipeline and they fit together."""
        names = self._reader.names(messages)
        found = check_columns_of(self._ready, pa.schema([(name, pa.null()) for name in names]))
        if names and found:
            raise Misconfigured(
                f"the messages of {self._ready.spec.extract.source} do not fit `{self._name}`",
                problems=found,
                fix="if a field may be missing, name all fields in `extract.columns`",
            )
        self._checked = bool(names)


def _reader(ready: Prepared, materials: Materials) -> MessageReader:
    spec, prompt, schema = ready.spec, ready.prompt, ready.schema
    outputs = frozenset(() if schema is None else schema.arrow.names)
    return MessageReader(
        spec.extract.source,
        columns=spec.extract.columns,
        key=spec.extract.key,
        wanted=frozenset() if prompt is None else prompt.columns,
        taken=outputs,
        known=_known(materials, spec.name, outputs, {path.partition(".")[0] for path in spec.extract.redact}),
    )


def _known(
    materials: Materials, name: str, outputs: Collection[str], redacted: Collection[str]
) -> pa.Schema | None:
    """The source's columns as the last batch left them."""
    snapshot = materials.releases.latest(name)
    if snapshot is None or not snapshot.transformed.exists():
        return None
    written = pq.read_schema(snapshot.transformed)
    kept = [f for f in written if not f.name.startswith("_loom_") and f.name not in outputs]
    # what is redacted was written as a text; what it is in the messages, they tell
    return pa.schema([f.with_type(pa.null()) if f.name in redacted else f for f in kept])


def _note(listen: Listener, pipeline: str, text: str) -> None:
    listen(Note(pipeline=pipeline, text=text))
