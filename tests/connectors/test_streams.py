"""What every kind of stream promises a consumer, on real servers: Redis, and librdkafka's own cluster."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from loom_dagster.connections import Connection
from loom_dagster.connectors import place_of
from loom_dagster.connectors.streams import Message, Messages, consumer_of
from loom_dagster.connectors.streams.addresses import stream_at
from loom_dagster.connectors.streams.redis_stream import RedisStream
from loom_dagster.errors import Misconfigured, Transient
from loom_dagster.spec.models import Stream
from tests.servers.kafka import Kafka

pytestmark = pytest.mark.service


class Broker:
    """A stream of its own on a server: ``send`` writes, ``consumer`` reads."""

    def __init__(self, url: str, send: Callable[[str, bytes], None]) -> None:
        self.name = f"reviews-{uuid.uuid4().hex[:8]}"
        connection = Connection(name="events", url=url, connect_timeout=2.0)
        scheme = url.partition("://")[0]
        self.place = place_of(f"{scheme}://events/{self.name}", Path(), connections={"events": connection})
        self._send = send
        self.notes: list[str] = []

    def send(self, *numbers: int) -> None:
        for n in numbers:
            self._send(self.name, json.dumps({"id": n}).encode())

    def consumer(self, consumer: str = "one", group: str = "g", **stream) -> closing[Messages]:
        made = consumer_of(
            self.place, Stream(**stream), group=group, consumer=consumer, note=self.notes.append
        )
        return closing(made)


@pytest.fixture(params=["redis", "kafka"])
def broker(request) -> Broker:
    if request.param == "kafka":
        kafka = request.getfixturevalue("kafka")
        return Broker(f"{kafka.url}?session.timeout.ms=4000", kafka.send)  # the mock waits for it to rejoin
    return request.getfixturevalue("redis")


@pytest.fixture(scope="module")
def kafka() -> Kafka:
    return Kafka()


@pytest.fixture
def redis(redis_server) -> Broker:
    import redis

    def send(name: str, value: bytes) -> None:
        with redis.Redis(port=redis_server.port, db=2) as client:
            client.xadd(name, {"data": value})

    return Broker(redis_server.url(2), send)


def numbers(messages: list[Message]) -> list[int]:
    return [json.loads(message.value)["id"] for message in messages]


def drained(source: Messages, most: int = 100) -> list[Message]:
    """Everything up to the end."""
    found: list[Message] = []
    end = time.monotonic() + 20
    while time.monotonic() < end:
        some = source.take(most, 0.2)
        found += some
        if not some and source.at_end:
            return found
    raise AssertionError("no end came")


def test_messages_come_in_order_each_with_an_id_of_its_own(broker):
    broker.send(*range(10))
    with broker.consumer() as source:
        found = drained(source, most=3)
        assert numbers(found) == list(range(10))
        assert len({message.id for message in found}) == 10
        source.acknowledge(found)
        broker.send(10)
        assert numbers(drained(source)) == [10]


@pytest.mark.slow
def test_what_is_not_acknowledged_comes_again_and_what_is_does_not(broker):
    broker.send(*range(6))
    with broker.consumer() as source:
        found = drained(source)
        source.acknowledge(found[:4])
    with broker.consumer() as source:
        again = drained(source)
        assert numbers(again) == [4, 5] and [m.id for m in again] == [m.id for m in found[4:]]
        source.acknowledge(again)
    with broker.consumer() as source:
        assert drained(source) == []
        assert source.behind() == 0


@pytest.mark.slow
def test_a_group_begins_at_the_start_or_now_and_keeps_to_where_it_began(broker):
    broker.send(0, 1)
    with broker.consumer(group="later", **{"from": "now"}) as source:
        assert drained(source) == []
    broker.send(2)
    with broker.consumer(group="later", **{"from": "now"}) as source:
        assert numbers(drained(source)) == [2]
    with broker.consumer(group="all") as source:
        assert numbers(drained(source)) == [0, 1, 2]


def test_behind_counts_what_waits(broker):
    broker.send(*range(5))
    with broker.consumer() as source:
        while not (found := source.take(2, 0.2)):
            pass
        source.acknowledge(found)
        assert source.behind() == 3


def test_keeping_messages_loses_none(broker):
    broker.send(0)
    with broker.consumer() as source:
        found = drained(source)
        broker.send(1, 2)
        for _ in range(3):
            source.keep(found)
        source.acknowledge(found)
        assert numbers(drained(source)) == [1, 2]


def test_what_a_consumer_that_is_gone_had_taken_is_taken_over(redis):
    redis.send(*range(4))
    with redis.consumer("gone") as source:
        assert len(source.take(3, 0)) == 3
    at = stream_at(redis.place)
    with closing(RedisStream(at, group="g", consumer="two", begin="start", note=print, idle=0.0)) as source:
        assert numbers(source.take(10, 0)) == [0, 1, 2]
    with redis.consumer("three") as source:
        assert numbers(drained(source)) == [3]  # two may be alive


def test_a_consumer_that_gives_signs_of_life_keeps_its_messages(redis):
    redis.send(0)
    at = stream_at(redis.place)
    with redis.consumer("alive") as alive:
        found = alive.take(1, 0)
        time.sleep(0.3)
        alive.keep(found)
        with closing(RedisStream(at, group="g", consumer="b", begin="start", note=print, idle=0.25)) as other:
            assert other.take(10, 0) == []


def test_messages_deleted_before_they_were_settled_are_told_of(redis, redis_server):
    import redis as client

    redis.send(0, 1)
    with redis.consumer() as source:
        first, _ = source.take(2, 0)
    with client.Redis(port=redis_server.port, db=2) as other:
        other.xdel(redis.name, first.id)
    with redis.consumer() as source:
        assert numbers(drained(source)) == [1]
        assert "1 messages" in redis.notes[0] and "deleted before they were settled" in redis.notes[0]


def test_a_stream_that_is_deleted_begins_anew(redis, redis_server):
    import redis as client

    redis.send(0)
    with redis.consumer() as source:
        source.acknowledge(drained(source))
        with client.Redis(port=redis_server.port, db=2) as other:
            other.delete(redis.name)
        redis.send(1)
        assert numbers(drained(source)) == [1]
        assert "begins anew" in redis.notes[0]


@contextmanager
def no_secret(word: str) -> Iterator[pytest.ExceptionInfo[Misconfigured]]:
    with pytest.raises(Misconfigured) as caught:
        yield caught
    assert word not in str(caught.value)


def test_what_cannot_be_used_is_misconfigured_and_shows_no_password(redis_server, kafka):
    def at(url: str, uri: str = "redis://events/x"):
        connection = Connection(name="events", url=url, connect_timeout=1.0)
        return place_of(uri, Path(), connections={"events": connection})

    def opened(place) -> Messages:
        return consumer_of(place, Stream(), group="g", consumer="c", note=print)

    port = redis_server.port
    with (
        no_secret("hunter2") as caught,
        closing(opened(at(f"redis://someone:hunter2@127.0.0.1:{port}/0"))) as source,
    ):
        source.take(1, 0)
    assert "cannot be read" in str(caught.value)
    with no_secret("hunter2"):
        opened(at(f"postgres://u:hunter2@127.0.0.1:{port}/0"))
    with no_secret("hunter2"):
        opened(at("kafka://u:hunter2@h:1?no.such.setting=1", "kafka://events/topic"))
    with (
        pytest.raises(Transient, match="cannot be read"),
        closing(opened(at("redis://127.0.0.1:1/0"))) as source,
    ):
        source.take(1, 0)


def test_a_broker_that_is_away_is_transient(kafka):
    connection = Connection(name="events", url="kafka://127.0.0.1:1", connect_timeout=1.0)
    place = place_of("kafka://events/topic", Path(), connections={"events": connection})
    with (
        closing(consumer_of(place, Stream(), group="g", consumer="c", note=print)) as source,
        pytest.raises(Transient, match="cannot be read"),
    ):
        drained(source)
