"""Which kind of consumer reads a stream."""

from __future__ import annotations

from collections.abc import Callable

from loom_dagster.connectors.contract import Place
from loom_dagster.connectors.streams.addresses import stream_at
from loom_dagster.connectors.streams.contract import Messages
from loom_dagster.spec.models import Stream

__all__ = ["consumer_of"]


def consumer_of(
    place: Place, stream: Stream, *, group: str, consumer: str, note: Callable[[str], None]
) -> Messages:
    """A consumer of the group, not connected yet. ``note`` is told what people should know. Raises Misconfigured."""
    address = stream_at(place)
    if address.scheme == "kafka":
        from loom_dagster.connectors.streams.kafka_topic import KafkaTopic

        return KafkaTopic(address, group=group, consumer=consumer, begin=stream.from_, note=note)
    from loom_dagster.connectors.streams.redis_stream import RedisStream

    return RedisStream(address, group=group, consumer=consumer, begin=stream.from_, note=note)
