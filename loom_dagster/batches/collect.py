"""The answers of a batch that has ended: into the answer store as they are read, then into the books, once.

Killed at any point it is done again from the beginning: an answer that is stored twice is one answer, and the books
are written in the transaction in which the batch becomes ``collected``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from loom_dagster.batches.failed import text_of
from loom_dagster.errors import LoomError, Misconfigured, Permanent, Transient
from loom_dagster.gateway.batch_api import BatchApi, BatchLine, BatchSeen
from loom_dagster.gateway.batching import batch_model, price_in_batches
from loom_dagster.gateway.lane import Reply
from loom_dagster.gateway.prices import PriceBook, cost_of
from loom_dagster.gateway.question import AnswerStore, Model, Origin, Price
from loom_dagster.ledger import Batches, BatchRow, Spool
from loom_dagster.ledger.spend import UNIT, Entry
from loom_dagster.ledger.spool import Told, Totals
from loom_dagster.records import Account, Answer

__all__ = ["collect"]

_AT_ONCE = 256  # lines in memory
_SAME = 4  # as many questions with the same complaint, and none that was answered, are no accident


async def collect(
    row: BatchRow,
    seen: BatchSeen,
    api: BatchApi,
    asked: Mapping[str, Any],
    book: Batches,
    spool: Spool,
    store: AnswerStore,
    prices: PriceBook,
) -> None:
    """Read all that came of the batch ``row``, and settle it. Raises Misconfigured, when it is settled, for what
    the provider says of more than one question: a key, a model, a parameter that it does not take."""
    model = batch_model(asked)
    reading = _Reading(row, model, price_in_batches(model, prices), spool, store)
    lines: list[BatchLine] = []
    async for line in api.lines(seen):
        lines.append(line)
        if len(lines) >= _AT_ONCE:
            await reading.take(lines)
            lines.clear()
    await reading.take(lines)
    wrong = reading.wrong()
    if wrong is not None:
        spool.reopen(row.batch_id)
    totals = spool.totals(row.batch_id)
    entries = {
        Account("transform", model.name, each.prompt): _entry(each, whole=seen.whole) for each in totals
    }
    missing = sum(each.missing for each in totals) if seen.whole else 0
    note = f"{missing:,} line{'s are' if missing > 1 else ' is'} missing" if missing else None
    if not book.settle(row.batch_id, "collected", entries, note=note):
        return  # somebody else has read them in the meantime
    spool.settled(row.batch_id, tried=wrong is None and row.cancelled_by is None)
    if wrong is not None:
        raise wrong


def _entry(totals: Totals, *, whole: bool) -> Entry:
    """Of a batch that was worked on as a ``whole``, lines that are missing may have been paid for."""
    return Entry(
        spent=totals.paid,
        unconfirmed=totals.unsure + (totals.missing_worst if whole else 0),
        calls=totals.answered,
        unpriced=totals.unpriced,
        lost=totals.lost + (totals.missing if whole else 0),
        input_tokens=totals.input_tokens,
        cached_tokens=totals.cached_tokens,
        output_tokens=totals.output_tokens,
    )


class _Reading:
    """What the lines of one batch say."""

    def __init__(
        self, row: BatchRow, model: Model, price: Price | None, spool: Spool, store: AnswerStore
    ) -> None:
        self._row, self._model, self._price = row, model, price
        self._spool, self._store = spool, store
        self._misconfigured: Misconfigured | None = None
        self._rejected: Counter[str] = Counter()
        self._last: LoomError | None = None

    async def take(self, lines: Sequence[BatchLine]) -> None:
        """A line of a question that is not in the batch, or that is in another one by now, is not ours."""
        batch = self._row.batch_id
        origins = await asyncio.to_thread(self._spool.origins, batch, [line.key for line in lines])
        told: list[Told] = []
        puts = []
        for line in lines:
            if line.key not in origins:
                continue
            if line.reply is None:
                told.append(self._failed(line))
                continue
            answer = self._answer(line.key, line.reply)
            record_id, prompt = origins[line.key]
            origin = Origin(
                pipeline=self._row.pipeline, record_id=record_id, purpose="transform", prompt=prompt
            )
            puts.append(self._store.put(answer, origin))
            paid = None if answer.cost is None else round(answer.cost / UNIT)
            told.append(Told(line.key, "answered", paid=paid, usage=answer.usage))
        await asyncio.gather(*puts)
        await asyncio.to_thread(self._spool.tell, batch, told)

    def wrong(self) -> Misconfigured | None:
        """What is wrong with all questions alike, as it is decided online: nothing was answered, and some complained
        alike; or it says of itself that it is no question's fault."""
        if self._misconfigured is not None:
            return self._misconfigured
        answered = any(each.answered for each in self._spool.totals(self._row.batch_id))
        if answered or len(self._rejected) != 1:
            return None
        if self._rejected.total() < _SAME or self._last is None:
            return None
        return Misconfigured(
            f"{self._row.model} rejected each of the {self._rejected.total():,} questions of batch "
            f"{self._row.batch_id} alike",
            why=self._last.why,
            fix="check the model's parameters, the output schema and `api_base`",
            kind="bad_request",
        )

    def _answer(self, key: bytes, reply: Reply) -> Answer:
        return Answer(
            key=key,
            model=self._model.name,
            text=reply.text,
            finish=reply.finish,
            usage=reply.usage,
            cost=cost_of(self._price, reply.usage),
        )

    def _failed(self, line: BatchLine) -> Told:
        error = line.error
        if error is None:
            words = f"it was not asked before the batch was {line.why}"
            return Told(line.key, "again", error=text_of(Transient(words, kind=line.why)))
        if isinstance(error, Permanent):
            if error.kind == "bad_request" and len(self._rejected) < _SAME:
                self._rejected[error.sentence()] += 1
                self._last = error
            return Told(line.key, "failed", error=text_of(error))
        if isinstance(error, Misconfigured):
            self._misconfigured = self._misconfigured or error
        return Told(line.key, "again", unsure=error.maybe_paid, error=text_of(error))
