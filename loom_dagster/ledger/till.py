"""The till: one place that holds the money, the limits and the answers of a run whose records many workers settle.

Whatever arrives while one round is written is the next round, so that all workers share its commits: answers are in the
store, and reservations and settlements in the ledger, before a worker is told so.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from loom_dagster.clock import Clock
from loom_dagster.errors import LoomError, Misconfigured
from loom_dagster.ledger.claims import Claims
from loom_dagster.ledger.division import Division
from loom_dagster.ledger.entries import Entry
from loom_dagster.ledger.exchange import Fault, Message, Reply, fault_of
from loom_dagster.ledger.ledger import Ledger
from loom_dagster.ledger.process import Process
from loom_dagster.ledger.purse import Decided, Purse
from loom_dagster.ledger.rows import Budgets, RunHandle
from loom_dagster.ledger.shares import LimitShares
from loom_dagster.records import Account, Answer

__all__ = ["Till", "TillAnswers"]

_T = TypeVar("_T")

_PAUSE = 0.01  # seconds between two messages of a worker, and for each worker as much again:
_EACH = 0.002  # a message costs a millisecond of CPU, whatever is in it, so all together never send more than 500 a second
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


@dataclass(slots=True)
class _Out:
    """What a worker is told next."""

    found: list[tuple[Any, ...]] = field(default_factory=list)
    claimed: list[bytes] = field(default_factory=list)
    granted: list[int] = field(default_factory=list)
    refused: list[tuple[int, Fault]] = field(default_factory=list)


@dataclass(slots=True)
class _Desk:
    """A worker, and its exchange."""

    name: str
    number: int
    reply: asyncio.Future[Reply]
    out: _Out = field(default_factory=_Out)


@dataclass(slots=True, eq=False)
class _Visit:
    """An exchange to be worked on."""

    desk: _Desk
    message: Message
    answers: Fault | None = None


class Till:
    """For one event loop. ``owner``: the process that drives the run; once that is gone, other runs settle what the
    workers had in flight. A till that is made anew, of the same arguments, goes on where the last one ended.

    Raises Misconfigured (kind ``ledger``).
    """

    def __init__(
        self,
        ledger: Ledger,
        answers: TillAnswers,
        run: RunHandle,
        budgets: Budgets,
        owner: Process,
        *,
        clock: Clock,
    ) -> None:
        self._answers, self._run, self._ledger, self._clock = answers, run, ledger, clock
        self._id = uuid.uuid4().hex
        database = ledger.database
        self._purse = Purse(database, run, budgets, owner, self._paid, clock=clock)
        shares = LimitShares(database, clock, owner=owner, token=f"{run.token}/")
        self._division, self._claims = Division(shares, clock), Claims()
        self._desks: dict[str, _Desk] = {}
        self._gone: dict[str, asyncio.Future[None]] = {}
        self._visits: list[_Visit] = []
        self._leaving: list[str] = []
        self._rounds: asyncio.Task[None] | None = None
        self._begun = False
        # workers of a till before this one: what they claim is not known before they have said it to this one
        self._unheard: set[str] = set()
        self._heard_by = 0.0
        self._sought: dict[tuple[bytes, str], float | None] = {}  # to be looked up, by whom; since when
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="till")

    async def exchange(self, worker: str, message: tuple[Any, ...]) -> tuple[Any, ...]:
        """See exchange.py. A message that was sent before is answered as it was, and not applied again."""
        told = Message(*message)
        desk = self._desks.get(worker)
        if desk is not None and told.number <= desk.number:
            return tuple(await asyncio.shield(desk.reply))
        reply = asyncio.get_running_loop().create_future()
        if desk is None:
            desk = self._desks[worker] = _Desk(worker, told.number, reply)
        else:
            desk.number, desk.reply = told.number, reply
        self._visits.append(_Visit(desk, told))
        self._go_on()
        return tuple(await asyncio.shield(reply))

    async def lost(self, worker: str) -> None:
        """Its process is gone: its calls in flight are settled by what is stored, its claims and limits are others'.
        What it says from now on is refused. Losing it twice is fine."""
        done = self._gone.get(worker)
        if done is None or (done.done() and done.exception() is not None):
            done = self._gone[worker] = asyncio.get_running_loop().create_future()
            self._leaving.append(worker)
            self._go_on()
        await asyncio.shield(done)

    async def leave(self, worker: str) -> None:
        """It ended well; a call whose outcome it has not told counts as a lost worker's."""
        await self.lost(worker)

    async def books(self) -> dict[Account, Entry]:
        """What the run, with this allowance, has come to in the ledger: also what it paid before it was resumed."""
        return await self._in_thread(lambda: self._ledger.books.of_run(self._run))

    async def close(self) -> None:
        """After everybody has left. What a worker that did not leave has in flight is settled as when it is lost."""
        if self._begun:
            for worker in self._purse.workers:
                await self.lost(worker)
            await self._in_thread(self._division.leave)
        self._thread.shutdown()

    def _go_on(self) -> None:
        if self._rounds is None or self._rounds.done():
            self._rounds = asyncio.create_task(self._work())

    async def _work(self) -> None:
        while self._visits or self._leaving:
            visits, self._visits = self._visits, []
            leaving, self._leaving = self._leaving, []
            try:
                if not self._begun:
                    await self._begin()
                visits = [visit for visit in visits if self._is_served(visit)]
                await self._round(visits)
                if leaving:
                    await self._let_go(leaving)
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
                for visit in visits:
                    if not visit.desk.reply.done():
                        visit.desk.number -= 1  # to be sent again
                        visit.desk.reply.set_exception(error)
                        visit.desk.reply.exception()  # seen, also when nobody waits
                for worker in leaving:
                    done = self._gone[worker]
                    if not done.done():
                        done.set_exception(error)
                        done.exception()

    async def _begin(self) -> None:
        flying = await self._in_thread(self._purse.begin)
        for worker, keys in flying.items():
            for key in keys:
                self._claims.restore(key, worker)
        await self._in_thread(lambda: self._division.begin(flying))
        self._unheard, self._heard_by = set(flying), self._clock.monotonic() + _HEARD_WITHIN
        self._begun = True

    def _is_served(self, visit: _Visit) -> bool:
        """A worker that was given up is told so; one that nobody knows was given up before this till began."""
        name = visit.desk.name
        if name not in self._gone and (visit.message.number == 1 or self._purse.knows(name)):
            return True
        self._desks.pop(name, None)
        fault = fault_of(
            Misconfigured(
                f"worker {name} was given up",
                why="it was taken for dead, and what it had begun was given to others",
                kind="worker_gone",
            )
        )
        visit.desk.reply.set_result(Reply(self._id, gone=fault))
        return False

    async def _round(self, visits: Sequence[_Visit]) -> None:
        parts = asyncio.gather(self._keep(visits), self._pay(visits), return_exceptions=True)
        for failure in await parts:
            if failure is not None:
                raise failure
        pause = _PAUSE + _EACH * len(self._desks)
        for visit in visits:
            desk, out = visit.desk, visit.desk.out
            desk.out = _Out()
            names = [demand[0] for demand in visit.message.demands]
            desk.reply.set_result(
                Reply(
                    self._id,
                    pause,
                    tuple(out.found),
                    tuple(out.claimed),
                    tuple(out.granted),
                    tuple(out.refused),
                    self._division.grants(desk.name, names),
                    visit.answers,
                )
            )

    async def _keep(self, visits: Sequence[_Visit]) -> None:
        """Answers: what comes is stored, then what is asked for is looked up."""
        rows = [row for visit in visits for row in visit.message.puts]
        self._sought |= {
            (key, visit.desk.name): not_before for visit in visits for key, not_before in visit.message.finds
        }
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
            self._claim(visit)
        self._look_up(stored)

    def _claim(self, visit: _Visit) -> None:
        worker = visit.desk.name
        if visit.message.till == self._id:
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

    async def _pay(self, visits: Sequence[_Visit]) -> None:
        for visit in visits:
            if visit.message.demands:
                self._division.take(visit.desk.name, visit.message.demands)
            visit.desk.out.granted += self._purse.take(visit.desk.name, visit.message)
        if self._division.is_due:
            with contextlib.suppress(
                LoomError
            ):  # a ledger that is away: everybody goes on with the last share
                await self._in_thread(self._division.beat)
        self._hand_out(await self._in_thread(self._purse.write))

    def _hand_out(self, decided: Decided) -> None:
        for worker, tickets in decided.granted.items():
            self._tell(worker).granted += tickets
        for worker, refused in decided.refused.items():
            self._tell(worker).refused += refused

    async def _let_go(self, workers: Sequence[str]) -> None:
        for worker in workers:
            desk = self._desks.pop(worker, None)
            if desk is not None:
                self._purse.release(worker, desk.out.granted)  # it was never told of them
            for key, heir in self._claims.leave(worker):
                self._tell(heir).claimed.append(key)
            self._division.lost(worker)
            self._unheard.discard(worker)
            self._sought = {of: since for of, since in self._sought.items() if of[1] != worker}
        self._hand_out(await self._in_thread(lambda: self._purse.write(gone=workers)))
        for worker in workers:
            self._gone[worker].set_result(None)

    def _tell(self, worker: str) -> _Out:
        return self._desks[worker].out if worker in self._desks else _Out()

    def _paid(self, key: bytes, since: float) -> float | None:
        answer = self._answers.get(key, not_before=since)
        return None if answer is None else answer.cost

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
