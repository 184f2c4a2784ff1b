"""The money of one run: the worst case is reserved on disk before a call is made, and settled after it.

All runs of a project look at the same ledger, so that they keep a common budget together. Reservations and
settlements that wait are written in one transaction by a thread of the run's own, as answers are.

A reservation that does not fit waits as long as others may yet give something back. It is refused when
nothing else is in flight: then there will be no more room.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import queue
import threading
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from sqlalchemy import Connection

from loom_dagster.clock import Clock
from loom_dagster.errors import Misconfigured, OverBudget
from loom_dagster.ledger import spend
from loom_dagster.ledger.database import Database
from loom_dagster.ledger.room import Room
from loom_dagster.ledger.rows import Budgets, BudgetUse, RunHandle
from loom_dagster.ledger.spend import UNIT, Call, Entry, Stored, Sums
from loom_dagster.records import Account, Usage

__all__ = ["SpendLog"]

_LOOK_AGAIN = 0.2  # seconds between two looks at what other runs give back
_NONE, _NOTHING = Account(), Usage()
_STAYS_FULL = 1.0  # seconds for which a budget that was full is full without a look


@dataclass(slots=True, eq=False)
class _Want:
    """Somebody who waits for ``amount`` picodollars."""

    key: bytes
    amount: int
    account: Account
    done: asyncio.Future[int]
    loop: asyncio.AbstractEventLoop


class _Settled(NamedTuple):
    """``usage`` None: no answer came. ``lost``: nobody knows whether it cost anything."""

    ticket: int
    account: Account
    cost: float | None = None
    usage: Usage | None = None
    lost: bool = False


class _Refusal(NamedTuple):
    """What did not fit last time, and until when no one asks again."""

    amount: int
    until: float
    error: OverBudget


class SpendLog:
    """Reserves and settles for one run. Tickets are 0 where nothing had to be reserved.

    Without budgets too: whatever kills the run, its calls in flight are in the ledger. Raises Misconfigured (kind
    ``ledger``) when that cannot be written and there is a budget to keep.
    """

    def __init__(
        self, database: Database, run: RunHandle, budgets: Budgets, stored: Stored, *, clock: Clock
    ) -> None:
        self._database, self._run, self._stored, self._clock = database, run, stored, clock
        self._limits = spend.limits(budgets)
        self._token = uuid.uuid4().hex
        self._tickets = itertools.count(1)
        self._calls: dict[int, Call] = {}
        self._counted: dict[Account, Entry] = {}  # settled, and not in the ledger yet
        self._changed = False  # calls that were settled are still in the ledger
        self._waiting: deque[_Want] = deque()
        self._items: queue.SimpleQueue[_Want | _Settled | None] = queue.SimpleQueue()
        self._refusal: _Refusal | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        if database.read(lambda connection: spend.is_owed(connection, clock.now())):
            database.write(lambda connection: spend.recover(connection, clock.now(), stored))

    @property
    def limited(self) -> bool:
        """Whether there is a budget to keep: every price has to be known then."""
        return bool(self._limits)

    async def reserve(self, key: bytes, worst: float, account: Account = _NONE) -> int:
        """A ticket for a call that costs ``worst`` USD at most, once that is on disk. Raises OverBudget."""
        if worst <= 0:
            return 0
        amount = math.ceil(worst / UNIT)
        refusal = self._refusal
        if refusal is not None and amount >= refusal.amount and self._clock.monotonic() < refusal.until:
            raise refusal.error
        loop = asyncio.get_running_loop()
        want = _Want(key, amount, account, loop.create_future(), loop)
        self._hand_over(want)
        return await want.done

    def settle(
        self, ticket: int, cost: float | None, account: Account = _NONE, usage: Usage = _NOTHING
    ) -> None:
        """The call was paid for, and its answer is on disk. None: nobody knows its price."""
        self._settle(_Settled(ticket, account, cost, usage))

    def release(self, ticket: int) -> None:
        """The call cost nothing."""
        if ticket:
            self._settle(_Settled(ticket, _NONE))

    def lose(self, ticket: int, account: Account = _NONE) -> None:
        """Nobody knows whether the call was paid for: it counts at its worst case."""
        self._settle(_Settled(ticket, account, lost=True))

    def use(self) -> tuple[BudgetUse, ...]:
        """How far each budget is used, with what is in flight at its worst case."""
        if not self._limits:
            return ()
        with self._lock:
            pending = sum(call.amount for call in self._calls.values())
            day = self._day()
            found = self._database.read(lambda c: spend.sums(c, self._run, day, self._token))
            spent = sum(entry.spent for entry in self._counted.values())
            pending += sum(entry.unconfirmed for entry in self._counted.values())
            return tuple(
                BudgetUse(
                    name=name,
                    limit=limit * UNIT,
                    spent=(found[name].spent + spent) * UNIT,
                    unconfirmed=(found[name].unconfirmed + pending) * UNIT,
                    ordered=found[name].ordered * UNIT,
                )
                for name, limit in self._limits.items()
            )

    def flush(self) -> None:
        """Write what was counted so far, where no reservation makes every call do so. From any thread."""
        if self._thread is None:
            self._transact(self._taken())

    def close(self) -> None:
        """Write everything. A call whose outcome has not been told counts as unconfirmed."""
        if self._thread is not None:
            self._items.put(None)
            self._thread.join()
            self._thread = None
        for ticket in tuple(self._calls):
            self._account(_Settled(ticket, self._calls[ticket].account, lost=True))
        self._transact(self._taken())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _settle(self, settled: _Settled) -> None:
        if settled.ticket or self._thread is not None:
            self._hand_over(settled)
        else:
            self._items.put(settled)

    def _hand_over(self, item: _Want | _Settled) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="spend-log", daemon=True)
            self._thread.start()
        self._items.put(item)

    def _work(self) -> None:
        """The thread: take what waits, write once, tell those who waited."""
        while True:
            first: list[_Want | _Settled | None] = []
            with contextlib.suppress(queue.Empty):
                first.append(self._items.get(timeout=_LOOK_AGAIN if self._waiting else None))
            items = [*first, *self._taken()]
            try:
                self._transact(items)
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
                told = error if isinstance(error, Misconfigured) else _broken(error)
                while self._waiting:  # without a budget nobody has to wait for a ledger that is away
                    _tell(self, self._waiting.popleft(), told if self._limits else 0)
            if None in items:
                return

    def _taken(self) -> list[_Want | _Settled | None]:
        """What waits. None is the end."""
        items: list[_Want | _Settled | None] = []
        with contextlib.suppress(queue.Empty):
            while True:
                items.append(self._items.get_nowait())
        return items

    def _transact(self, items: Sequence[_Want | _Settled | None]) -> None:
        with self._lock:
            for item in items:
                if isinstance(item, _Settled):
                    self._account(item)
                elif item is not None:
                    self._waiting.append(item)
            while self._waiting and self._waiting[0].done.done():
                self._waiting.popleft()
            if not (self._waiting or self._changed or self._counted):
                return
            calls, granted, refused = self._database.write(self._write)
            self._calls, self._counted, self._changed = calls, {}, False
            for _ in range(len(granted) + len(refused)):
                self._waiting.popleft()
        for ticket, want in granted.items():
            _tell(self, want, ticket)
        for want, error in refused:
            _tell(self, want, error)

    def _write(
        self, connection: Connection
    ) -> tuple[dict[int, Call], dict[int, _Want], list[tuple[_Want, OverBudget]]]:
        """What was counted, who gets a ticket and who none, and the calls in flight from now on."""
        now, day, run = self._clock.now(), self._day(), self._run
        spend.add(connection, run.run_id, run.allowance, run.pipeline, day, self._counted)
        granted: dict[int, _Want] = {}
        refused: list[tuple[_Want, OverBudget]] = []
        if self._waiting:
            if not self._calls:
                spend.recover(connection, now, self._stored)
            sums = spend.sums(connection, run, day, self._token) if self._limits else {}
            granted, refused = self._decide(sums)
        at = now.timestamp()
        calls = self._calls | {
            ticket: Call.of(want.key, want.amount, at, want.account) for ticket, want in granted.items()
        }
        spend.hold(connection, run, self._token, calls, now)
        return calls, granted, refused

    def _account(self, settled: _Settled) -> None:
        call = self._calls.pop(settled.ticket, None)
        self._changed |= call is not None
        self._refusal = None
        if settled.lost:
            self._entry(settled.account).lose(0 if call is None else call.amount)
        elif settled.usage is not None:
            self._entry(settled.account).pay(settled.cost, settled.usage)

    def _entry(self, account: Account) -> Entry:
        return self._counted.setdefault(account, Entry())

    def _decide(self, found: Mapping[str, Sums]) -> tuple[dict[int, _Want], list[tuple[_Want, OverBudget]]]:
        """Who of those who wait goes on, and who need not wait any longer. First come, first served: who
        waits for room keeps those behind it waiting."""
        granted: dict[int, _Want] = {}
        refused: list[tuple[_Want, OverBudget]] = []
        room = Room(self._limits, found, ours=sum([call.amount for call in self._calls.values()]))
        for want in self._waiting:
            if room.fits(want.amount):
                granted[next(self._tickets)] = want
            elif room.may_fit_later(want.amount):
                break
            else:
                error = room.refusal(want.amount, self._run.pipeline)
                self._refusal = _Refusal(want.amount, self._clock.monotonic() + _STAYS_FULL, error)
                refused.append((want, error))
        return granted, refused

    def _day(self) -> str:
        return f"{self._clock.now():%Y-%m-%d}"


def _broken(error: Exception) -> Misconfigured:
    return Misconfigured(
        "the ledger's reservations cannot be kept", why=f"{type(error).__name__}: {error}", kind="ledger"
    )


def _tell(log: SpendLog, want: _Want, answer: int | Misconfigured | OverBudget) -> None:
    def wake() -> None:
        if not want.done.done():
            if isinstance(answer, int):
                want.done.set_result(answer)
            else:
                want.done.set_exception(answer)
        elif isinstance(answer, int):
            log.release(answer)  # who wanted it was cancelled

    try:
        want.loop.call_soon_threadsafe(wake)
    except RuntimeError:  # the loop has been closed
        if isinstance(answer, int):
            log.release(answer)
