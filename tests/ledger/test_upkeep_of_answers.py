"""Answers leave the store in small steps, beside those who write, and the file gets smaller."""

from __future__ import annotations

import asyncio
import sqlite3
import threading

import pytest

from loom_dagster.errors import Misconfigured
from loom_dagster.gateway import Origin
from loom_dagster.ledger import Selection, Upkeep
from loom_dagster.ledger.answer_file import AnswerFile
from loom_dagster.records import Answer, digest


@pytest.fixture
def file(tmp_path):
    return AnswerFile(tmp_path / "answers.sqlite")


def fill(place, clock, numbers, *, pipeline="pipe", prompt="p", model="m", text="x" * 400, cost=0.5):
    def given(n):
        origin = Origin(pipeline=pipeline, record_id=f"r{n}", purpose="transform", prompt=prompt)
        key = digest(pipeline, prompt, n)
        return Answer(key=key, model=model, text=text, cost=cost, latency=0.1), origin

    async def put(log):
        await asyncio.gather(*(log.put(*given(n)) for n in numbers))

    log = place.open(clock=clock)
    asyncio.run(put(log))
    log.close()


def left(place):
    log = place.open()
    try:
        return log.count()
    finally:
        log.close()


def test_what_is_there_is_told_by_pipeline_prompt_and_model(place, clock):
    fill(place, clock, range(3))
    fill(place, clock, range(2), prompt="q", cost=None)
    first, second = Upkeep(place).groups()
    assert (first.pipeline, first.prompt, first.model, first.answers, first.cost) == (
        "pipe",
        "p",
        "m",
        3,
        1.5,
    )
    assert (second.answers, second.cost) == (2, None)
    assert first.oldest == clock.now().timestamp()


def test_a_store_that_is_not_there_is_empty_and_is_not_made(place):
    upkeep = Upkeep(place)
    assert (upkeep.groups(), upkeep.size(), upkeep.meant(Selection(model="m"))) == ([], 0, (0, 0))
    assert upkeep.delete(Selection(model="m")) == 0
    assert upkeep.shrink(alone=True)
    assert not place.exists()
    assert upkeep.groups() == []


def test_everything_is_never_meant(place, clock):
    fill(place, clock, range(3))
    with pytest.raises(Misconfigured, match="which answers"):
        Upkeep(place).delete(Selection(spared=("pipe",)))
    assert left(place) == 3


@pytest.mark.parametrize(
    ("wanted", "stay"),
    [({"record": "r1"}, 3), ({"prompt": "q"}, 3), ({"model": "m"}, 2), ({"record": "r1", "prompt": "q"}, 4)],
)
def test_all_that_is_given_has_to_hold(place, clock, wanted, stay):
    fill(place, clock, range(3))
    fill(place, clock, [1], prompt="q", model="n")
    fill(place, clock, [7], prompt="q", model="n")
    assert Upkeep(place).delete(Selection(**wanted)) == 5 - stay
    assert left(place) == stay


def test_by_age_but_for_what_is_spared(place, clock):
    fill(place, clock, range(3))
    fill(place, clock, range(3), pipeline="open")
    clock.move(100)
    fill(place, clock, range(10, 12))
    now = clock.now().timestamp()
    selection = Selection(before=now, spared=("open",))
    assert Upkeep(place).meant(selection)[0] == 3
    assert Upkeep(place).meant(Selection(before=now + 1, spared=("open",), spared_from=now))[0] == 3
    assert Upkeep(place).meant(Selection(before=now + 1, spared=("open",)))[0] == 5
    assert Upkeep(place).delete(selection) == 3
    assert left(place) == 5


def test_a_version_of_a_prompt_is_not_all_of_them(place, clock):
    for prompt in ("p@v1", "p@v2", "pp@v1", "p"):
        fill(place, clock, [1], prompt=prompt)
    assert Upkeep(place).meant(Selection(prompt="p"))[0] == 3
    assert Upkeep(place).meant(Selection(prompt="p@v1"))[0] == 1
    assert Upkeep(place).delete(Selection(prompt="p")) == 3


def test_the_file_shrinks(file, clock):
    fill(file, clock, range(3_000))
    clock.move(1)
    fill(file, clock, range(5_000, 5_010))
    upkeep = Upkeep(file)
    before = upkeep.size()
    upkeep.delete(Selection(before=clock.now().timestamp()))
    assert upkeep.shrink(alone=False)
    assert upkeep.size() < before / 10
    assert left(file) == 10


def test_a_store_of_before_shrinks_when_nobody_uses_it(file, clock):
    fill(file, clock, range(3_000))
    db = sqlite3.connect(file.path, isolation_level=None)
    db.execute("PRAGMA auto_vacuum = NONE")
    db.execute("VACUUM")
    db.close()
    upkeep = Upkeep(file)
    before = upkeep.size()
    upkeep.delete(Selection(model="m"))
    assert not upkeep.shrink(alone=False)
    assert upkeep.size() >= before
    assert upkeep.shrink(alone=True)
    assert upkeep.size() < before / 10


def test_what_is_forgotten_is_not_on_the_disk_any_more(file, clock):
    fill(file, clock, range(50), text="what nobody may find again")
    fill(file, clock, range(50, 60), text="what stays")
    upkeep = Upkeep(file)
    for n in range(50):
        upkeep.delete(Selection(record=f"r{n}"))
    upkeep.shrink(alone=False)
    kept = b"".join(f.read_bytes() for f in file.path.parent.iterdir())
    assert b"what stays" in kept
    assert b"nobody may find" not in kept


def test_answers_are_written_while_others_go(place, clock):
    fill(place, clock, range(2_000))
    clock.move(1)
    cut = clock.now().timestamp()
    writer = threading.Thread(target=fill, args=(place, clock, range(10_000, 10_300)))
    writer.start()
    upkeep = Upkeep(place)
    while writer.is_alive():
        upkeep.delete(Selection(before=cut))
        upkeep.shrink(alone=False)
    writer.join()
    assert left(place) == 300


def test_a_store_that_is_no_database_is_refused(file):
    file.path.write_bytes(b"no database " * 100)
    with pytest.raises(Misconfigured, match="answer store"):
        Upkeep(file).groups()
