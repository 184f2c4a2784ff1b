"""A Kafka broker for tests: the mock cluster of librdkafka, which speaks the brokers' protocol on 127.0.0.1.

It is no Kafka: topics come into being by themselves, have four partitions, and are gone with the process. Groups,
offsets, rebalances and the wire are real, so a consumer in any process can be tried against it.
"""

from __future__ import annotations

import logging

import pytest

__all__ = ["Kafka"]


class Kafka:
    """Runs in this process; ``send`` writes to it."""

    def __init__(self) -> None:
        confluent_kafka = pytest.importorskip("confluent_kafka")
        quiet = logging.getLogger("tests.kafka")
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
        self._producer = confluent_kafka.Producer(
            {"bootstrap.servers": "mock", "test.mock.num.brokers": 1}, logger=quiet
        )
        [broker] = self._producer.list_topics(timeout=10).brokers.values()
        self.url = f"kafka://{broker.host}:{broker.port}"

    def send(self, topic: str, *values: bytes | None, partition: int = 0) -> None:
        for value in values:
            self._producer.produce(topic, value=value, partition=partition)
        assert self._producer.flush(10) == 0

    def committed(self, topic: str, group: str) -> dict[int, int]:
        """Offsets by partition, where there is one."""
        import confluent_kafka

        client = confluent_kafka.Consumer(
            {"bootstrap.servers": self.url.removeprefix("kafka://"), "group.id": group}
        )
        try:
            wanted = [confluent_kafka.TopicPartition(topic, p) for p in range(4)]
            return {at.partition: at.offset for at in client.committed(wanted, timeout=10) if at.offset >= 0}
        finally:
            client.close()
