"""How the tests of a suite get their answers: from the store, asked anew, or from a recording; and what that costs."""

from __future__ import annotations

import contextlib
import functools
import shlex
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loom_dagster.assembly.asking import Asker, Paid, SinceNow, asker, spending_handle
from loom_dagster.assembly.prepared import Prepared
from loom_dagster.errors import Misconfigured
from loom_dagster.gateway import AnswerStore, Gateway, Question, Shares
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
    suite's. ``run_id`` is shared by all that share this budget. ``model`` and ``offline`` as of a run."""

    fresh: bool = False
    record: bool = False
    replay: bool = False
    budget: float | None = None
    model: str | None = None
    offline: bool = False
    run_id: str | None = None

    def __post_init__(self) -> None:
        if self.replay and (self.fresh or self.record):
            other = "--fresh" if self.fresh else "--record"
            raise Misconfigured(f"--replay asks nobody, and {other} wants to", fix="leave one of them out")


class Answering:
    """Of one suite. ``recording`` is what lies beside it. Raises Misconfigured when there is nothing to replay."""

    def __init__(self, loom: Loom, suite: SuiteFile, ready: Prepared, options: BenchOptions) -> None:
        self._loom, self._suite, self._ready, self._options = loom, suite, ready, options
        place = recording_path(suite.path)
        self.recording = Recording.load(place, shown_path(place, loom.settings.root))
        self.paid = Paid()
        self.notes: dict[str, None] = {}
        self._hearing, self._stack = threading.Lock(), contextlib.ExitStack()
        if options.replay and not self.recording.answers:
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
        return SinceNow(opened, self._loom.clock.now().timestamp()) if self._options.fresh else opened

    def shares(self) -> Shares:
        """A member among those who share the project's limits."""
        return self._loom.ledger.limit_shares()

    def close(self) -> None:
        """After everybody who was given something of it."""
        self._stack.close()

    @contextlib.asynccontextmanager
    async def asker(self) -> AsyncIterator[Asker]:
        """The pipeline, to be asked. Raises Misconfigured when it has problems."""
        if self.replayed is not None:
            yield asker(self._ready, self.replayed, 0.0)
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
                yield asker(self._ready, gateway, clock.now().timestamp())

    def books(self) -> SpendLog:
        """Where what is paid is written. Tests of a pipeline spend of its day's money and the project's month's, and no more than their own cap."""
        most, run_id = self._options.budget, self._options.run_id
        if most is None:
            most = self._suite.spec.budget
            run_id = run_id and f"{run_id}-{digest(self._suite.file).hex()[:8]}"
        limits = self._ready.budgets
        handle = spending_handle(self._suite.spec.pipeline, run_id, self._loom.clock.now())

        def paid(key: bytes, since: float) -> float | None:
            answer = self.store.get(key, not_before=since)
            return None if answer is None else answer.cost

        return self._loom.ledger.spend(handle, Budgets(run=most, day=limits.day, month=limits.month), paid)

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
