"""The money, at a worker's end of its line to the till."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from loom_dagster.clock import Clock
from loom_dagster.cluster.answers import end
from loom_dagster.errors import LoomError, OverBudget
from loom_dagster.ledger.entries import UNIT, Entry, counted
from loom_dagster.ledger.exchange import Reply, raised
from loom_dagster.records import Account, Usage, to_json

__all__ = ["Money"]

_NONE, _NOTHING = Account(), Usage()
_STAYS_FULL = 1.0  # seconds for which a budget that was full is full without a question


class _Wanted(NamedTuple):
    want: tuple[int, int, str, str]
    done: asyncio.Future[int]


class _Refusal(NamedTuple):
    amount: int
    until: float
    error: OverBudget


class Money:
    """``Spend``: the budgets and the books, kept by the till."""

    def __init__(self, wake: Callable[[], None], clock: Clock, *, limited: bool) -> None:
        self._wake, self._clock, self.limited = wake, clock, limited
        self._error: LoomError | None = None
        self._tickets = itertools.count(1)
        self._tails: dict[Account, str] = {}
        self._waiting: dict[int, _Wanted] = {}
        self._wants: dict[int, tuple[int, int, str, str]] = {}  # not told yet
        self._amounts: dict[int, int] = {}  # of calls in flight
        self._ended: list[int] = []
        self._counted: dict[Account, Entry] = {}
        self._refusal: _Refusal | None = None

    async def reserve(self, key: bytes, worst: float, account: Account = _NONE) -> int:
        """A ticket for a call that costs ``worst`` USD at most, once that is on disk. Raises OverBudget."""
        if worst <= 0:
            return 0
        if self._error is not None:
            raise self._error
        amount, refusal = math.ceil(worst / UNIT), self._refusal
        if refusal is not None and amount >= refusal.amount and self._clock.monotonic() < refusal.until:
            raise refusal.error
        ticket = next(self._tickets)
        tail = self._tails.get(account)
        if tail is None:
            tail = self._tails[account] = f",{to_json(list(account)).decode()[1:-1]},"
        want = (ticket, amount, f'["{key.hex()}",{amount},', f"{tail}{ticket}]")
        waits = _Wanted(want, asyncio.get_running_loop().create_future())
        self._waiting[ticket], self._wants[ticket] = waits, want
        self._wake()
        try:
            await waits.done
        except asyncio.CancelledError:
            self._give_back(ticket)
            raise
        return ticket

    def settle(
        self, ticket: int, cost: float | None, account: Account = _NONE, usage: Usage = _NOTHING
    ) -> None:
        """The call was paid for, and its answer is on disk. None: nobody knows its price."""
        self._entry(account).pay(cost, usage)
        self._end(ticket)

    def release(self, ticket: int) -> None:
        """The call cost nothing."""
        if ticket:
            self._end(ticket)

    def lose(self, ticket: int, account: Account = _NONE) -> None:
        """Nobody knows whether the call was paid for: it counts at its worst case."""
        self._entry(account).lose(self._amounts.get(ticket, 0))
        self._end(ticket)

    @property
    def waits(self) -> bool:
        return bool(self._waiting)

    def gather(self) -> dict[str, Any]:
        fields = {
            "ended": tuple(self._ended),
            "counted": counted(self._counted),
            "wants": tuple(self._wants.values()),
        }
        self._ended, self._counted, self._wants = [], {}, {}
        return fields

    def hear(self, reply: Reply) -> bool:
        for ticket in reply.granted:
            waits = self._waiting.pop(ticket, None)
            if waits is not None:
                self._amounts[ticket] = waits.want[1]
                end(waits.done, ticket)
        for ticket, fault in reply.refused:
            waits = self._waiting.pop(ticket, None)
            if waits is not None:
                error = raised(fault)
                if isinstance(error, OverBudget):
                    until = self._clock.monotonic() + _STAYS_FULL
                    self._refusal = _Refusal(waits.want[1], until, error)
                end(waits.done, None, error)
        return bool(reply.granted or reply.refused)

    def repeat(self) -> None:
        """The till knows nothing of what waits."""
        self._wants = {ticket: waits.want for ticket, waits in self._waiting.items()}
        if self._wants:
            self._wake()

    def fail(self, error: LoomError) -> None:
        self._error = error
        for waits in self._waiting.values():
            end(waits.done, None, error)
        self._waiting, self._wants = {}, {}

    def _entry(self, account: Account) -> Entry:
        return self._counted.setdefault(account, Entry())

    def _end(self, ticket: int) -> None:
        self._refusal = None
        if self._amounts.pop(ticket, None) is not None:
            self._ended.append(ticket)
        if self._error is None:
            self._wake()

    def _give_back(self, ticket: int) -> None:
        self._waiting.pop(ticket, None)
        self._amounts.pop(ticket, None)
        if self._wants.pop(ticket, None) is None and self._error is None:
            self._ended.append(ticket)
            self._wake()
