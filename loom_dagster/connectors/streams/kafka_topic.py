"""A Kafka topic, read by a consumer group: offsets are committed when what came before them is done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from loom_dagster.connections import Connection
from loom_dagster.connectors.streams.addresses import StreamAddress
from loom_dagster.connectors.streams.contract import Message
from loom_dagster.errors import LoomError, Misconfigured, Transient

__all__ = ["KafkaTopic", "reach_topic", "settings_of"]

# we are no longer the one who reads that partition: whoever is reads on from the last commit
_LOST = ("ILLEGAL_GENERATION", "UNKNOWN_MEMBER_ID", "REBALANCE_IN_PROGRESS", "FENCED_INSTANCE_ID")
# may be set otherwise, by what follows the question mark of the connection's URL
_DEFAULTS = {"session.timeout.ms": "10000", "fetch.wait.max.ms": "100"}
_AWAY = ("_ALL_BROKERS_DOWN", "_TRANSPORT", "_TIMED_OUT", "_RESOLVE", "_WAIT_COORD", "_MAX_POLL_EXCEEDED")


class KafkaTopic:
    """A message's value is a JSON object. Its id names partition, offset and time, so that a topic that was
    deleted and made anew has no ids twice."""

    def __init__(
        self,
        address: StreamAddress,
        *,
        group: str,
        consumer: str,
        begin: Literal["start", "now"],
        note: Callable[[str], None],
    ) -> None:
        self._address, self._from_now = address, begin == "now"
        self._error: LoomError | None = None
        self._begun: dict[int, int] | None = (
            None  # where each of our partitions began; None: there are none yet
        )
        self._early: list[Any] = []  # messages that came while nobody asked for any
        self._consumer = _made(
            "Consumer",
            address,
            {
                "group.id": group,
                "client.id": consumer,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "error_cb": self._heard,
            },
        )
        self._consumer.subscribe([address.name], on_assign=self._on_assign, on_revoke=self._on_revoke)

    @property
    def at_end(self) -> bool:
        return self._begun is not None and self._left(cached=True) == 0 and self._left(cached=False) == 0

    def take(self, most: int, wait: float) -> Sequence[Message]:
        from confluent_kafka import KafkaException

        self._consumer.resume(self._consumer.assignment())
        raw, self._early = self._early[:most], self._early[most:]
        if not raw:
            try:
                raw = self._consumer.consume(most, max(wait, 0.0))
            except KafkaException as error:  # of a rebalance that could not be carried out
                raise self._said(error.args[0], "cannot be read") from error
        found = [message for one in raw if (message := self._message(one)) is not None]
        if not found and self._error is not None:
            self._raise_unless_back(self._error)
        self._error = None
        return found

    def _raise_unless_back(self, heard: LoomError) -> None:
        """The client says when brokers go, and not when they are back."""
        from confluent_kafka import KafkaException

        if isinstance(heard, Transient):
            try:
                self._consumer.list_topics(self._address.name, timeout=1.0)
                return
            except KafkaException:
                pass
        raise heard

    def keep(self, messages: Sequence[Message]) -> None:
        self._consumer.pause(self._consumer.assignment())
        one = self._consumer.poll(0)
        if one is not None:
            self._early.append(one)

    def acknowledge(self, messages: Sequence[Message]) -> None:
        from confluent_kafka import KafkaException, TopicPartition

        upto: dict[int, int] = {}
        for message in messages:
            partition, offset = map(int, message.id.split("-")[:2])
            upto[partition] = max(upto.get(partition, 0), offset + 1)
        mine = {at.partition for at in self._consumer.assignment()}  # others have gone on with what we lost
        offsets = [TopicPartition(self._address.name, p, offset) for p, offset in upto.items() if p in mine]
        try:
            done = self._consumer.commit(offsets=offsets, asynchronous=False) if offsets else []
            failed = [one.error for one in done or () if one.error is not None]
        except KafkaException as error:
            failed = [error.args[0]]
        for one in failed:
            if one.name() not in _LOST:
                raise self._said(one, "cannot be acknowledged")

    def behind(self) -> int | None:
        return self._left(cached=True)

    def again(self) -> None:
        """Nothing: librdkafka connects anew by itself and goes on where it was."""

    def close(self) -> None:
        self._consumer.close()

    def _left(self, *, cached: bool) -> int | None:
        """How many messages of our partitions come after those that were taken."""
        from confluent_kafka import KafkaException

        total, begun = len(self._early), self._begun or {}
        for at in self._consumer.position(self._consumer.assignment()):
            try:
                low, high = self._consumer.get_watermark_offsets(at, timeout=10, cached=cached) or (-1, -1)
            except KafkaException as error:
                raise self._said(error.args[0], "cannot be asked") from error
            if high < 0:
                return None
            total += high - (at.offset if at.offset >= 0 else begun.get(at.partition, low))
        return total

    def _message(self, one: Any) -> Message | None:
        if one.error() is not None:
            self._heard(one.error())
            return None
        key = f"{one.partition()}-{one.offset()}-{one.timestamp()[1]}"
        return Message(id=key, value=one.value() if one.value() is not None else b"null")

    def _heard(self, error: Any) -> None:
        self._error = self._said(error, "cannot be read")

    def _said(self, error: Any, what: str) -> LoomError:
        return _translated(error, self._address, what)

    def _on_assign(self, consumer: Any, partitions: Sequence[Any]) -> None:
        begins = consumer.committed(partitions, timeout=10)
        new = [at for at in begins if at.offset < 0]
        for at in new:
            at.offset = consumer.get_watermark_offsets(at, timeout=10)[1 if self._from_now else 0]
        if new and self._from_now:  # killed before its first batch, the group begins there again
            consumer.commit(offsets=new, asynchronous=False)
        self._begun = {at.partition: at.offset for at in begins}
        consumer.assign(begins)

    def _on_revoke(self, consumer: Any, partitions: Sequence[Any]) -> None:
        lost = {p.partition for p in partitions}
        self._early = [one for one in self._early if one.partition() not in lost]


def reach_topic(address: StreamAddress) -> None:
    """Raises Misconfigured or Transient when there is no topic to be had."""
    from confluent_kafka import KafkaException

    client = _made("Producer", address, {})
    try:
        topic = client.list_topics(address.name, timeout=address.connection.connect_timeout).topics[
            address.name
        ]
    except KafkaException as error:
        raise _translated(error.args[0], address, "cannot be reached") from error
    if topic.error is not None:
        raise _translated(topic.error, address, "cannot be read")


def settings_of(connection: Connection) -> Mapping[str, str]:
    """``kafka://user:password@host:9092,host:9092?security.protocol=SASL_SSL`` as librdkafka's settings: what
    follows the question mark goes there by its own names. Raises Misconfigured."""
    parts = urlsplit(connection.url)
    login, _, hosts = parts.netloc.rpartition("@")
    if not hosts:
        raise Misconfigured(
            f"the URL of connection `{connection.name}` names no broker", fix="such as kafka://host:9092"
        )
    found = {**_DEFAULTS, "bootstrap.servers": hosts}
    if login:
        user, _, password = login.partition(":")
        found |= {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "sasl.username": unquote(user),
            "sasl.password": unquote(password),
        }
    return found | dict(parse_qsl(parts.query))


def _made(kind: Literal["Consumer", "Producer"], address: StreamAddress, settings: Mapping[str, Any]) -> Any:
    try:
        import confluent_kafka
    except ImportError as error:
        raise Misconfigured(
            f"connection `{address.connection.name}` needs a driver that is not installed",
            fix="pip install 'loom-dagster[kafka]'",
        ) from error
    quiet = logging.getLogger("loom_dagster.kafka")  # what matters comes as an error as well
    quiet.addHandler(logging.NullHandler())
    quiet.propagate = False
    try:
        return getattr(confluent_kafka, kind)({**settings_of(address.connection), **settings}, logger=quiet)
    except confluent_kafka.KafkaException as error:
        raise Misconfigured(
            f"the URL of connection `{address.connection.name}` cannot be used",
            why=_safe(str(error.args[0]), address.connection),
        ) from error


def _translated(error: Any, address: StreamAddress, what: str) -> LoomError:
    why = _safe(error.str() or error.name(), address.connection)
    if error.name() in _AWAY or (error.retriable() and not error.fatal()):
        return Transient(f"{address.uri} {what}", why=why, kind="stream_away")
    return Misconfigured(f"{address.uri} {what}", why=why, kind="stream")


def _safe(text: str, connection: Connection) -> str:
    for secret in connection.secrets:
        text = text.replace(secret, "***")
    return " ".join(text.split())[:500]
