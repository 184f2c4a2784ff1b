"""A till that is killed at any moment and begins anew on the same files: nothing is counted twice, nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import asdict

import pytest
from sqlalchemy import func, select

from loom_dagster.clock import SystemClock
from loom_dagster.cluster.line import Line
from loom_dagster.errors import OverBudget
from loom_dagster.ledger import AnswerLog
from loom_dagster.ledger.process import this_process
from loom_dagster.ledger.tables import reservations, spend
from loom_dagster.records import Account, Usage
from tests.cluster.conftest import ORIGIN, answer
from tests.cluster.till_process import Caller

ASKED = Account("transform", "m", "p@v1")
WORST, PRICE = 0.000_000_000_007, 0.000_000_000_003  # seven picodollars, and three
LIMIT = 270e-12


class Killed:
    """A till in a process, killed and started again."""

    def __init__(self, folder, ledger_path, run, budgets):
        handle = {"run_id": run.run_id, "pipeline": run.pipeline, "partition": "", "fingerprint": "f"}
        given = {
            "run": {**handle, "token": run.token},
            "owner": asdict(this_process()),
            "budgets": budgets,
        }
        self.socket = str(folder / "till")
        self.command = [sys.executable, "-m", "tests.cluster.till_process", self.socket, str(ledger_path)]
        self.command += [str(folder / "answers.sqlite"), json.dumps(given)]
        self.process, self.run = None, run

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def killed(ledger, tmp_path):
    made = Killed(
        tmp_path, tmp_path / ".loom" / "ledger.sqlite", ledger.begin_run("reviews", "", "f"), {"run": LIMIT}
    )
    made.start()
    yield made
    made.kill()


async def calls(line, worker, numbers, paid, asked):
    """As a gateway would, one after the other."""
    for number in numbers:
        key = b"%d" % number
        found = await line.store.find(key)
        if found is not None:
            continue
        try:
            ticket = await line.spend.reserve(key, WORST, ASKED)
            asked.append(key)
            await asyncio.sleep(random.random() * 0.1)
            await line.store.put(answer(key, cost=PRICE), ORIGIN)
            line.spend.settle(ticket, PRICE, ASKED, Usage(input_tokens=1))
            paid.append(key)
        except OverBudget:
            return
        finally:
            line.store.asked(key)


async def test_a_till_is_killed_again_and_again(ledger, killed, tmp_path):
    caller, lines, paid, asked = Caller(killed.socket), {}, [], []
    for worker in ("one", "two", "three"):
        lines[worker] = Line(
            worker, lambda m, worker=worker: caller(worker, m), limited=True, clock=SystemClock()
        )

    work = [
        asyncio.create_task(calls(lines[w], w, range(n, 60, 6), paid, asked))
        for w in lines
        for n in range(6)  # the other workers ask the same
    ]
    for _ in range(8):
        await asyncio.wait(work, timeout=random.uniform(0.0, 0.4))
        killed.kill()
        with ledger.database.reading() as connection:
            used = connection.scalar(select(func.sum(spend.c.spent + spend.c.unconfirmed))) or 0
            used += connection.scalar(select(func.sum(reservations.c.amount))) or 0
        assert used <= 270
        killed.start()
    await asyncio.gather(*work)
    for worker, line in lines.items():
        await line.close()
        await caller(worker, (), "lost")
    (books,) = ledger.books.of_run(killed.run).values()
    assert (books.spent, books.unconfirmed) == (3 * len(paid), 0), "to the picodollar"
    assert (books.calls, books.input_tokens) == (len(paid), len(paid))
    assert len(asked) == len(set(asked)) == len(paid) == 60, "each question once"
    store = AnswerLog(tmp_path / "answers.sqlite")
    assert store.count() == 60
    store.close()
    assert ledger.books.in_flight() == 0.0
