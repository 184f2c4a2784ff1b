"""How the tests of a suite get their answers: from the store, asked anew, or from a recording; and what that costs."""

from __future__ import annotations

import contextlib
import functools
import math
import shlex
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loom_dagster.assembly.asking import Asker, Paid, asker, since_now
from loom_dagster.assembly.prepared import Prepared
from loom_dagster.errors import Misconfigured
from loom_dagster.gateway import AnswerStore, Asks, Gateway, Question, Shares
from loom_dagster.gateway.question import Origin
from loom_dagster.ledger import Budgets, SpendLog
from loom_dagster.prompt_tests.recordings import Recorded, Recording, Replayed, recording_path
from loom_dagster.records import Answer, digest
from loom_dagster.spec.files import shown_path

if TYPE_CHECKING:
    from loom_dagster.assembly.loom import Loom
    from loom_dagster.spec.suite_file import SuiteFile

__all__ = ["Answering", "BenchOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """How answers are had: from the store, and asked for where they are not there (default); ``fresh``: all asked anew;
    ``replay``: from the suite's recording only. ``record`` keeps in it what was used. ``budget``: USD, instead of the
    suite's. ``shared`` is what all who have the budget together call it. ``model`` and ``offline`` as of a run."""

    fresh: bool = False
    record: bool = False
    replay: bool = False
    budget: float | None = None
    model: str | None = None
    offline: bool = False
    shared: str = ""

    def __post_init__(self) -> None:
        if self.replay and (self.fresh or self.record):
            other = "--fresh" if self.fresh else "--record"
            raise Misconfigured(f"--replay asks nobody, and {other} wants to", fix="leave one of them out")
        if self.budget is not None and not 0 <= self.budget < math.inf:
            raise Misconfigured(f"a budget of {self.budget} USD is none", fix="write 0 or more, such as 0.50")


class Answering:
    """Of one suite. ``recording`` is what lies beside it. Raises Misconfigured when there is nothing to replay."""

    def __init__(self, loom: Loom, suite: SuiteFile, ready: Prepared, options: BenchOptions) -> None:
        self._loom, self._suite, self._ready, self._options = loom, suite, ready, options
        place = recording_path(suite.path)
        self.recording = Recording.load(place, shown_path(place, loom.settings.root), replays=options.replay)
        self.paid = Paid()
        self.notes: dict[str, None] = {}
        self._hearing, self._stack = threading.Lock(), contextlib.ExitStack()
        if options.replay and not self.recording.entries:
            what = "the recording is empty" if place.exists() else "there is no recording to replay"
            raise Misconfigured(what, where=self.recording.shown, fix=f"make it with {self._again}")

    @property
    def _again(self) -> str:
        return f"loom test {shlex.quote(self._suite.spec.pipeline)} --record"

    @functools.cached_property
    def replayed(self) -> Replayed | None:
        """What answers in place of the models."""
        return Replayed(self.recording, self._again) if self._options.replay else None

    @functools.cached_property
    def store(self) -> AnswerStore:
        """The project's; to be replayed none, and nothing of the project is opened."""
        if self._options.replay:
            return _NoAnswers()
        opened = self._loom.answers()
        self._stack.callback(opened.close)
        return since_now(opened, self._loom.clock.now().timestamp()) if self._options.fresh else opened

    def shares(self) -> Shares:
        """A member among those who share the project's limits."""
        return self._loom.ledger.limit_shares()

    def close(self) -> None:
        """After everybody who was given something of it."""
        self._stack.close()

    @contextlib.asynccontextmanager
    async def asker(self) -> AsyncIterator[Asker]:
        """The pipeline, to be asked. Raises Misconfigured when it has problems."""
        async with self.asks() as asks:
            known = self.recording if self._options.record or self._options.replay else None
            yield asker(self._ready, asks, self._loom.clock.now().timestamp(), known)

    @contextlib.asynccontextmanager
    async def asks(self) -> AsyncIterator[Asks]:
        """What answers: the models, or the recording."""
        if self.replayed is not None:
            yield self.replayed
            return
        settings, clock = self._loom.settings, self._loom.clock
        with self.books() as spend:
            gateway = Gateway(
                self.store,
                spend=spend,
                clock=clock,
                prices=self._ready.prices,
                patience=settings.outage_patience,
                shares=self.shares(),
                listen=self.hear,
                note=self.note,
            )
            async with gateway:
                yield gateway

    def books(self) -> SpendLog:
        """Where what is paid is written. Tests spend of their pipeline's money of the day and the project's of the month,
        and no more than their own cap."""
        from loom_dagster.assembly.plan import paid_for  # a run's, with all that is behind it

        most, shared = self._options.budget, self._options.shared
        if most is None:
            most = self._suite.spec.budget
            shared = shared and f"{shared}-{digest(self._suite.file).hex()[:8]}"
        limits = self._ready.budgets
        ledger = self._loom.ledger
        handle = ledger.trying.handle(self._suite.spec.pipeline, shared)
        budgets = Budgets(run=most, day=limits.day, month=limits.month)
        return ledger.spend(handle, budgets, functools.partial(paid_for, self.store))

    def hear(self, question: Question, answer: Answer) -> None:
        """Of every answer, in any thread."""
        with self._hearing:
            self.paid.hear(answer)
            if self._options.record:
                origin = question.origin
                self.recording.keep(Recorded(answer=answer, of=origin.record_id, purpose=origin.purpose))

    def note(self, text: str) -> None:
        """Something people should know; each is told once."""
        self.notes.setdefault(text)


@dataclass(frozen=True, slots=True)
class _NoAnswers:
    """A store with nothing in it."""

    def get(self, key: bytes, *, not_before: float | None = None) -> Answer | None:
        return None

    async def put(self, answer: Answer, origin: Origin) -> None:
        return
