"""Streams that do not end: Redis streams and Kafka topics, consumed by ``loom stream`` in small batches."""

from loom_dagster.connectors.contract import Connector
from loom_dagster.connectors.streams.consumers import consumer_of
from loom_dagster.connectors.streams.contract import Message, Messages
from loom_dagster.connectors.streams.rows import MessageReader
from loom_dagster.connectors.streams.source import StreamSource

__all__ = ["Message", "MessageReader", "Messages", "connector", "consumer_of"]

connector = Connector(name="streams", source=StreamSource())
