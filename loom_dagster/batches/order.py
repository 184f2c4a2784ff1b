"""The questions of one run, gathered for the provider's batch API while the run streams.

Each is a line in a file and a row in the spool; nothing but a few hundred of them is in memory. Its worst price, at the
price of batches, is reserved in the ledger before it is gathered.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from loom_dagster.batches.failed import error_of
from loom_dagster.clock import Clock
from loom_dagster.errors import LoomError, OverBudget, Permanent, Waits
from loom_dagster.gateway.batch_api import BatchLimits, line_of
from loom_dagster.gateway.batching import asked_of
from loom_dagster.gateway.lane import BatchRequest
from loom_dagster.gateway.question import Question
from loom_dagster.ledger import Batches, Budgets, RunHandle, Spool
from loom_dagster.ledger.spend import UNIT
from loom_dagster.records import Answer

__all__ = ["TRIES", "Order"]

TRIES = 3  # batches that a question goes into before its record is given up
_AT_ONCE = 500  # questions in memory
_AHEAD = 64  # times the price of one question: what is reserved at once
_LOOK_AGAIN = 0.2  # seconds between two looks at what calls in flight give back


@dataclass(slots=True, eq=False)
class _Part:
    """One batch of the order. ``granted`` of the ledger, in picodollars; ``used`` of it."""

    batch: str
    kind: object
    file: BinaryIO
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    requests: int = 0
    size: int = 0
    granted: int = 0
    used: int = 0


class Order:
    """Of one run and its event loop: ``begin`` it, let the gateway ``add``, then ``seal`` it."""

    def __init__(
        self,
        book: Batches,
        spool: Spool,
        *,
        provider: str,
        most: BatchLimits,
        budgets: Budgets,
        clock: Clock,
    ) -> None:
        self._book, self._spool, self._clock = book, spool, clock
        self._provider, self._most = provider, most
        self._limits: Mapping[str, int] = {
            name: math.floor(usd / UNIT) for name, usd in budgets.limits().items()
        }
        self._run: RunHandle | None = None
        self._slot = ""
        self._lock = asyncio.Lock()
        self._parts: list[_Part] = []
        self._gathered: set[bytes] = set()
        self.elsewhere: set[str] = set()  # batches that hold questions of this run, whoever sent them

    def begin(self, run: RunHandle) -> None:
        """Gather for ``run``; what an earlier start of it gathered and did not send is forgotten."""
        self._run, self._slot = run, slot_of(run.pipeline, run.partition)
        self._forget()

    def seen(self, answer: Answer) -> Answer:
        """A stored answer: not ``reused`` when a batch of this run was paid for it."""
        found = self._spool.find(answer.key)
        if found is None or found.state != "answered" or found.run_id != self._of().run_id:
            return answer
        return replace(answer, reused=False)

    async def check(self, key: bytes) -> None:
        """Raises Waits, Transient or Permanent, see gateway.Orders."""
        if key in self._gathered:
            raise _waits()
        found = self._spool.find(key)
        if found is None:
            return
        if found.state in ("waiting", "sent"):
            self.elsewhere.add(found.batch)
            raise _waits()
        final = found.state == "failed" or (found.state == "again" and found.tries >= TRIES)
        if final and found.run_id == self._of().run_id:
            raise error_of(found.error, tries=found.tries)

    async def add(self, key: bytes, question: Question, request: BatchRequest, worst: float) -> None:
        """Gather one more. Raises OverBudget, Permanent for one that no batch can hold, else Waits."""
        line = line_of(self._provider, key, request.body)
        if len(line) >= self._most.size:
            what = f"the question takes {len(line):,} bytes, and a batch has {self._most.size:,} at most"
            raise Permanent(what, kind="too_large")
        async with self._lock:
            if key in self._gathered:
                raise _waits()
            part = await self._part(question, request, len(line) + 1)
            price = math.ceil(worst / UNIT) if worst > 0 else 0
            await self._reserve(part, price)
            origin, run = question.origin, self._of()
            part.rows.append(
                (key, self._slot, run.run_id, part.batch, price, origin.record_id, origin.prompt)
            )
            part.lines.append(line)
            part.requests, part.size = part.requests + 1, part.size + len(line) + 1
            self._gathered.add(key)
            if len(part.rows) >= _AT_ONCE:
                await asyncio.to_thread(self._flush, part)
        raise _waits()

    def seal(self) -> Sequence[str]:
        """Nothing more is gathered: the batches that are to be sent, by our ids. Each is in the ledger, as
        one that may be with the provider from now on."""
        sealed = []
        for part in self._parts:
            self._flush(part)
            part.file.flush()
            os.fsync(part.file.fileno())
            part.file.close()
            requests, worst = self._spool.count(part.batch)
            if requests:
                self._book.seal(part.batch, requests=requests, reserved=worst)
                self._spool.send(part.batch)
                sealed.append(part.batch)
        if len(sealed) < len(self._parts):  # all that one gathered is in batches of others by now
            self._forget()
        self._parts.clear()
        return sealed

    def drop(self) -> None:
        """Nothing is sent: what was gathered is forgotten."""
        for part in self._parts:
            part.file.close()
        self._parts.clear()
        self._forget()

    def close(self) -> None:
        """Nobody asks any more; what was gathered and neither sent nor dropped is given back, as this process may live
        on."""
        if self._parts:
            with contextlib.suppress(LoomError):  # the next start does it
                self.drop()
        self._spool.close()

    def end(self) -> None:
        """The run has ended."""
        self._spool.end(self._slot, self._of().run_id)

    def _forget(self) -> None:
        run = self._of()
        self._book.forget(run.pipeline, run.partition)
        self._spool.begin(self._slot, run.run_id, {row.batch_id for row in self._book.open()})

    def _of(self) -> RunHandle:
        if self._run is None:
            raise RuntimeError("an order belongs to a run")
        return self._run

    async def _part(self, question: Question, request: BatchRequest, size: int) -> _Part:
        """The part that takes one question more: of one model and schema, within the provider's limits."""
        kind = (id(question.model), question.schema and question.schema.digest, request.url)
        part = self._parts[-1] if self._parts else None
        fits = part and part.requests < self._most.requests and part.size + size <= self._most.size
        if part is not None and part.kind == kind and fits:
            return part
        if part is not None:
            await asyncio.to_thread(self._flush, part)
        self._parts.append(await asyncio.to_thread(self._begin_part, kind, question, request))
        return self._parts[-1]

    def _begin_part(self, kind: object, question: Question, request: BatchRequest) -> _Part:
        run = self._of()
        host = request.url.partition("://")[2].partition("/")[0].rpartition("@")[2]
        batch = self._book.begin(run, provider=self._provider, endpoint=host, model=question.model.name)
        self._spool.order(batch, self._slot, asked_of(self._provider, question, request))
        return _Part(batch, kind, self._spool.file(batch).open("wb"))

    async def _reserve(self, part: _Part, price: int) -> None:
        if part.used + price > part.granted:
            try:
                await self._grant(part, price * _AHEAD)
            except OverBudget:  # there may still be room for one
                await self._grant(part, part.used + price - part.granted)
        part.used += price

    async def _grant(self, part: _Part, amount: int) -> None:
        while not await asyncio.to_thread(self._book.reserve, part.batch, self._of(), amount, self._limits):
            await self._clock.sleep(_LOOK_AGAIN)
        part.granted += amount

    def _flush(self, part: _Part) -> None:
        """Rows first: a question that somebody else has put into a batch since is not sent by this one."""
        new = self._spool.add(part.rows)
        part.file.writelines(line + b"\n" for line, is_new in zip(part.lines, new, strict=True) if is_new)
        self._gathered.difference_update(row[0] for row in part.rows)
        self.elsewhere.add(part.batch)
        part.rows.clear()
        part.lines.clear()


def slot_of(pipeline: str, partition: str) -> str:
    return f"{pipeline}\0{partition}"


def _waits() -> Waits:
    return Waits("its answer comes with a batch")
