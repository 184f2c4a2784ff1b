"""A Redis stream, read by a consumer group: what is not acknowledged stays in the group's pending list."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

import orjson

from loom_dagster.connections import Connection
from loom_dagster.connectors.streams.addresses import StreamAddress
from loom_dagster.connectors.streams.contract import Message
from loom_dagster.errors import Misconfigured, Transient

if TYPE_CHECKING:
    from redis import Redis

__all__ = ["RedisStream", "reach_stream"]

_IDLE = 60.0  # seconds without a sign of life, and a consumer's messages are taken over
_PASSING = ("LOADING", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "READONLY", "OOM", "UNBLOCKED")


class RedisStream:
    """The field ``data`` of an entry is a JSON object; without it, its fields are the object's, as texts."""

    def __init__(
        self,
        address: StreamAddress,
        *,
        group: str,
        consumer: str,
        begin: Literal["start", "now"],
        note: Callable[[str], None],
        idle: float = _IDLE,
    ) -> None:
        self._address, self._group, self._consumer = address, group, consumer
        self._note, self._idle = note, round(idle * 1000)
        self._redis = _client(address.connection)
        self._begin: str | None = "0" if begin == "start" else "$"  # None: the group is there
        self._mine: str | None = "0"  # from where on our own pending entries are read; None: all were
        self._empty = False

    @property
    def at_end(self) -> bool:
        return self._empty

    def take(self, most: int, wait: float) -> Sequence[Message]:
        from redis import ResponseError

        with self._asking("cannot be read"):
            self._make_group()
            try:
                found = self._pending(most) or self._left_behind(most) or self._new(most, wait)
            except ResponseError as error:
                if not str(error).startswith("NOGROUP"):
                    raise
                # the stream was deleted: all that a new one of that name holds has not been read
                self._note(f"{self._address.uri} or its group `{self._group}` was deleted; it begins anew")
                self._begin, found = "0", []
        self._empty = not found and self._begin is None
        return found

    def keep(self, messages: Sequence[Message]) -> None:
        from redis import RedisError

        with suppress(RedisError):  # whoever reads next tells of it
            self._redis.xclaim(
                self._address.name, self._group, self._consumer, 0, [m.id for m in messages], justid=True
            )

    def acknowledge(self, messages: Sequence[Message]) -> None:
        with self._asking("cannot be acknowledged"):
            if messages:
                self._redis.xack(self._address.name, self._group, *(m.id for m in messages))

    def behind(self) -> int | None:
        with self._asking("cannot be asked"):
            for found in _plain(self._redis.xinfo_groups(self._address.name)):
                if found["name"] == self._group.encode() and found.get("lag") is not None:
                    return int(found["lag"]) + int(found["pending"])
        return None

    def again(self) -> None:
        self._mine = "0"

    def close(self) -> None:
        self._redis.close()

    def _make_group(self) -> None:
        from redis import ResponseError

        if self._begin is None:
            return
        try:
            self._redis.xgroup_create(self._address.name, self._group, id=self._begin, mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        self._begin = None

    def _pending(self, most: int) -> list[Message]:
        """Entries that this consumer has taken and not acknowledged, from before it was started."""
        while self._mine is not None:
            entries = self._read(self._mine, most)
            self._mine = entries[-1][0].decode() if entries else None
            if found := self._messages(entries):
                return found
        return []

    def _left_behind(self, most: int) -> list[Message]:
        """Entries of consumers that gave no sign of life for a while."""
        start: Any = "0-0"
        while True:
            reply = _plain(
                self._redis.xautoclaim(
                    self._address.name, self._group, self._consumer, self._idle, start, count=most
                )
            )
            start, entries = reply[0], reply[1]
            if (found := self._messages(entries)) or start in (b"0-0", "0-0"):
                return found

    def _new(self, most: int, wait: float) -> list[Message]:
        return self._messages(self._read(">", most, wait))

    def _read(
        self, start: str, most: int, wait: float = 0
    ) -> list[tuple[bytes, Mapping[bytes, bytes] | None]]:
        block = max(1, round(wait * 1000)) if wait > 0 else None
        reply = _plain(
            self._redis.xreadgroup(
                self._group, self._consumer, {self._address.name: start}, count=most, block=block
            )
        )
        return list(reply[0][1]) if reply else []

    def _messages(self, entries: Sequence[tuple[bytes, Mapping[bytes, bytes] | None]]) -> list[Message]:
        """What is left of entries; one that was deleted since it was taken is acknowledged and told."""
        gone = [key for key, fields in entries if not fields]
        if gone:
            self._redis.xack(self._address.name, self._group, *gone)
            self._note(f"{len(gone)} messages of {self._address.uri} were deleted before they were settled")
        return [Message(id=key.decode(), value=_value(fields)) for key, fields in entries if fields]

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        with translating(self._address, what):
            yield


def reach_stream(address: StreamAddress) -> None:
    """Raises Misconfigured or Transient when there is no stream to be had."""
    client = _client(address.connection)
    try:
        with translating(address, "cannot be reached"):
            kind = _plain(client.type(address.name)).decode()
    finally:
        client.close()
    if kind not in ("stream", "none"):
        raise Misconfigured(f"{address.uri} is a {kind}, not a stream")


@contextmanager
def translating(address: StreamAddress, what: str) -> Iterator[None]:
    """Redis's errors in the project's words, without a secret."""
    from redis import AuthenticationError, RedisError, ResponseError
    from redis import ConnectionError as Away
    from redis import TimeoutError as TooLong

    try:
        yield
    except RedisError as error:
        why = _safe(str(error), address.connection)
        lost = isinstance(error, Away | TooLong) and not isinstance(error, AuthenticationError)
        if lost or (isinstance(error, ResponseError) and str(error).startswith(_PASSING)):
            raise Transient(f"{address.uri} {what}", why=why, kind="stream_away") from error
        raise Misconfigured(f"{address.uri} {what}", why=why, kind="stream") from error


def _client(connection: Connection) -> Redis:
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise Misconfigured(
            f"connection `{connection.name}` needs a driver that is not installed",
            fix="pip install 'loom-dagster[redis]'",
        ) from error
    try:
        return Redis.from_url(
            connection.url,
            protocol=2,
            socket_connect_timeout=connection.connect_timeout,
            socket_timeout=connection.connect_timeout + 5,  # more than any `block`
            health_check_interval=30,
            retry=Retry(NoBackoff(), 0),  # whoever calls waits and tries again
            client_name="loom_dagster",
        )
    except (ValueError, TypeError) as error:
        raise Misconfigured(f"the URL of connection `{connection.name}` cannot be read") from error


def _value(fields: Mapping[bytes, bytes]) -> bytes:
    if b"data" in fields:
        return fields[b"data"]
    try:
        return orjson.dumps({name.decode(): value.decode() for name, value in fields.items()})
    except UnicodeDecodeError:  # no object; what there is goes to quarantine
        return b" ".join(part for pair in fields.items() for part in pair)


def _safe(text: str, connection: Connection) -> str:
    for secret in connection.secrets:
        text = text.replace(secret, "***")
    return " ".join(text.split())[:500]


def _plain(reply: Any) -> Any:
    """What a call gives; the client's types also speak of its asynchronous twin."""
    return reply
