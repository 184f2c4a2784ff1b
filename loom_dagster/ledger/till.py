"""The till: one place that holds the money, the limits and the answers of a run whose records many workers settle.

Whatever arrives while one round is written is the next round, so that all workers share its commits: answers are in the
store, and reservations and settlements in the ledger, before a worker is told so.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from loom_dagster.clock import Clock
from loom_dagster.errors import LoomError, Misconfigured
from loom_dagster.ledger.desks import Desk, Out, Visit
from loom_dagster.ledger.division import Division
from loom_dagster.ledger.entries import Entry
from loom_dagster.ledger.exchange import Message, Reply, fault_of
from loom_dagster.ledger.ledger import Ledger
from loom_dagster.ledger.lookups import Lookups, TillAnswers
from loom_dagster.ledger.process import Process
from loom_dagster.ledger.purse import Decided, Purse
from loom_dagster.ledger.rows import Budgets, RunHandle
from loom_dagster.ledger.shares import LimitShares
from loom_dagster.records import Account

__all__ = ["Till", "TillAnswers"]

_T = TypeVar("_T")

_PAUSE = 0.02  # seconds between two messages of a worker, and for each worker as much again:
_EACH = 0.002  # a message costs a millisecond of CPU, whatever is in it, so all together never send more than 500 a second


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
        self._answers, self._run, self._ledger = answers, run, ledger
        self._id = uuid.uuid4().hex
        database = ledger.database
        self._purse = Purse(database, run, budgets, owner, self._paid, clock=clock)
        shares = LimitShares(database, clock, owner=owner, token=f"{run.token}/")
        self._division, self._lookups = Division(shares, clock), Lookups(answers, self._tell, clock)
        self._desks: dict[str, Desk] = {}
        self._gone: dict[str, asyncio.Future[None]] = {}
        self._visits: list[Visit] = []
        self._leaving: list[str] = []
        self._rounds: asyncio.Task[None] | None = None
        self._begun = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="till")

    async def exchange(self, worker: str, message: tuple[Any, ...]) -> tuple[Any, ...]:
        """See exchange.py. A message that was sent before is answered as it was, and not applied again."""
        told = Message(*message)
        desk = self._desks.get(worker)
        if desk is not None and told.number <= desk.number:
            return tuple(await asyncio.shield(desk.reply))
        reply = asyncio.get_running_loop().create_future()
        if desk is None:
            desk = self._desks[worker] = Desk(worker, told.number, reply)
        else:
            desk.number, desk.reply = told.number, reply
        self._visits.append(Visit(desk, told))
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
        self._lookups.begin(flying)
        await self._in_thread(lambda: self._division.begin(flying))
        self._begun = True

    def _is_served(self, visit: Visit) -> bool:
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

    async def _round(self, visits: Sequence[Visit]) -> None:
        parts = asyncio.gather(
            self._lookups.work(visits, self._id), self._pay(visits), return_exceptions=True
        )
        for failure in await parts:
            if failure is not None:
                raise failure
        pause = _PAUSE + _EACH * len(self._desks)
        for visit in visits:
            desk, out = visit.desk, visit.desk.out
            desk.out = Out()
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

    async def _pay(self, visits: Sequence[Visit]) -> None:
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
            self._lookups.lost(worker)
            self._division.lost(worker)
        self._hand_out(await self._in_thread(lambda: self._purse.write(gone=workers)))
        for worker in workers:
            self._gone[worker].set_result(None)

    def _tell(self, worker: str) -> Out:
        return self._desks[worker].out if worker in self._desks else Out()

    def _paid(self, key: bytes, since: float) -> float | None:
        answer = self._answers.get(key, not_before=since)
        return None if answer is None else answer.cost

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
