"""What is asked of a model, and the small Protocols the gateway needs from others."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from loom_dagster.records import Answer, digest, to_json

__all__ = [
    "AnswerSchema",
    "AnswerStore",
    "Asks",
    "FarStore",
    "Message",
    "Model",
    "Origin",
    "Price",
    "ProviderLimits",
    "Question",
    "Timeouts",
]

Message = Mapping[str, str]  # {"role": ..., "content": ...}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds: to connect, between two reads, and for one attempt as a whole."""

    connect: float = 10.0
    read: float = 120.0
    total: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """USD per token. ``cached`` is the price of an input token the provider had cached. ``tiers`` are the
    prices of calls with more than so many input tokens, fewest first; such a price is for all of a call."""

    input: float
    output: float
    cached: float | None = None
    tiers: tuple[tuple[int, Price], ...] = ()

    def at(self, input_tokens: int) -> Price:
        """What a call with so many input tokens is charged by."""
        return next((price for above, price in reversed(self.tiers) if input_tokens > above), self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderLimits:
    """What all models of the provider ``name`` may use together."""

    name: str
    in_flight: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model as configured: litellm's name, its parameters, its limits (and its provider's, if it has any).

    ``structured`` None means: as the price file says whether it takes a JSON schema.
    ``api_key_env`` names an environment variable; the key itself is never held here. ``batch``: first questions
    of records go through the provider's batch API.
    """

    name: str
    temperature: float | None = 0.0
    max_tokens: int = 1024
    extra: Mapping[str, Any] = field(default_factory=dict)  # top_p, seed, stop
    api_base: str | None = None
    api_key_env: str | None = None
    timeouts: Timeouts = Timeouts()
    max_attempts: int = 5
    in_flight: int = 64
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    provider: ProviderLimits | None = None
    structured: bool | None = None
    price: Price | None = None
    on_too_long: str = "quarantine"  # or "truncate"
    fallbacks: tuple[Model, ...] = ()
    batch: bool = False

    @functools.cached_property
    def identity(self) -> Mapping[str, Any]:
        """What of it determines an answer (not its limits, timeouts or price)."""
        return {
            "name": self.name,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "extra": dict(self.extra),
            "api_base": self.api_base,
            "structured": self.structured,
        }


@dataclass(frozen=True, kw_only=True)
class AnswerSchema:
    """The JSON schema an answer should have. ``strict`` asks the provider to enforce it."""

    name: str
    body: Mapping[str, Any]
    strict: bool = True

    @functools.cached_property
    def digest(self) -> bytes:
        return digest(self.body)

    @functools.cached_property
    def size(self) -> int:
        """Bytes of its JSON."""
        return len(to_json(self.body))


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """For whom a question is asked; kept beside the answer, no part of its key. ``prompt`` is ``NAME@VERSION``."""

    pipeline: str
    record_id: str
    purpose: str  # "transform", "evaluate:<name>", "repair"
    prompt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One call to be made (or found in the store).

    ``sample`` tells several wanted answers to one question apart. ``salt`` separates runs that
    must not share answers (``cache: {enabled: false}``). ``identity`` replaces the messages in
    the key when ``cache.key_fields`` narrows what of the record counts. ``max_age`` in seconds
    is the cache's ttl, counted back from ``asked_at`` (UNIX seconds, the start of the run).
    """

    model: Model
    messages: Sequence[Message]
    origin: Origin
    schema: AnswerSchema | None = None
    sample: int = 0
    salt: str = ""
    identity: bytes | None = None
    max_age: float | None = None
    asked_at: float = 0.0

    @property
    def can_wait(self) -> bool:
        """Whether it is the first question of a record. Repairs, retries and judges are asked at once: what they
        are asked about has waited long enough."""
        return self.sample == 0 and self.origin.purpose == "transform"


class Asks(Protocol):
    """Something that answers questions: the gateway, or a test's own."""

    async def ask(self, question: Question) -> Answer:
        """The answer, from the store or paid for now.

        Raises Transient (tries used up), Outage (defer the record), Permanent (this record
        will not succeed), Misconfigured (stop the run).
        """


class AnswerStore(Protocol):
    """Keeps every paid answer."""

    def get(self, key: bytes, *, not_before: float | None = None) -> Answer | None:
        """The stored answer (``reused`` set), unless it was stored before ``not_before`` (UNIX seconds)."""

    async def put(self, answer: Answer, origin: Origin) -> None:
        """Returns once the answer is on disk. An answer for a key that exists replaces it."""


@runtime_checkable
class FarStore(Protocol):
    """A store that is elsewhere: to look into it takes a while. Others may use it, and ask the same questions."""

    async def find(self, key: bytes, *, not_before: float | None = None) -> Answer | None:
        """As ``AnswerStore.get``. None: there is none, and nobody else asks for it before ``asked``, or waits for us."""

    def asked(self, key: bytes) -> None:
        """Its answer is in the store, or will not come."""

    async def put(self, answer: Answer, origin: Origin) -> None:
        """As ``AnswerStore.put``."""
