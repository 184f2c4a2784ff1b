"""What a run is given: a pipeline whose every part was checked, with nothing spent yet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from loom_dagster.batches import Desk
from loom_dagster.clock import Clock
from loom_dagster.gateway import Asks, Question, Spend
from loom_dagster.ledger import Budgets, Ledger, RunHandle, VersionRow
from loom_dagster.pipeline.route import Route
from loom_dagster.pipeline.stop import Stop
from loom_dagster.pipeline.stream import Pace, Streamed
from loom_dagster.pipeline.tally import Tally
from loom_dagster.records import Answer, Batch
from loom_dagster.release import SnapshotWriter, Stamp, Written
from loom_dagster.spec.models import Evaluate, Monitoring
from loom_dagster.watermark import Watermark

__all__ = ["Base", "Engine", "Plan", "Work"]

Heard = Callable[[Question, Answer], None]
Noted = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Base:
    """The snapshot whose quarantine is tried again. ``tried`` of its records are; ``merge`` makes it
    and what became of them one snapshot in a folder. ``monitors``: what those said of its run, as it is kept."""

    counts: Mapping[str, int]
    tried: int
    merge: Callable[[Written, Path], Written]
    monitors: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A pipeline ready to run.

    ``batches`` reads the source from its beginning; ``gateway`` is entered for the length of the
    run and tells of every answer and of what people should know; ``route`` is the way of a record
    through it. ``budgets`` are kept; a run that costs more than ``warn_above`` USD only says so. ``paid``
    finds the price of a stored answer. ``partition`` is "~trial" for trial runs, which are never released; ``shown_partition`` is
    then still the one that is tried. ``base`` is set when
    records of the quarantine are tried again. An ``increment`` has what is new since the last load;
    ``reached`` says, once the source is read, how far its load brings the pipeline. ``gone`` counts the
    records of the last release that are not in the source any more, and names some. ``whole``: what ``batches`` does not
    hold is gone from the source. ``again``: these are records of the quarantine; ``samples``:
    how many answers each had before. ``series``: the partitions follow each
    other in time, so that monitors compare with earlier ones. ``tells`` names the channels that
    hear of a check that fails; ``skips``: records that fail are skipped. ``taken``: how the source looked just before it
    was opened, for the ledger. ``desk``: questions that the gateway does not ask go into batches. ``engine`` settles
    the records somewhere else; None: in this process.
    """

    pipeline: str
    partition: str
    fingerprint: str
    version: str | None
    model: str
    simulated: bool
    trial: bool
    allow_empty: bool
    evaluate: Evaluate
    source_schema: pa.Schema
    output_schema: pa.Schema
    folder: Callable[[str], Path]
    stamp: Callable[[str], Stamp]
    batches: Callable[[], Iterator[Batch]]
    gateway: Callable[[Heard, Noted, Spend], AbstractAsyncContextManager[Asks]]
    route: Callable[[Asks, RunHandle], Route]
    budgets: Budgets = field(default_factory=Budgets)
    warn_above: float | None = None
    paid: Callable[[bytes, float], float | None] = lambda key, since: None
    pace: Pace = field(default_factory=Pace)
    versions: Mapping[str, Any] = field(default_factory=dict)
    version_rows: Sequence[VersionRow] = ()
    notes: Sequence[str] = ()
    base: Base | None = None
    increment: bool = False
    reached: Callable[[], Watermark | None] = lambda: None
    gone: Callable[[Written], tuple[int, Sequence[str]]] = lambda written: (0, ())
    whole: bool = True
    taken: Mapping[str, Any] | None = None
    shown_partition: str = ""
    monitoring: Monitoring = field(default_factory=Monitoring)
    again: bool = False
    samples: Mapping[str, int] = field(default_factory=dict)
    series: bool = False
    tells: Callable[[str], Sequence[str]] = lambda check: ()
    skips: bool = False
    desk: Desk | None = None
    engine: Engine | None = None

    @property
    def of_stream(self) -> bool:
        """Whether this is one of many small batches."""
        return not self.whole

    @property
    def evaluators(self) -> list[tuple[str, str, float]]:
        """Name, type and threshold of each."""
        return [(e.name, e.type, e.threshold) for e in self.evaluate.evaluators]


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a run gives to those who settle its records: every one goes to ``writer`` and is counted in ``tally``.
    ``spend`` keeps the budgets of calls that are made in this process; ``tick`` is called now and then."""

    plan: Plan
    handle: RunHandle
    ledger: Ledger
    spend: Spend
    writer: SnapshotWriter
    tally: Tally
    stop: Stop
    note: Noted
    tick: Callable[[], None]
    clock: Clock


Engine = Callable[[Work], Awaitable[Streamed]]
