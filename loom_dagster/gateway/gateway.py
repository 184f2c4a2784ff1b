"""Every model call goes through here: store, then limits, breaker and retries, then a provider.

An answer is in the store before anybody sees it, also one that turns out to be of no use (refused,
cut short): it was paid for, and the next run reads it instead of paying again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from loom_dagster.clock import Clock, SystemClock
from loom_dagster.errors import LoomError, Permanent, Transient
from loom_dagster.gateway.endpoint import Endpoint
from loom_dagster.gateway.keys import model_prefix, question_key
from loom_dagster.gateway.lane import Lane, Reply
from loom_dagster.gateway.lanes import lane_for
from loom_dagster.gateway.limiter import Limiter
from loom_dagster.gateway.prices import PriceBook, cost_of
from loom_dagster.gateway.question import AnswerStore, Message, Model, Price, Question
from loom_dagster.records import Answer

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Gateway"]

_REFUSED = {"content_filter": "content_filter", "refused": "refused", "refusal": "refused"}


class _Way:
    """What is known of one model: made once, used for every call."""

    __slots__ = ("endpoint", "lane", "most_bytes", "prefix", "price")

    def __init__(
        self, lane: Lane, endpoint: Endpoint, prefix: Any, price: Price | None, most_bytes: int | None
    ) -> None:
        self.lane, self.endpoint, self.prefix, self.price, self.most_bytes = (
            lane,
            endpoint,
            prefix,
            price,
            most_bytes,
        )


class Gateway:
    """Answers questions. One event loop; entered for the length of a run.

    ``listen`` is told of every answer, paid for or from the store; ``note`` of what people should
    know (an outage, a prompt that was cut). ``patience`` in seconds: how long an outage is waited out.
    """

    def __init__(
        self,
        store: AnswerStore,
        *,
        clock: Clock | None = None,
        prices: PriceBook | None = None,
        patience: float = 120.0,
        listen: Callable[[Question, Answer], None] = lambda question, answer: None,
        note: Callable[[str], None] = lambda text: None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._store, self._clock, self._prices = store, clock or SystemClock(), prices or PriceBook.load()
        self._patience, self._listen, self._note, self._environ = patience, listen, note, environ
        self._ways: dict[int, tuple[Model, _Way]] = {}
        self._endpoints: dict[tuple[str, str | None], Endpoint] = {}
        self._asking: dict[bytes, asyncio.Future[Answer]] = {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(self, question: Question) -> Answer:
        """The answer to ``question``. Raises by class, see ``Asks``."""
        models = (question.model, *question.model.fallbacks)
        for model in models[:-1]:
            try:
                return await self._ask(model, question)
            except Permanent as error:
                if error.kind != "too_long":
                    raise
                self._note(f"{error.what}; asking the fallback")
            except Transient as error:  # Outage too
                self._note(f"{model.name} failed ({error.kind}); asking the fallback")
        return await self._ask(models[-1], question)

    async def _ask(self, model: Model, question: Question) -> Answer:
        way = self._way(model)
        key = question_key(question, way.prefix)
        not_before = None if question.max_age is None else question.asked_at - question.max_age
        stored = self._store.get(key, not_before=not_before)
        if stored is not None:
            self._listen(question, stored)
            return _usable(stored)
        same = self._asking.get(key)
        if same is not None:  # an identical question is on its way: wait for its answer, pay once
            return _usable(await asyncio.shield(same))
        asking: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asking[key] = asking
        try:
            answer = await self._pay(model, way, key, question)
            asking.set_result(answer)
        except BaseException as error:
            asking.set_exception(
                error
                if isinstance(error, LoomError)
                else Transient("the same call was cancelled", kind="cancelled")
            )
            asking.exception()  # seen, also when nobody waits
            raise
        finally:
            del self._asking[key]
        self._listen(question, answer)
        return _usable(answer)

    async def _pay(self, model: Model, way: _Way, key: bytes, question: Question) -> Answer:
        messages, size = self._fitting(model, way, question)
        reply: Reply = await way.endpoint.call(
            lambda: way.lane.send(question, messages), max_attempts=model.max_attempts, tokens=size // 4
        )
        answer = Answer(
            key=key,
            model=model.name,
            text=reply.text,
            finish=reply.finish,
            usage=reply.usage,
            cost=cost_of(way.price, reply.usage),
            latency=reply.latency,
            simulated=reply.simulated,
        )
        await self._store.put(answer, question.origin)
        return answer

    def _fitting(self, model: Model, way: _Way, question: Question) -> tuple[Sequence[Message], int]:
        """The messages, and their size in bytes. A prompt that cannot fit is known before it is sent."""
        messages = question.messages
        size = sum(len(m["content"]) for m in messages)
        if way.most_bytes is None or size <= way.most_bytes // 4:  # a character has four bytes at most
            return messages, size
        size = sum(len(m["content"].encode()) for m in messages)
        beyond = size - way.most_bytes
        if beyond <= 0:
            return messages, size
        last = messages[-1]
        text = last["content"].encode()
        if model.on_too_long != "truncate" or beyond >= len(text):
            raise Permanent(
                f"the prompt is too long for {model.name}",
                why=f"{size:,} bytes, and it takes about {way.most_bytes:,}",
                fix="shorten the text, take another model, or set `on_too_long: truncate`",
                kind="too_long",
            )
        self._note(f"prompts too long for {model.name} were cut (on_too_long: truncate)")
        kept = text[: len(text) - beyond].decode("utf-8", "ignore")
        return [*messages[:-1], {**last, "content": kept}], way.most_bytes

    def _way(self, model: Model) -> _Way:
        known = self._ways.get(id(model))
        if known is not None:
            return known[1]
        name = model.name if model.api_base is None else f"{model.name} at {model.api_base}"
        where = (model.name, model.api_base)
        endpoint = self._endpoints.get(where)
        if endpoint is None:  # the judges of a model share its limits with the transform
            limiter = Limiter(
                in_flight=model.in_flight,
                clock=self._clock,
                requests_per_minute=model.requests_per_minute,
                tokens_per_minute=model.tokens_per_minute,
            )
            endpoint = Endpoint(name, limiter, clock=self._clock, patience=self._patience, note=self._note)
            self._endpoints[where] = endpoint
        window = self._prices.context_window(model.name)
        lane = lane_for(model, self._prices, self._environ, self._http)
        way = _Way(
            lane,
            endpoint,
            model_prefix(model),
            model.price or self._prices.price(model.name),
            # no tokenizer makes fewer tokens than one for eight bytes of text in the long run: what is
            # beyond that cannot fit; what is below is for the provider to say
            None if window is None else window * 8,
        )
        self._ways[id(model)] = (model, way)  # the model is kept, so that its id stays its own
        return way

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp  # not for offline models

            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300), auto_decompress=True
            )
        return self._session


def _usable(answer: Answer) -> Answer:
    """The answer, unless its end says that it is none. Raises Permanent."""
    finish = answer.finish
    if finish == "stop":
        return answer
    kind = _REFUSED.get(finish) or ("truncated" if finish in ("length", "max_tokens") else None)
    if kind is None:
        return answer
    what = {
        "truncated": f"the answer of {answer.model} was cut at its token limit",
        "refused": f"{answer.model} refused to answer",
        "content_filter": f"the answer of {answer.model} was filtered",
    }[kind]
    error = Permanent(
        what, raw=answer.text, kind=kind, fix="raise `max_tokens`" if kind == "truncated" else None
    )
    error.answers = (answer,)
    raise error
