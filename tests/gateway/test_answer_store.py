"""The answer store keeps what it acknowledged, whatever happens."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest

from loom_dagster.errors import Misconfigured
from loom_dagster.gateway import Origin
from loom_dagster.ledger.answers import AnswerLog
from loom_dagster.records import Answer, Usage, digest


def answer(name: str, **changes) -> Answer:
    fields = {"key": digest(name), "model": "m", "text": f"text of {name}", "cost": 0.5, "latency": 0.25}
    return Answer(**{**fields, **changes})


def origin(record: str = "r", prompt: str = "p") -> Origin:
    return Origin(pipeline="pipe", record_id=record, purpose="transform", prompt=prompt)


async def test_everything_of_an_answer_comes_back(store):
    usage = Usage(input_tokens=3, output_tokens=2, cached_tokens=1)
    kept = answer("a", text="zürich \0 \U0001f9f5" * 1000, finish="length", usage=usage, simulated=True)
    await store.put(kept, origin())
    found = store.get(kept.key)
    assert found.reused
    assert {**fields(found), "reused": False} == fields(kept)


def fields(one: Answer) -> dict:
    return {name: getattr(one, name) for name in Answer.__slots__}


async def test_an_unknown_price_stays_unknown(store):
    await store.put(answer("a", cost=None), origin())
    assert store.get(digest("a")).cost is None
    assert store.get(digest("b")) is None


async def test_a_later_answer_replaces_the_earlier(store):
    await store.put(answer("a", text="old"), origin())
    await store.put(answer("a", text="new"), origin())
    assert (store.get(digest("a")).text, store.count()) == ("new", 1)


async def test_not_before(store, clock):
    await store.put(answer("a"), origin())
    stored = clock.now().timestamp()
    assert store.get(digest("a"), not_before=stored)
    assert store.get(digest("a"), not_before=stored + 1) is None


async def test_a_commit_is_on_the_disk_not_in_a_buffer(store):
    assert store._writer.execute("PRAGMA synchronous").fetchone() == (2,)


async def test_many_at_once_share_their_commits(store):
    statements: list[str] = []
    store._writer.set_trace_callback(statements.append)
    await asyncio.gather(*(store.put(answer(str(n)), origin(str(n))) for n in range(300)))
    assert store.count() == 300
    assert sum(s.startswith("COMMIT") for s in statements) < 30


async def test_forget_deletes_what_all_words_fit(store):
    for record in ("r1", "r2"):
        for prompt in ("p1", "p2"):
            await store.put(answer(record + prompt), origin(record, prompt))
    assert store.forget(record="r1", prompt="p1") == 1
    assert store.get(digest("r1p1")) is None
    assert store.forget(prompt="p2") == 2
    assert store.forget(model="other") == 0
    assert store.count() == 1
    with pytest.raises(Misconfigured):
        store.forget()


def test_it_belongs_to_no_event_loop(store):
    for number in range(3):
        asyncio.run(store.put(answer(str(number)), origin()))
    threads = [
        threading.Thread(target=lambda n=n: asyncio.run(store.put(answer(f"t{n}"), origin())))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.count() == 7


async def test_closing_writes_what_is_queued_and_a_new_one_reads_it(tmp_path):
    log = AnswerLog(tmp_path / "a.sqlite")
    waiting = [asyncio.ensure_future(log.put(answer(str(n)), origin())) for n in range(50)]
    await asyncio.sleep(0)
    await asyncio.to_thread(log.close)
    await asyncio.gather(*waiting)
    log.close()
    with pytest.raises(Misconfigured):
        await log.put(answer("late"), origin())
    again = AnswerLog(tmp_path / "a.sqlite")
    assert again.count() == 50
    again.close()


async def test_one_who_is_cancelled_while_it_is_written_harms_nobody(store):
    gone = asyncio.ensure_future(store.put(answer("gone"), origin()))
    stays = asyncio.ensure_future(store.put(answer("stays"), origin()))
    await asyncio.sleep(0)
    gone.cancel()
    await stays
    assert store.get(digest("stays"))


async def test_a_full_disk_is_said_to_everybody_who_waits(store):
    store._writer.execute("PRAGMA max_page_count = 8")
    puts = (store.put(answer(str(n), text="x" * 20_000), origin()) for n in range(10))
    outcomes = await asyncio.wait_for(asyncio.gather(*puts, return_exceptions=True), 10)
    assert any(isinstance(outcome, Misconfigured) for outcome in outcomes)
    assert "full" in next(str(o) for o in outcomes if isinstance(o, Misconfigured))
    store._writer.execute("PRAGMA max_page_count = 100000")
    await store.put(answer("after"), origin())
    assert store.get(digest("after"))


async def test_a_file_that_cannot_be_written_is_said(store):
    store._writer.execute("PRAGMA query_only = 1")
    with pytest.raises(Misconfigured, match=r"answers\.sqlite"):
        await store.put(answer("a"), origin())


async def test_text_that_is_no_text_fails_alone(store):
    with pytest.raises(Misconfigured):
        await store.put(answer("bad", text="\ud800"), origin())
    await store.put(answer("good"), origin())


def test_a_place_that_is_no_file_is_said(tmp_path):
    (tmp_path / "taken").write_text("a file, no folder")
    for place in (tmp_path, tmp_path / "taken" / "a.sqlite"):
        with pytest.raises(Misconfigured):
            AnswerLog(place)


def test_a_file_that_is_no_database_is_said(tmp_path):
    (tmp_path / "a.sqlite").write_text("certainly not SQLite " * 100)
    with pytest.raises(Misconfigured, match="not a database"):
        AnswerLog(tmp_path / "a.sqlite")


def test_a_newer_file_is_left_alone(tmp_path):
    with sqlite3.connect(tmp_path / "a.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Misconfigured, match="newer"):
        AnswerLog(tmp_path / "a.sqlite")


async def test_two_may_use_one_file(tmp_path):
    one, other = (AnswerLog(tmp_path / "a.sqlite") for _ in range(2))
    await asyncio.gather(
        *(log.put(answer(f"{log is one}{n}"), origin()) for n in range(50) for log in (one, other))
    )
    assert one.count() == other.count() == 100
    assert other.get(digest("True7")).text == "text of True7"
    one.close()
    other.close()


_WRITES_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from loom_dagster.gateway import Origin
from loom_dagster.ledger.answers import AnswerLog
from loom_dagster.records import Answer, digest

async def main():
    log = AnswerLog(Path(sys.argv[1]))
    async def one(n):
        await log.put(Answer(key=digest(n), model="m", text="x" * 500), Origin(pipeline="p", record_id="r", purpose="t"))
        sys.stdout.write(f"{n}\\n")
        sys.stdout.flush()
    for start in range(0, 10**6, 50):
        await asyncio.gather(*(one(n) for n in range(start, start + 50)))

asyncio.run(main())
"""


@pytest.mark.parametrize("acknowledged", [1, 120, 777])
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path, acknowledged):
    path = tmp_path / "a.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", _WRITES_FOR_EVER, str(path)], stdout=subprocess.PIPE
    ) as child:
        seen = [int(child.stdout.readline()) for _ in range(acknowledged)]
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read().splitlines(keepends=True)
    seen += [int(line) for line in rest if line.endswith(b"\n")]
    log = AnswerLog(path)
    assert [n for n in seen if log.get(digest(n)) is None] == []
    log.close()
