"""Answers on Postgres outlive restarts and lost connections, and what cannot be used is told without its secret."""

from __future__ import annotations

import asyncio
import signal
import threading
import uuid

import psycopg2
import pytest
from sqlalchemy import event

from loom_dagster.errors import Misconfigured
from loom_dagster.gateway import Origin
from loom_dagster.ledger import Ledger, Selection, Upkeep, server
from loom_dagster.ledger.answer_file import AnswerFile
from loom_dagster.ledger.answer_schema import AnswerSchema
from loom_dagster.records import Answer, digest
from tests.servers.line import Line

pytestmark = pytest.mark.service

SECRET = "hush-hush"
FAST, CRASH = signal.SIGINT, signal.SIGQUIT
ORIGIN = Origin(pipeline="pipe", record_id="r", purpose="transform")


def answer(name, **changes) -> Answer:
    return Answer(**{"key": digest(str(name)), "model": "m", "text": f"text of {name}", **changes})


@pytest.fixture
def line(on_postgres):
    with Line(on_postgres) as opened:
        yield opened


@pytest.fixture
def place(line):
    return AnswerSchema(line.url)


@pytest.fixture
def store(place, clock):
    opened = place.open(clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def asked(place):
    """What the server is asked, from now on."""
    statements = []
    event.listen(place._engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    return statements


async def put(store, names):
    await asyncio.gather(*(store.put(answer(name), ORIGIN) for name in names))


async def test_what_waits_is_one_statement(store, asked):
    await put(store, range(300))
    assert store.count() == 300
    assert sum("INSERT" in statement for statement in asked) < 30


async def test_lookups_that_wait_are_one_question(store, asked):
    await put(store, range(0, 300, 2))
    asked.clear()
    found = await asyncio.gather(*(store.find(digest(str(n))) for n in [*range(300), 4]))
    assert [n for n in range(300) if found[n]] == list(range(0, 300, 2))
    assert found[300].text == "text of 4"
    assert len(asked) < 30


async def test_what_is_found_may_be_too_old(store, clock):
    await put(store, ["a"])
    stored = clock.now().timestamp()
    assert await store.find(digest("a"), not_before=stored)
    assert await store.find(digest("a"), not_before=stored + 1) is None


async def test_answers_of_any_length_are_stored_in_more_than_one_statement(store, asked):
    texts = [str(n) * 9_000_000 for n in range(4)]
    await asyncio.gather(*(store.put(answer(n, text=text), ORIGIN) for n, text in enumerate(texts)))
    assert [store.get(digest(str(n))).text == text for n, text in enumerate(texts)] == [True] * 4
    assert sum("INSERT" in statement for statement in asked) == 4


@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.parametrize("word", [b"INSERT", b"SELECT key"])
async def test_a_line_that_breaks_is_no_error(store, line, word, arrives):
    await put(store, ["a"])
    line.break_at(word, arrives=arrives)
    await put(store, ["b"])
    assert (await store.find(digest("a"))).text == "text of a"
    assert store.get(digest("b")).text == "text of b"
    assert (line.broken, store.count()) == (1, 2)


@pytest.mark.parametrize("how", [FAST, CRASH])
async def test_nothing_is_lost_while_the_server_restarts(postgres, store, how):
    puts = [asyncio.ensure_future(put(store, range(n, n + 20))) for n in range(0, 400, 20)]
    await puts[0]
    postgres.stop(how)  # while the store, in threads of its own, writes and looks
    finds = [asyncio.ensure_future(store.find(digest(str(n)))) for n in range(20)]
    puts += [asyncio.ensure_future(put(store, range(400, 500)))]
    await asyncio.sleep(0)
    postgres.start()
    await asyncio.gather(*puts)
    assert all(await asyncio.gather(*finds))
    assert store.count() == 500


async def test_a_server_that_stays_away_is_told_without_its_password(postgres, store, monkeypatch):
    await put(store, ["a"])
    monkeypatch.setattr(server, "_PATIENCE", 0.3)
    postgres.stop(FAST)
    try:
        told = await asyncio.gather(
            *(store.put(answer(n), ORIGIN) for n in range(3)),
            store.find(digest("a")),
            return_exceptions=True,
        )
        monkeypatch.setattr(server, "_PATIENCE", 1e9)
        with pytest.raises(Misconfigured):
            await store.put(answer("at once: it was waited for"), ORIGIN)
    finally:
        postgres.start()
    for error in told:
        assert isinstance(error, Misconfigured)
        assert error.kind == "ledger"
        assert "the answer store cannot be used" in str(error)
        assert postgres.password not in str(error)
    await put(store, ["b"])
    assert store.count() == 2


async def test_two_that_store_the_same_in_different_order_do_not_wait_for_each_other(on_postgres):
    stores = [AnswerSchema(on_postgres).open() for _ in range(4)]
    for n in range(5):
        names = [f"{n}-{i}" for i in range(200)]
        await asyncio.gather(*(put(s, names if i % 2 else names[::-1]) for i, s in enumerate(stores)))
    assert stores[0].count() == 1000
    for opened in stores:
        opened.close()


async def test_who_was_forgotten_is_written_by_others_meanwhile(on_postgres, store):
    await put(store, range(500))
    other = AnswerSchema(on_postgres)
    gone: list[int] = []
    deleting = threading.Thread(target=lambda: gone.append(Upkeep(other).delete(Selection(model="m"))))
    deleting.start()
    await put(store, range(500, 900))
    deleting.join()
    assert store.count() == 900 - gone[0]
    assert Upkeep(other).shrink(alone=False)
    assert Upkeep(other).size() > 0


async def test_a_newer_store_is_left_alone(store, place, on_postgres):
    place.change(f'INSERT INTO "{place.schema}".answers_version VALUES (99)')
    with pytest.raises(Misconfigured, match="newer"):
        place.open()
    with pytest.raises(Misconfigured, match="newer"):
        Upkeep(AnswerSchema(on_postgres)).groups()


async def test_what_another_store_has_is_taken_unless_it_is_older(store, place, tmp_path, clock):
    file = AnswerFile(tmp_path / "answers.sqlite")
    log = file.open(clock=clock)
    texts = {str(n): f"from the file {n} \0" for n in range(2_500)}
    await asyncio.gather(
        *(log.put(answer(n, text=text, simulated=True), ORIGIN) for n, text in texts.items())
    )
    log.close()
    clock.move(1)
    await put(store, ["7"])
    assert sum(store.take(rows) for rows in file.pages()) == 2_499
    assert sum(store.take(rows) for rows in file.pages()) == 0
    assert store.count() == 2_500
    assert store.get(digest("7")).text == "text of 7"
    assert store.get(digest("8")).text == texts["8"]
    [[oldest, newest]] = place.rows(f"SELECT min(created_at), max(created_at) FROM {place.table}")
    assert (oldest, newest) == (clock.now().timestamp() - 1, clock.now().timestamp())


def test_ledger_and_answers_may_lie_in_one_schema(on_postgres, clock):
    with Ledger(on_postgres, clock=clock) as ledger:
        store = AnswerSchema(on_postgres).open(clock=clock)
        run = ledger.begin_run("reviews", "", "f")
        asyncio.run(put(store, ["a"]))
        assert (store.count(), ledger.run(run.run_id).status) == (1, "running")
        store.close()


@pytest.fixture
def role(ledger_database):
    """Somebody who may do nothing yet, and how to let them."""
    name = f"r{uuid.uuid4().hex[:8]}"
    connection = psycopg2.connect(ledger_database)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'")
    _, _, at = ledger_database.partition("@")
    yield name, f"postgresql://{name}:{SECRET}@{at}", cursor.execute
    connection.close()


def test_who_cannot_get_in_is_told_in_one_sentence_without_the_secret(role):
    name, url, _ = role
    _, _, at = url.partition("@")
    for given, why in (
        (f"postgresql://{name}:wrong-{SECRET}@{at}", "password authentication failed"),
        (f"{url}x", "does not exist"),
        (url, "permission denied for schema public"),
        (f"{url}?schema=new", "permission denied for database"),
        (f"postgresql://{name}:{SECRET}@127.0.0.1:1/x", "refused"),
    ):
        with pytest.raises(Misconfigured, match=why) as told:
            AnswerSchema(given).open()
        assert told.value.kind == "ledger"
        assert SECRET not in str(told.value) and "\n" not in str(told.value)
        assert name in str(told.value)


def test_rights_that_are_missing_are_named_before_anything_is_paid_for(role, on_postgres):
    name, url, execute = role
    place = AnswerSchema(on_postgres)
    place.open().close()
    mine = f"{url}?schema={place.schema}"
    with pytest.raises(Misconfigured, match="permission denied for schema"):
        AnswerSchema(mine).open()
    execute(f'GRANT USAGE ON SCHEMA "{place.schema}" TO {name}')
    with pytest.raises(Misconfigured, match="permission denied for table answers_version"):
        AnswerSchema(mine).open()
    execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA "{place.schema}" TO {name}')
    with pytest.raises(Misconfigured, match="may not INSERT"):
        AnswerSchema(mine).open()
    assert Upkeep(AnswerSchema(mine)).groups() == []  # for which looking is enough
    execute(f'GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA "{place.schema}" TO {name}')
    store = AnswerSchema(mine).open()
    asyncio.run(put(store, ["a"]))
    store.close()
    with pytest.raises(Misconfigured, match="permission denied for table answers"):
        Upkeep(AnswerSchema(mine)).delete(Selection(model="m"))
    execute(f"ALTER ROLE {name} SET default_transaction_read_only = on")
    with pytest.raises(Misconfigured, match="read-only"):
        AnswerSchema(mine).open()


@pytest.mark.parametrize("url", ["postgresql://me:a@b@c/x", "postgresql://me@127.0.0.1/x?schema=a b"])
def test_what_is_no_url_is_told(url):
    with pytest.raises(Misconfigured, match="answer store") as told:
        AnswerSchema(url)
    assert told.value.kind == "ledger"
