"""Permits and answers a second that the till of a run gives to its workers, through Ray.

    python -m benchmarks.permits [--workers 4] [--in-flight 512] [--seconds 10] [--budget 1000] [--what permits|answers] [--postgres]

A cluster of its own, the till in one actor, workers with a real line to it in others. `permits`: each worker has so many
calls in flight, reserves, and settles at once: a permit is on disk before it is given. `answers`: each call looks its
question up, reserves, stores an answer of 200 characters, and settles, as a gateway does. Prints one line: per second, the
CPU of the till's process and of the workers' for each, permits or answers in one round, and how long one takes.

With few workers and many calls the number is that of the till; with many workers that of Ray's messages.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loom_dagster.clock import SystemClock
from loom_dagster.cluster.line import Line
from loom_dagster.gateway import Origin
from loom_dagster.ledger import Budgets, Ledger
from loom_dagster.ledger.answer_file import AnswerFile
from loom_dagster.ledger.answer_place import AnswerPlace
from loom_dagster.ledger.answer_schema import AnswerSchema
from loom_dagster.ledger.process import this_process
from loom_dagster.ledger.till import Till
from loom_dagster.records import Account, Answer, Usage, digest
from tests.servers.databases import Postgres

ACCOUNT = Account("transform", "openai/gpt-4o-mini", "classify@v1-a1b2c3d4")
WARM_UP = 2.0  # seconds


class TillActor:
    """The till, as an actor has it."""

    def __init__(self, folder: str, url: str, run: Any, owner: Any, budget: float) -> None:
        self.ledger, self.rounds = Ledger(url or Path(folder) / "ledger.sqlite"), 0
        place: AnswerPlace = AnswerSchema(url) if url else AnswerFile(Path(folder) / "answers.sqlite")
        answers: Any = place.open()
        self.till = Till(self.ledger, answers, run, Budgets(run=budget or None), owner, clock=SystemClock())

    async def exchange(self, worker: str, message: tuple[Any, ...]) -> tuple[Any, ...]:
        self.rounds += 1
        return await self.till.exchange(worker, message)

    async def numbers(self) -> tuple[float, int]:
        return time.process_time(), self.rounds


class WorkerActor:
    """Calls without a provider."""

    async def ready(self) -> None:
        """The process is there."""

    async def work(
        self, name: str, till: Any, what: str, in_flight: int, seconds: float, *, limited: bool
    ) -> tuple[int, float, float]:
        """Calls, CPU seconds, and seconds in all calls together."""
        line = Line(name, lambda m: till.exchange.remote(name, m), limited=limited, clock=SystemClock())
        self.calls, self.waited = 0, 0.0
        stop = time.monotonic() + WARM_UP + seconds
        one = self._permit if what == "permits" else self._answer

        async def calls(n: int) -> None:
            number = 0
            while time.monotonic() < stop:
                began = time.monotonic()
                await one(line, digest(name, n, number))
                self.calls, self.waited, number = (
                    self.calls + 1,
                    self.waited + time.monotonic() - began,
                    number + 1,
                )

        async def begin_anew() -> float:
            await asyncio.sleep(WARM_UP)
            self.calls, self.waited = 0, 0.0
            return time.process_time()

        beginning = asyncio.create_task(begin_anew())
        await asyncio.gather(*(calls(n) for n in range(in_flight)))
        cpu = await beginning
        done = self.calls, time.process_time() - cpu, self.waited
        await line.close()
        return done

    async def _permit(self, line: Line, key: bytes) -> None:
        ticket = await line.spend.reserve(key, 0.0001, ACCOUNT)
        line.spend.settle(ticket, 0.00002, ACCOUNT, Usage(input_tokens=100, output_tokens=7))

    async def _answer(self, line: Line, key: bytes) -> None:
        await line.store.find(key)
        ticket = await line.spend.reserve(key, 0.0001, ACCOUNT)
        usage = Usage(input_tokens=100, output_tokens=7)
        answer = Answer(key=key, model=ACCOUNT.model, text="x" * 200, usage=usage, cost=0.00002, latency=0.2)
        origin = Origin(pipeline="p", record_id=key.hex()[:8], purpose="transform", prompt=ACCOUNT.prompt)
        await line.store.put(answer, origin)
        line.spend.settle(ticket, answer.cost, ACCOUNT, usage)
        line.store.asked(key)


def main(arguments: list[str]) -> None:
    os.environ.setdefault(
        "RAY_AUTH_MODE", "disabled"
    )  # else Ray leaves a token in ~/.ray that other clusters ask for
    import ray

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--in-flight", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--budget", type=float, default=1000.0, help="USD; 0: none")
    parser.add_argument("--what", choices=("permits", "answers"), default="permits")
    parser.add_argument(
        "--postgres", action="store_true", help="ledger and answers on a server, not in files"
    )
    given = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        url = ""
        if given.postgres:
            server = Postgres()
            server.start()
            stack.callback(server.close)
            url = f"{server.database()}?schema=loom"
        with Ledger(url or Path(folder) / "ledger.sqlite") as ledger:
            run = ledger.begin_run("p", "", "f")
        ray.init(
            address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, configure_logging=False
        )
        try:
            actor: Callable[..., Any] = ray.remote(num_cpus=0)
            till = actor(TillActor).remote(folder, url, run, this_process(), given.budget)
            workers = [actor(WorkerActor).remote() for _ in range(given.workers)]
            ray.get([worker.ready.remote() for worker in workers])
            load = (given.what, given.in_flight, given.seconds)
            work = [
                w.work.remote(f"w{n}", till, *load, limited=bool(given.budget)) for n, w in enumerate(workers)
            ]
            time.sleep(WARM_UP + 0.5)
            began = ray.get(till.numbers.remote())
            at = time.monotonic()
            time.sleep(given.seconds - 1.0)
            ended, took = ray.get(till.numbers.remote()), time.monotonic() - at
            done = ray.get(work)
        finally:
            ray.shutdown()
    calls = sum(each[0] for each in done)
    rate = calls / given.seconds
    print(
        f"{rate:,.0f} {given.what} a second; CPU: till {1e6 * (ended[0] - began[0]) / took / rate:.0f} us each"
        f" ({100 * (ended[0] - began[0]) / took:.0f}% of a core), workers"
        f" {1e6 * sum(each[1] for each in done) / calls:.0f} us each; {(ended[1] - began[1]) / took:,.0f} messages a"
        f" second, {rate * took / max(1, ended[1] - began[1]):.0f} in each; one takes"
        f" {1000 * sum(each[2] for each in done) / calls:.0f} ms",
    )


if __name__ == "__main__":
    main(sys.argv[1:])
