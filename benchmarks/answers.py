"""What the answer store takes: answers stored and found a second, and the CPU of one, in a file and on Postgres.

`python -m benchmarks.answers` starts a server of its own, which writes to the disk before it acknowledges, as a file does;
`--url postgresql://...` takes one that is there (its CPU is not measured then), and a schema of its own in it.

As many are in flight as the group has; what is measured is from the first to the last of them, with everything that the store does in
threads of its own. CPU is of this process, and of the server's processes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from loom_dagster.gateway import Origin
from loom_dagster.ledger import AnswerPlace
from loom_dagster.ledger.answer_file import AnswerFile
from loom_dagster.ledger.answer_schema import AnswerSchema
from loom_dagster.ledger.answer_table import AnswerTable
from loom_dagster.records import Answer, Usage, digest
from tests.servers.databases import Postgres

GROUPS = (1, 64, 512)
_TICK = os.sysconf("SC_CLK_TCK")
_TEXT = '{"sentiment": "positive", "reasoning": "%s"}' % ("it says so in many words " * 16)
_ORIGIN = Origin(pipeline="reviews", record_id="R-0001", purpose="transform", prompt="classify@v1.0.0")


class Durable(Postgres):
    """Answers after its disk has."""

    def command(self) -> list[str]:
        return ["fsync=on" if part == "fsync=off" else part for part in super().command()]

    def cpu(self) -> float:
        """Seconds, of all its processes that are there and of those that were."""
        top = 0 if self._process is None else self._process.pid
        children = Path(f"/proc/{top}/task/{top}/children").read_text().split()
        return sum((_spent(int(child)) for child in children), _spent(top, ended=True))


def _spent(pid: int, *, ended: bool = False) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11 : 15 if ended else 13]) / _TICK


def _answers(rows: int) -> list[Answer]:
    run = uuid.uuid4().hex
    usage = Usage(input_tokens=300, output_tokens=80)
    return [
        Answer(
            key=digest(run, n), model="openai/gpt-4o-mini", text=_TEXT, usage=usage, cost=1e-4, latency=0.5
        )
        for n in range(rows)
    ]


async def _in_groups(items: Sequence[Any], group: int, do: Callable[[Any], Awaitable[Any]]) -> None:
    """So many in flight: as one ends, the next one begins."""
    waiting = iter(items)

    async def one() -> None:
        for item in waiting:
            await do(item)

    await asyncio.gather(*(one() for _ in range(group)))


async def _measured(
    items: Sequence[Any], group: int, do: Callable[[Any], Awaitable[Any]], server: Callable[[], float]
) -> str:
    """Rows a second, and CPU microseconds a row: ours, the server's."""
    began, ours, theirs = time.perf_counter(), time.process_time(), server()
    await _in_groups(items, group, do)
    took, rows = time.perf_counter() - began, len(items)
    ours, theirs = time.process_time() - ours, server() - theirs
    return f"{rows / took:,.0f} | {ours / rows * 1e6:,.0f} | {theirs / rows * 1e6:,.0f}"


async def _one(place: AnswerPlace, group: int, rows: int, server: Callable[[], float]) -> tuple[str, str]:
    store, answers = place.open(), _answers(rows)
    shuffled = random.Random(7).sample([answer.key for answer in answers], rows)  # noqa: S311 - nobody's secret

    async def look(key: bytes) -> None:
        found = await store.find(key) if isinstance(store, AnswerTable) else store.get(key)
        if found is None:
            raise SystemExit("an answer is lost")

    try:
        put = await _measured(answers, group, lambda answer: store.put(answer, _ORIGIN), server)
        return put, await _measured(shuffled, group, look, server)
    finally:
        store.close()


def measure(place: AnswerPlace, name: str, rows: int, server: Callable[[], float]) -> None:
    """A table of both, by group. Rows are fewer where each waits for the disk alone."""
    for group in GROUPS:
        put, found = asyncio.run(_one(place, group, min(rows, 1000 * group), server))
        print(f"| {name} | {group} | {put} | {found} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=50_000, help="at most, of each measurement")
    parser.add_argument("--url", help="of a Postgres server; default: one of its own")
    given = parser.parse_args()
    print("| store | in flight | stored/s | our CPU us | server's | found/s | our CPU us | server's |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        measure(AnswerFile(Path(folder) / "answers.sqlite"), "file", given.rows, lambda: 0.0)
    if given.url:
        mark = "&" if "?" in given.url else "?"
        _on_postgres(f"{given.url}{mark}", given.rows, lambda: 0.0)
        return
    own = Durable()
    try:
        own.start()
        _on_postgres(f"{own.database()}?", given.rows, own.cpu)
    finally:
        own.close()


def _on_postgres(url: str, rows: int, server: Callable[[], float]) -> None:
    measure(AnswerSchema(f"{url}schema=loom_bench_{uuid.uuid4().hex[:8]}"), "Postgres", rows, server)


if __name__ == "__main__":
    main()
