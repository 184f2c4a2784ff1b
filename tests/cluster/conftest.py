"""Workers without Ray: lines to a till in this process, on a ledger and an answer store on disk."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from loom_dagster.clock import SystemClock
from loom_dagster.cluster.line import Line
from loom_dagster.gateway import Origin
from loom_dagster.ledger import Budgets, Ledger
from loom_dagster.ledger.answer_file import AnswerFile
from loom_dagster.ledger.answer_schema import AnswerSchema
from loom_dagster.ledger.process import this_process
from loom_dagster.ledger.till import Till
from loom_dagster.records import Answer, Usage

ORIGIN = Origin(pipeline="reviews", record_id="1", purpose="transform", prompt="p@v1")


class MovedClock(SystemClock):
    """The real one, moved on by hand."""

    def __init__(self):
        self.ahead = 0.0

    def now(self):
        return datetime.now(UTC) + timedelta(seconds=self.ahead)

    def monotonic(self):
        return super().monotonic() + self.ahead


class Shop:
    """A run with a till, which may be killed and made anew, and its workers."""

    def __init__(self, ledger, place, clock, **budgets):
        self.ledger, self.place, self.clock = ledger, place, clock
        self.budgets = Budgets(**budgets)
        self.run = ledger.begin_run("reviews", "", "f")
        self.owner, self.lines, self.stores = this_process(), {}, []
        self.lose_replies = 0
        self.exchanges = 0
        self.till = None
        self.kill_till()

    def kill_till(self):
        """A till that begins anew, on the same files; what the old one had in memory is gone."""
        self.stores.append(self.place.open(clock=self.clock))
        self.till = Till(self.ledger, self.stores[-1], self.run, self.budgets, self.owner, clock=self.clock)

    async def exchange(self, worker, message):
        self.exchanges += 1
        reply = await self.till.exchange(worker, message)
        if self.lose_replies:
            self.lose_replies -= 1
            raise ConnectionError("the reply was lost")
        return reply

    def line(self, worker="w1", **given):
        async def exchange(message):
            return await self.exchange(worker, message)

        given = {"limited": bool(self.budgets.limits()), "clock": self.clock, **given}
        self.lines[worker] = Line(worker, exchange, **given)
        return self.lines[worker]

    async def used(self):
        """USD that the run has spent, and may have spent, by the ledger."""
        books = await self.till.books()
        spent = sum(entry.spent for entry in books.values())
        return round(spent * 1e-12, 12), round(sum(e.unconfirmed for e in books.values()) * 1e-12, 12)

    async def close(self):
        for line in self.lines.values():
            await line.close()
        await self.till.close()
        for store in self.stores:
            store.close()


def answer(key, text="ok", **given):
    return Answer(key=key, model="m", text=text, usage=Usage(input_tokens=3, output_tokens=1), **given)


async def gathered(*work):
    return await asyncio.wait_for(asyncio.gather(*work), 20)


@pytest.fixture
def cluster(ray_cluster):
    """Two nodes of two CPUs; what a test before killed of it is there again."""
    ray_cluster.mend()
    return ray_cluster


@pytest.fixture
def clock():
    return MovedClock()


@pytest.fixture(scope="session")
def cluster_database(postgres):
    return postgres.database()


@pytest.fixture
def server_url():
    """A schema of a Postgres database, for ledger and answers; none: files."""


@pytest.fixture
def on_postgres(cluster_database):
    return f"{cluster_database}?schema=t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def ledger(server_url, tmp_path, clock):
    with Ledger(server_url or tmp_path / ".loom" / "ledger.sqlite", clock=clock) as opened:
        yield opened


@pytest.fixture
async def open_shop(ledger, server_url, tmp_path, clock):
    """``open_shop(run=1.0)``: a run with budgets."""
    opened = []

    def make(**budgets):
        place = AnswerSchema(server_url) if server_url else AnswerFile(tmp_path / "answers.sqlite")
        opened.append(Shop(ledger, place, clock, **budgets))
        return opened[-1]

    yield make
    for shop in opened:
        await shop.close()
