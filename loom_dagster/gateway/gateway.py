"""Every model call goes through here: store, then limits, breaker, budget and retries, then a provider.

An answer is in the store before anybody sees it, also one that turns out to be of no use (refused,
cut short): it was paid for, and the next run reads it instead of paying again.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from loom_dagster.clock import Clock, SystemClock
from loom_dagster.errors import Misconfigured, Outage, OverBudget, Permanent, Transient, Waits
from loom_dagster.gateway.charge import Charge, Spend, Unlimited, worst_case
from loom_dagster.gateway.endpoint import Endpoint
from loom_dagster.gateway.endpoints import Endpoints
from loom_dagster.gateway.finish import too_long, usable
from loom_dagster.gateway.keys import model_prefix, question_key
from loom_dagster.gateway.lane import Batchable, Closes, Lane, Reply
from loom_dagster.gateway.lanes import lane_for
from loom_dagster.gateway.length import estimate, excess, share_that_fits, shorten
from loom_dagster.gateway.once import Once
from loom_dagster.gateway.orders import Orders
from loom_dagster.gateway.prices import PriceBook, batch_price, cost_of
from loom_dagster.gateway.question import AnswerStore, FarStore, Message, Model, Price, Question
from loom_dagster.gateway.sharing import Shares
from loom_dagster.records import Account, Answer

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Gateway", "usable"]

_CUTS = 8  # how often a prompt is shortened before it is given up


class _Way:
    """What is known of one model: made once, used for every call. ``lane`` is opened by the first call
    that is paid for, so that a run whose answers are all in the store imports no provider."""

    __slots__ = ("endpoint", "lane", "prefix", "price", "window")

    def __init__(
        self,
        lane: Callable[[], Lane],
        endpoint: Endpoint,
        prefix: Any,
        price: Price | None,
        window: int | None,
    ) -> None:
        self.lane, self.endpoint, self.prefix, self.price, self.window = lane, endpoint, prefix, price, window


class Gateway:
    """Answers questions. One event loop; entered for the length of a run.

    ``spend`` keeps the budgets (none: there are none). ``listen`` is told of every answer, paid for or from the store; ``note`` of what people should
    know (an outage, a prompt that was cut). ``patience`` in seconds: how long an outage is waited out.
    ``shares`` divides the limits among all who use them; without it they are this gateway's alone. ``orders`` takes
    the questions of models that are asked in batches; without it they are asked at once.
    """

    def __init__(
        self,
        store: AnswerStore | FarStore,
        *,
        spend: Spend | None = None,
        clock: Clock | None = None,
        prices: PriceBook | None = None,
        patience: float = 120.0,
        shares: Shares | None = None,
        orders: Orders | None = None,
        listen: Callable[[Question, Answer], None] = lambda question, answer: None,
        note: Callable[[str], None] = lambda text: None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._clock, self._prices = clock or SystemClock(), prices or PriceBook.load()
        self._store: AnswerStore | FarStore = store
        self._near = None if isinstance(store, FarStore) else store
        self._far = store if isinstance(store, FarStore) else None
        self._spend, self._orders = spend or Unlimited(), orders
        self._listen, self._note, self._environ = listen, note, environ
        self._endpoints = Endpoints(clock=self._clock, patience=patience, note=note, shares=shares)
        self._ways: dict[int, tuple[Model, _Way]] = {}
        self._once = Once()
        self._closed = False
        self._session: aiohttp.ClientSession | None = None
        self._closers: list[Callable[[], Awaitable[None]]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Cancel what is in flight and close the connections. Closing twice is fine."""
        self._closed = True
        await self._once.cancel()
        await self._endpoints.close()
        for close in self._closers:
            await close()
        self._closers.clear()
        self._session = None

    async def ask(self, question: Question) -> Answer:
        """The answer to ``question``. Raises by class, see ``Asks``."""
        if not question.model.fallbacks:
            return await self._ask(question.model, question)
        failures: list[Transient | Permanent] = []
        for model in (question.model, *question.model.fallbacks):
            try:
                return await self._ask(model, question)
            except (OverBudget, Waits):
                raise  # another model is not what was asked for
            except Transient as error:  # Outage too
                failures.append(error)
            except Permanent as error:
                if error.kind != "too_long":
                    raise
                failures.append(error)
        # one that is down may yet answer: the record waits for it
        raise next((error for error in failures if isinstance(error, Outage)), failures[0])

    async def _ask(self, model: Model, question: Question) -> Answer:
        way = self._way(model)
        key = question_key(question, way.prefix)
        not_before = None if question.max_age is None else question.asked_at - question.max_age
        orders = self._orders if model.batch and question.can_wait else None
        while True:
            if self._near is not None:
                stored = self._near.get(key, not_before=not_before)
            else:
                stored = None if orders is None else await self._glance(key, not_before)
            if stored is not None:
                return self._told(question, stored if orders is None else orders.seen(stored))
            if orders is not None:
                await self._order(orders, model, way, key, question)
            same = self._once.asking(key)
            if same is None:
                if self._closed:
                    raise Misconfigured("the gateway is closed")
                pay = functools.partial(self._find_or_pay, model, way, key, question, not_before)
                return self._told(question, await self._once.ask(key, pay, not_before))
            await asyncio.wait([same])  # an identical question is on its way: it is paid for once
            if same.cancelled():
                continue
            if (error := same.exception()) is not None:
                raise error
            if self._near is None:
                answer, since = same.result()
                if not_before is None or not answer.reused or (since is not None and since >= not_before):
                    return self._told(question, replace(answer, reused=True))

    async def _find_or_pay(
        self, model: Model, way: _Way, key: bytes, question: Question, not_before: float | None
    ) -> Answer:
        if self._far is None:
            return await self._pay(model, way, key, question)
        stored = await self._far.find(key, not_before=not_before)
        if stored is not None:
            return stored
        try:
            return await self._pay(model, way, key, question)
        finally:
            self._far.asked(key)

    async def _glance(self, key: bytes, not_before: float | None) -> Answer | None:
        """What is stored; nobody is kept from asking."""
        if self._far is None:
            return None
        stored = await self._far.find(key, not_before=not_before)
        if stored is None:
            self._far.asked(key)
        return stored

    async def _pay(self, model: Model, way: _Way, key: bytes, question: Question) -> Answer:
        """One answer, in the store; a prompt that is too long for the model is cut where that is wanted."""
        messages: Sequence[Message] = question.messages
        share = None if way.window is None else excess(messages, way.window)
        for _ in range(_CUTS):
            if share is not None:
                messages = self._cut(model, way, question, messages, share)
            send = functools.partial(way.lane().send, question, messages)
            tokens = estimate(messages) if way.endpoint.counts_tokens else 0
            worst = worst_case(way.price, messages, question.schema, model.max_tokens)
            account = Account(question.origin.purpose, model.name, question.origin.prompt)
            charge = Charge(self._spend, key, worst, account)
            keep = functools.partial(self._keep, model, way, key, question, charge)
            try:
                return await way.endpoint.call(
                    send, keep, charge, max_attempts=model.max_attempts, tokens=tokens
                )
            except Permanent as error:
                if error.kind != "too_long" or model.on_too_long != "truncate":
                    raise
                share = share_that_fits(error)
        raise too_long(model, way.window)

    async def _order(self, orders: Orders, model: Model, way: _Way, key: bytes, question: Question) -> None:
        """Into a batch with it, which ends in some error; none for a prompt that a batch found too long and that is
        to be cut: nobody but the model knows where, so it is asked at once."""
        messages = question.messages
        try:
            await orders.check(key)
            share = None if way.window is None else excess(messages, way.window)
            if share is not None:
                messages = self._cut(model, way, question, messages, share)
        except Permanent as error:
            if error.kind == "too_long" and model.on_too_long == "truncate":
                return
            raise
        lane = way.lane()
        if not isinstance(lane, Batchable):
            raise Misconfigured(f"questions to {model.name} cannot go in batches")
        price = batch_price(model, self._prices) or way.price
        worst = worst_case(price, messages, question.schema, model.max_tokens)
        await orders.add(key, question, await lane.batch_request(question, messages), worst)

    async def _keep(
        self, model: Model, way: _Way, key: bytes, question: Question, charge: Charge, reply: Reply
    ) -> Answer:
        answer = Answer(
            key=key,
            model=model.name,
            text=reply.text,
            finish=reply.finish,
            usage=reply.usage,
            cost=0.0 if reply.simulated else cost_of(way.price, reply.usage),
            latency=reply.latency,
            simulated=reply.simulated,
        )
        try:
            await self._store.put(answer, question.origin)
        finally:
            charge.paid(answer.cost, answer.usage)
        return answer

    def _cut(
        self, model: Model, way: _Way, question: Question, messages: Sequence[Message], share: float
    ) -> Sequence[Message]:
        shorter = shorten(messages, share) if model.on_too_long == "truncate" else None
        if shorter is None:
            raise too_long(model, way.window)
        whole, kept = (sum(len(m["content"]) for m in several) for several in (question.messages, shorter))
        who = question.origin.record_id
        self._note(f"{who}: prompt cut from {whole:,} to {kept:,} characters to fit {model.name}")
        return shorter

    def _told(self, question: Question, answer: Answer) -> Answer:
        self._listen(question, answer)
        return usable(answer)

    def _way(self, model: Model) -> _Way:
        known = self._ways.get(id(model))
        if known is not None:
            return known[1]
        price = model.price or self._prices.price(model.name)
        if price is None and self._spend.limited:
            raise Misconfigured(
                f"the price of `{model.name}` is not known, and there is a budget to keep",
                fix="declare it in `transform.price`, or under [tool.loom.prices]",
                kind="unknown_price",
            )
        window = self._prices.context_window(model.name)
        way = _Way(
            functools.cache(lambda: self._lane(model)),
            self._endpoints.of(model),
            model_prefix(model),
            price,
            window,
        )
        self._ways[id(model)] = (model, way)  # the model is kept, so that its id stays its own
        return way

    def _lane(self, model: Model) -> Lane:
        lane = lane_for(model, self._prices, self._environ, self._http)
        if isinstance(lane, Closes):
            self._closers.append(lane.close)
        return lane

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            from loom_dagster.gateway.connection import make_session  # aiohttp: not for offline models

            self._session = make_session()
            self._closers.append(self._session.close)
        return self._session
