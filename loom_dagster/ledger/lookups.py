"""The answers of a run with workers: what comes is stored, what is asked for is looked up, and each question that is not
answered yet has one worker who asks it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from loom_dagster.clock import Clock
from loom_dagster.errors import LoomError
from loom_dagster.ledger.claims import Claims
from loom_dagster.ledger.desks import Out, Visit
from loom_dagster.ledger.exchange import fault_of
from loom_dagster.records import Answer

__all__ = ["Lookups", "TillAnswers"]

_HEARD_WITHIN = 3.0  # seconds, within which workers tell a till that begins anew what they have claimed
_STORED_AT = 10  # of an answer's columns


class TillAnswers(Protocol):
    """The answer store, as the till uses it."""

    def get(self, key: bytes, *, not_before: float | None = None) -> Answer | None:
        """The stored answer. Blocks."""

    async def put_many(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Return once all are on disk. All columns of each; stored now, whenever they say."""

    async def get_many(self, keys: Iterable[bytes]) -> Mapping[bytes, Sequence[Any]]:
        """Of those that are stored the columns from ``key`` to ``created_at``."""


class Lookups:
    """``tell`` gives what a worker is told next."""

    def __init__(self, answers: TillAnswers, tell: Callable[[str], Out], clock: Clock) -> None:
        self._answers, self._tell, self._clock = answers, tell, clock
        self._claims = Claims()
        # workers of a till before this one: what they claim is not known before they have said it to this one
        self._unheard: set[str] = set()
        self._heard_by = 0.0
        self._sought: dict[tuple[bytes, str], float | None] = {}  # to be looked up, by whom; since when

    def begin(self, flying: Mapping[str, Iterable[bytes]]) -> None:
        """Keys of calls that were in flight before, by worker."""
        for worker, keys in flying.items():
            for key in keys:
                self._claims.restore(key, worker)
        self._unheard, self._heard_by = set(flying), self._clock.monotonic() + _HEARD_WITHIN

    def lost(self, worker: str) -> None:
        """Others may ask now what it was to ask."""
        self._unheard.discard(worker)
        self._sought = {of: since for of, since in self._sought.items() if of[1] != worker}
        for key, heir in self._claims.leave(worker):
            self._tell(heir).claimed.append(key)

    async def work(self, visits: Sequence[Visit], till: str) -> None:
        """Answers: what comes is stored, then what is asked for is looked up."""
        rows = [row for visit in visits for row in visit.message.puts]
        for visit in visits:
            for key in visit.message.asked:
                self._sought.pop((key, visit.desk.name), None)
            for key, not_before in visit.message.finds:
                self._sought[key, visit.desk.name] = not_before
        stored: Mapping[bytes, Sequence[Any]] = {}
        try:
            if rows:
                await self._answers.put_many(rows)
                for row in rows:
                    for worker in self._claims.stored(row[0]):
                        self._tell(worker).found.append(row[: _STORED_AT + 1])
            if self._sought:
                stored = await self._answers.get_many({key for key, _ in self._sought})
        except LoomError as error:
            self._sought.clear()
            for visit in visits:
                visit.answers = fault_of(error)
        for visit in visits:
            self._claim(visit, till)
        self._look_up(stored)

    def _claim(self, visit: Visit, till: str) -> None:
        worker = visit.desk.name
        if visit.message.till == till:
            self._unheard.discard(worker)
        for key in visit.message.claimed:
            self._claims.restore(key, worker)
        for key in visit.message.asked:
            heir = self._claims.end(key, worker)
            if heir is not None:
                self._tell(heir).claimed.append(key)

    def _look_up(self, stored: Mapping[bytes, Sequence[Any]]) -> None:
        if self._clock.monotonic() > self._heard_by:
            self._unheard.clear()
        sought, self._sought = self._sought, {}
        for (key, worker), not_before in sought.items():
            row = stored.get(key)
            if row is not None and (not_before is None or row[_STORED_AT] >= not_before):
                self._tell(worker).found.append(tuple(row))
            elif self._unheard:
                self._sought[key, worker] = not_before
            elif self._claims.take(key, worker):
                self._tell(worker).claimed.append(key)
