"""A till in a process of its own, which a test kills: ``python -m tests.cluster.till_process SOCKET LEDGER ANSWERS RUN``.

Messages are what ``marshal`` writes: plain values, or they do not get through.
"""

from __future__ import annotations

import asyncio
import json
import marshal
import sys
from pathlib import Path

from loom_dagster.clock import SystemClock
from loom_dagster.ledger import AnswerLog, Budgets, Ledger, RunHandle
from loom_dagster.ledger.process import Process
from loom_dagster.ledger.till import Till


async def read(reader):
    size = int.from_bytes(await reader.readexactly(4))
    return marshal.loads(await reader.readexactly(size))


def write(writer, value):
    data = marshal.dumps(value)
    writer.write(len(data).to_bytes(4) + data)


class Caller:
    """Exchanges with whatever till listens at ``socket`` now."""

    def __init__(self, socket):
        self.socket = socket

    async def __call__(self, worker, message, method="exchange"):
        reader, writer = await asyncio.open_unix_connection(self.socket, limit=2**30)
        try:
            write(writer, (method, worker, message))
            return await read(reader)
        finally:
            writer.close()


async def serve(socket, ledger, answers, given):
    run = RunHandle(**given["run"], started_at=SystemClock().now(), resumed=False)
    owner, budgets = Process(**given["owner"]), Budgets(**given["budgets"])
    with Ledger(ledger) as opened:
        till = Till(opened, AnswerLog(Path(answers)), run, budgets, owner, clock=SystemClock())

        async def answer(reader, writer):
            method, worker, message = await read(reader)
            if method == "exchange":
                write(writer, await till.exchange(worker, message))
            else:
                await till.lost(worker)
                write(writer, ())
            await writer.drain()
            writer.close()

        async with await asyncio.start_unix_server(answer, socket, limit=2**30) as server:
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            await server.serve_forever()


if __name__ == "__main__":
    Path(sys.argv[1]).unlink(missing_ok=True)
    asyncio.run(serve(*sys.argv[1:4], json.loads(sys.argv[4])))
