"""What every answer store promises, in a file or on Postgres: it keeps what it acknowledged, whatever happens."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading

import pytest

from loom_dagster.errors import Misconfigured
from loom_dagster.gateway import Origin
from loom_dagster.ledger.answer_reading import read_answers
from loom_dagster.ledger.answers import answer_of, row_of
from loom_dagster.ledger.past_answers import past_answers, past_texts
from loom_dagster.records import Answer, Usage, digest


def answer(name: str, **changes) -> Answer:
    fields = {"key": digest(name), "model": "m", "text": f"text of {name}", "cost": 0.5, "latency": 0.25}
    return Answer(**{**fields, **changes})


def origin(record: str = "r", prompt: str = "p") -> Origin:
    return Origin(pipeline="pipe", record_id=record, purpose="transform", prompt=prompt)


def fields(one: Answer) -> dict:
    return {name: getattr(one, name) for name in Answer.__slots__}


@pytest.mark.parametrize(
    "text", ["zürich \0 \U0001f9f5" * 1000, "\ue000 \ue0000\0\ue0001", "", "\\'\"%s?{}\n"]
)
async def test_everything_of_an_answer_comes_back(store, place, text):
    usage = Usage(input_tokens=3, output_tokens=2, cached_tokens=1)
    kept = answer("a", text=text, finish="length", usage=usage, simulated=True, cost=0.1 + 0.2)
    await store.put(kept, origin(f"r{text[:9]}"))
    found = store.get(kept.key)
    assert found.reused
    assert {**fields(found), "reused": False} == fields(kept)
    [read] = read_answers(place, [kept.key[:8]]).values()
    assert (read.text, read.record_id, read.cost) == (text, f"r{text[:9]}", 0.1 + 0.2)


async def test_many_are_taken_and_given_at_once(store, clock):
    names = [f"text {n} \0" for n in range(200)]
    await store.put_many([row_of(answer(name), origin(name), 0.0) for name in names])
    assert store.count() == 200
    found = await store.get_many([digest(name) for name in (*names[:150], "another")])
    assert set(found) == {digest(name) for name in names[:150]}
    assert fields(answer_of(found[digest(names[7])])) == fields(store.get(digest(names[7])))
    now = clock.now().timestamp()
    assert store.get(digest(names[0]), not_before=now), "stored when they came, whatever the rows said"
    assert store.get(digest(names[0]), not_before=now + 1) is None


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


async def test_closing_writes_what_is_queued_and_a_new_one_reads_it(place_again):
    store = place_again().open()
    waiting = [asyncio.ensure_future(store.put(answer(str(n)), origin())) for n in range(50)]
    await asyncio.sleep(0)
    await asyncio.to_thread(store.close)
    await asyncio.gather(*waiting)
    store.close()
    with pytest.raises(Misconfigured, match="closed"):
        await store.put(answer("late"), origin())
    again = place_again().open()
    assert again.count() == 50
    again.close()


async def test_one_who_is_cancelled_while_it_is_written_harms_nobody(store):
    gone = asyncio.ensure_future(store.put(answer("gone"), origin()))
    stays = asyncio.ensure_future(store.put(answer("stays"), origin()))
    await asyncio.sleep(0)
    gone.cancel()
    await stays
    assert store.get(digest("stays"))


async def test_text_that_is_no_text_fails_alone(store):
    puts = (store.put(answer(text, text=text), origin()) for text in ("one", "\ud800", "two"))
    first, bad, last = await asyncio.gather(*puts, return_exceptions=True)
    assert (first, last) == (None, None)
    assert isinstance(bad, Misconfigured)
    assert store.count() == 2


async def test_of_two_at_once_for_one_key_the_last_one_stays(store):
    await asyncio.gather(*(store.put(answer("a", text=str(n)), origin()) for n in range(20)))
    assert (store.get(digest("a")).text, store.count()) == ("19", 1)


async def test_many_are_stored_and_found_in_one_call(store, clock):
    rows = [row_of(answer(str(n)), origin(f"r{n}"), 0.0) for n in range(200)]
    await asyncio.gather(store.put_many(rows[:150]), store.put_many(rows[150:]), store.put_many([]))
    found = await store.get_many([digest(str(n)) for n in range(250)])
    assert sorted(found) == sorted(row[0] for row in rows)
    one = found[digest("7")]
    assert answer_of(one, clock.now().timestamp()).text == "text of 7"
    assert answer_of(one, clock.now().timestamp() + 1) is None
    assert await store.get_many([]) == {}


async def test_several_may_use_one_store(place_again):
    both = [place_again().open() for _ in range(2)]

    async def fill(store, names):
        for name in names:
            await store.put(answer(name), origin())

    names = [str(n) for n in range(40)]  # the same keys, in both directions
    await asyncio.gather(fill(both[0], names), fill(both[1], names[::-1]), fill(both[1], ["x"]))
    assert both[0].count() == both[1].count() == 41
    assert both[0].get(digest("x")).text == "text of x"
    for store in both:
        store.close()


def test_several_may_make_it(place_again):
    made, start = [], threading.Barrier(4)

    def make():
        start.wait()
        made.append(place_again().open())

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.count() for store in made] == [0, 0, 0, 0]
    for store in made:
        store.close()


async def test_answers_are_read_by_the_beginnings_of_their_keys(store, place):
    await asyncio.gather(*(store.put(answer(str(n)), origin(f"r{n}")) for n in range(20)))
    beginnings = [digest(str(n))[:8] for n in (3, 7, 99)]
    found = read_answers(place, beginnings)
    assert [found[b].record_id for b in beginnings[:2]] == ["r3", "r7"]
    assert beginnings[2] not in found
    assert found[beginnings[0]].key == digest("3")


async def test_the_newest_of_a_pipeline_are_read(store, place, clock):
    for n in range(5):
        await store.put(answer(str(n), simulated=n == 3), origin(f"r{n}"))
        clock.move(1)
    await store.put(answer("other"), Origin(pipeline="other", record_id="r", purpose="transform"))
    assert [past.record_id for past in past_answers(place, "pipe", 3)] == ["r4", "r2", "r1"]
    assert past_texts(place, "pipe", 2) == ["text of 4", "text of 2"]


def test_what_is_not_there_is_empty_and_is_not_made(place_again):
    place = place_again()
    assert read_answers(place, [b"12345678"]) == {}
    assert past_answers(place, "pipe") == []
    assert not place_again().exists()
    place.open().close()
    assert place_again().exists()


_WRITES_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from loom_dagster.gateway import Origin
from loom_dagster.ledger.answer_file import AnswerFile
from loom_dagster.ledger.answer_schema import AnswerSchema
from loom_dagster.records import Answer, digest

async def main():
    place = sys.argv[1]
    store = (AnswerSchema(place) if "://" in place else AnswerFile(Path(place))).open()
    async def one(n):
        await store.put(Answer(key=digest(n), model="m", text="x" * 500), Origin(pipeline="p", record_id="r", purpose="t"))
        sys.stdout.write(f"{n}\\n")
        sys.stdout.flush()
    for start in range(0, 10**6, 50):
        await asyncio.gather(*(one(n) for n in range(start, start + 50)))

asyncio.run(main())
"""


@pytest.mark.parametrize("acknowledged", [1, 120, 777])
def test_kill_9_loses_nothing_that_was_acknowledged(place, acknowledged, request):
    where = getattr(place, "path", None) or request.getfixturevalue("on_postgres")
    with subprocess.Popen(
        [sys.executable, "-c", _WRITES_FOR_EVER, str(where)], stdout=subprocess.PIPE
    ) as child:
        seen = [int(child.stdout.readline()) for _ in range(acknowledged)]
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read().splitlines(keepends=True)
    seen += [int(line) for line in rest if line.endswith(b"\n")]
    store = place.open()
    assert [n for n in seen if store.get(digest(n)) is None] == []
    store.close()
