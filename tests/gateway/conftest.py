"""A clock that does not wait, a real answer store, and questions to the test server."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from loom_dagster.clock import Clock
from loom_dagster.gateway import Gateway, Model, Origin, Question
from loom_dagster.ledger.answers import AnswerLog
from tests.servers.llm import LLMServer


class FastClock:
    """Time passes only when somebody sleeps, and then at once."""

    def __init__(self):
        self.time = 1000.0
        self.sleeps: list[float] = []
        self.chance = 0.5

    def now(self):
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.time)

    def monotonic(self):
        return self.time

    async def sleep(self, seconds):
        self.sleeps.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)

    def random(self):
        return self.chance


class Asking:
    """A gateway with a server behind it, and what it told its listeners."""

    def __init__(self, server: LLMServer, store: AnswerLog, clock: Clock, **options: Any):
        self.server, self.store, self.clock = server, store, clock
        self.heard: list[tuple[Question, Any]] = []
        self.notes: list[str] = []
        self.gateway = Gateway(
            store,
            listen=lambda question, answer: self.heard.append((question, answer)),
            note=self.notes.append,
            **{"environ": {}, "patience": 60.0, "clock": clock, **options},
        )

    def model(self, **changes: Any) -> Model:
        return Model(**{"name": "any", "api_base": self.server.base_url, **changes})

    def question(self, text: str = "hello", *, model: Model | None = None, **changes: Any) -> Question:
        return Question(
            model=model or self.model(),
            messages=changes.pop("messages", [{"role": "user", "content": text}]),
            origin=Origin(pipeline="p", record_id=text[:20], purpose="transform"),
            **changes,
        )

    async def ask(self, text: str = "hello", **changes: Any):
        return await self.gateway.ask(self.question(text, **changes))

    async def outcomes(self, texts, **changes: Any):
        """The answers or errors, in order."""
        asked = (self.ask(text, **changes) for text in texts)
        return await asyncio.gather(*asked, return_exceptions=True)


@pytest.fixture
def clock():
    return FastClock()


@pytest.fixture
def store(tmp_path, clock):
    log = AnswerLog(tmp_path / "answers.sqlite", clock=clock)
    yield log
    log.close()


@pytest.fixture
def server():
    with LLMServer(record=True) as running:
        yield running


@pytest.fixture
async def asking(server, store, clock):
    asking = Asking(server, store, clock)
    async with asking.gateway:
        yield asking


@pytest.fixture
async def make_asking(store, clock):
    made = []

    def make(server, **options):
        made.append(Asking(server, store, options.pop("clock", clock), **options))
        return made[-1]

    yield make
    for one in made:
        await one.gateway.close()
