"""A server that goes away in the middle of a reading: nothing is lost, nothing comes twice."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from typing import Any

import pytest

from loom_dagster.errors import Transient
from tests.connectors.sql.reading import Database
from tests.servers.databases import MariaDb, Postgres, Server

pytestmark = [pytest.mark.service, pytest.mark.slow]

ROWS = 40_000
FILL = "x" * 1500  # more than what a server and a client keep of it on the way


@pytest.fixture(params=[Postgres, MariaDb], ids=["postgres", "mariadb"])
def server(request):
    """One of its own: the others are not killed."""
    with contextlib.closing(request.param()) as server:
        server.start()
        yield server


@pytest.fixture
def shop(server):
    shop = Database(server.database())
    numbers = (
        f"generate_series(1, {ROWS}) AS s(n)"
        if isinstance(server, Postgres)
        else f"(SELECT seq AS n FROM seq_1_to_{ROWS}) s"
    )
    half = "n / 2" if isinstance(server, Postgres) else "n DIV 2"
    shop.run(f"CREATE TABLE reviews AS SELECT n AS id, {half} AS pair, '{FILL}' AS text FROM {numbers}")
    return shop


def read(shop: Database, lose: Callable[[], Any], times: int = 1, **wanted: Any) -> list[dict[str, Any]]:
    """All rows, while ``lose`` takes the server away after the first, the second ... chunk."""
    rows: list[dict[str, Any]] = []
    with shop.open(**wanted, rows=1000) as found:
        for number, chunk in enumerate(found.chunks()):
            rows += chunk.table.to_pylist()
            if number < times:
                lose()
    return rows


def test_a_reading_goes_on_behind_its_last_key(server, shop):
    def lose():
        server.kill()
        server.start()
        shop.run("DELETE FROM reviews WHERE id <= 900")  # what was read already does not count any more

    rows = read(shop, lose, times=2, key="id")
    assert [row["id"] for row in rows] == list(range(1, ROWS + 1))


def test_rows_with_the_same_key_are_neither_lost_nor_doubled(server, shop):
    def lose():
        server.kill()
        server.start()

    rows = read(shop, lose, times=3, key="pair")
    assert sorted(row["id"] for row in rows) == list(range(1, ROWS + 1))
    assert [row["pair"] for row in rows] == [n // 2 for n in range(1, ROWS + 1)]


def test_a_limit_counts_the_rows_before_the_loss(server, shop):
    def lose():
        server.stop(signal.SIGINT if isinstance(server, Postgres) else signal.SIGTERM)
        server.start()

    rows = read(shop, lose, key="id", limit=ROWS - 5)
    assert [row["id"] for row in rows] == list(range(1, ROWS - 4))


def test_a_query_in_its_own_order_begins_again(server, shop):
    def lose():
        server.kill()
        server.start()

    rows = read(shop, lose, name="", query="SELECT * FROM reviews ORDER BY id DESC")
    assert [row["id"] for row in rows] == list(range(ROWS, 0, -1))


def test_what_begins_again_and_has_changed_is_told(server, shop):
    def lose():
        server.kill()
        server.start()
        shop.run("DELETE FROM reviews WHERE id = 3")

    with pytest.raises(Transient, match="the rows had changed when it was back"):
        read(shop, lose, name="", query="SELECT * FROM reviews ORDER BY id")


def test_a_server_that_stays_away_is_told_and_not_waited_for_longer_than_the_patience(server, shop):
    with shop.open(key="id", rows=1000) as found:
        pauses: list[float] = []
        found._pause, found._patience = pauses.append, 3.0
        chunks = found.chunks()
        next(chunks)
        server.kill()
        with pytest.raises(Transient, match="cannot be read") as raised:
            list(chunks)
    assert pauses and sum(pauses) < 60
    assert server.password not in str(raised.value)
    server.start()


def test_a_reading_that_nobody_finishes_ends_at_once(server: Server, shop):
    with shop.open(rows=1000) as found:
        next(found.chunks())
    assert shop.query("SELECT count(*) AS n FROM reviews") == [{"n": ROWS}]
