"""A stream, consumed: messages in small batches, each batch a run, loaded, and only then acknowledged.

Killed at any point, the next start is given the same messages again: their answers are stored and loading
them twice changes nothing. So each message arrives exactly once in effect.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from loom_dagster.clock import Clock
from loom_dagster.connectors.streams import Message, Messages
from loom_dagster.errors import Misconfigured, Transient
from loom_dagster.pipeline.batches import BatchDone, Consumed, Terms
from loom_dagster.pipeline.outcome import LoadResult, Outcome
from loom_dagster.pipeline.patience import Patience, Stopped
from loom_dagster.pipeline.stop import Stop

__all__ = ["Work", "consume"]

_BEAT = 10.0  # seconds between signs of life
_LOOK = 0.5  # seconds a take waits, so that a stop is heard soon
_TURN = 0.5  # seconds between looks whether it is our turn


class Work(Protocol):
    """What becomes of messages. Raises Transient while the destination is away."""

    def first_batch(self, messages: Sequence[Message]) -> int:
        """How many of them, from the first on, may be one batch."""

    def settled(self, messages: Sequence[Message]) -> Collection[str]:
        """Ids of those that an earlier run has settled and somebody has released; they are loaded by now."""

    def run(self, messages: Sequence[Message]) -> Outcome:
        """Raises Misconfigured (kind ``lease``) while another run is going on."""

    def load(self, outcome: Outcome) -> LoadResult | None:
        """Loads what the run released, if it did, and shows what is in quarantine."""

    def acknowledged(self, messages: Sequence[Message]) -> None:
        """Nothing of them is needed any more."""


def consume(
    source: Messages,
    work: Work,
    terms: Terms,
    *,
    stop: Stop,
    note: Callable[[str], None],
    done: Callable[[BatchDone], None],
    clock: Clock,
) -> Consumed:
    """Consume until ``stop`` is requested, a batch is held, or ``terms`` are met. Blocks.

    Raises Misconfigured for what stops a run before it asks anything; its messages then stay.
    """
    return _Consumption(source, work, terms, stop=stop, note=note, done=done, clock=clock).consume()


class _Consumption:
    """The state of one ``consume``: messages that were taken and wait for the next batch."""

    def __init__(
        self,
        source: Messages,
        work: Work,
        terms: Terms,
        *,
        stop: Stop,
        note: Callable[[str], None],
        done: Callable[[BatchDone], None],
        clock: Clock,
    ) -> None:
        self._source, self._work, self._terms, self._clock = source, work, terms, clock
        self._stop, self._note, self._done = stop, note, done
        self._turns = False
        self._patience = Patience(stop, note, clock)
        self._waiting: list[Message] = []
        self._total = Consumed()

    def consume(self) -> Consumed:
        total, terms = self._total, self._terms
        try:
            while not self._stop.requested and (terms.batches is None or total.batches < terms.batches):
                if batch := self._gather():
                    if self._settle(batch).stops:
                        return total
                elif self._over():
                    break
        except Stopped:
            pass
        if total.quarantined and not total.loaded and not total.passed:
            total.exit_code = 1
            total.why = f"nothing passed: all {total.quarantined:,} are in quarantine"
        return total

    def _gather(self) -> list[Message]:
        """The next batch; none when no message came for a while, or when it is time to stop."""
        terms, now = self._terms, self._clock.monotonic
        closes: float | None = None
        while not self._stop.requested:
            if closes is None and self._waiting:
                closes = now() + terms.wait
            room = terms.batch - len(self._waiting)
            left = _LOOK if closes is None else min(closes - now(), _LOOK)
            if room <= 0 or left <= 0:
                break
            found = self._take(room, left)
            known = {message.id for message in self._waiting}
            self._waiting += [message for message in found if message.id not in known]
            if not found and (not self._waiting or self._over()):
                break
        if self._stop.requested:
            return []
        count = self._work.first_batch(self._waiting)
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    def _settle(self, batch: list[Message]) -> BatchDone:
        began = self._clock.monotonic()
        outcome: Outcome | None = None
        with _keeping(self._source, [*batch, *self._waiting]):
            settled = self._patience.until_done(lambda: self._work.settled(batch))
            rest = [message for message in batch if message.id not in settled]
            stops = False
            if rest:
                outcome = ran = self._run(rest)
                stops = not self._goes_on(outcome)
                load = self._patience.until_done(lambda: self._work.load(ran))
                self._count(outcome, load, stops=stops)
        if not stops:
            self._patience.until_done(lambda: self._source.acknowledge(batch), after=self._source.again)
            self._work.acknowledged(batch)
        total = self._total
        total.batches += 1
        total.messages += len(batch)
        total.loaded += len(settled)
        ended = BatchDone(
            number=total.batches,
            messages=len(batch),
            settled=len(settled),
            outcome=outcome,
            stops=stops,
            behind=self._behind(),
            seconds=self._clock.monotonic() - began,
        )
        self._done(ended)
        return ended

    def _run(self, messages: Sequence[Message]) -> Outcome:
        """A run that has come to an end, after as many as an outage takes: each goes on where the last one ended."""
        for delay in self._patience.delays():
            try:
                outcome = self._work.run(messages)
            except Misconfigured as error:
                if error.kind != "lease":
                    raise
                self._take_turns(error)
                delay = _TURN  # noqa: PLW2901
            else:
                if outcome.status != "deferred" or outcome.stopped_by:
                    self._patience.back()
                    return outcome
                self._patience.tell(
                    f"{outcome.verdict.reason}; the batch is tried again until the provider is back"
                )
            if self._patience.wait(delay):
                break
        raise Stopped

    def _take_turns(self, error: Misconfigured) -> None:
        if not self._turns:
            self._note(f"{error.what}; batches of this one and of that one take turns")
        self._turns = True

    def _goes_on(self, outcome: Outcome) -> bool:
        """Whether the stream goes on after a batch. A small one of which nothing passed, when no threshold is set,
        says little of the next: what is wrong with its records is in quarantine."""
        counts, verdict = outcome.counts, outcome.verdict
        if outcome.released:
            return True
        if outcome.status != "held" or any(m.holds for m in outcome.monitors):
            return False
        if counts.passed:
            return self._terms.lenient
        unjudged = verdict.pass_rate is None
        small = verdict.threshold is None and counts.extracted < self._terms.batch
        return unjudged or small or self._terms.lenient

    def _count(self, outcome: Outcome, load: LoadResult | None, *, stops: bool) -> None:
        total = self._total
        total.passed += outcome.counts.passed
        total.quarantined += outcome.counts.quarantined
        total.loaded += load.rows if load is not None else 0
        total.cost += outcome.spending.total
        for monitor in outcome.monitors:
            if not monitor.passed:
                self._note(f"{monitor.name}: {monitor.reason}")
        if stops:
            total.exit_code = outcome.exit_code or 1
            total.why = outcome.stopped_by or outcome.verdict.reason

    def _take(self, most: int, wait: float) -> Sequence[Message]:
        return self._patience.until_done(lambda: self._source.take(most, wait), after=self._source.again)

    def _over(self) -> bool:
        return self._terms.until_empty and self._patience.until_done(lambda: self._source.at_end)

    def _behind(self) -> int | None:
        try:
            return self._source.behind()
        except Transient:
            return None


@contextmanager
def _keeping(source: Messages, messages: Sequence[Message]) -> Iterator[None]:
    """Meanwhile the group is told that we are alive."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(_BEAT):
            source.keep(messages)

    thread = threading.Thread(target=beat, name="loom-keep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
