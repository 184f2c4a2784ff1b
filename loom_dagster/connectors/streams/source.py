"""A stream where a source is expected: its columns may be declared, its rows come by ``loom stream`` only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from loom_dagster.connectors.contract import Chunk, Place, Wanted
from loom_dagster.connectors.streams.addresses import stream_at
from loom_dagster.errors import Misconfigured
from loom_dagster.spec.models import Extract

__all__ = ["StreamSource"]

_NOT_HERE = ("query", "limit", "incremental", "format")


class StreamSource:
    """Says what is wrong with a stream, and what it is read with."""

    def open(self, place: Place, wanted: Wanted) -> DeclaredRows:
        self.check(place, wanted.extract, reach=False)
        return DeclaredRows(place.uri, wanted.extract.columns)

    def check(self, place: Place, extract: Extract, *, reach: bool) -> None:
        address = stream_at(place)
        for key in _NOT_HERE:
            if getattr(extract, key) is not None:
                raise Misconfigured(f"`extract.{key}` means nothing to a stream", fix="remove it")
        if not reach:
            return
        if address.scheme == "kafka":
            from loom_dagster.connectors.streams.kafka_topic import reach_topic

            reach_topic(address)
        else:
            from loom_dagster.connectors.streams.redis_stream import reach_stream

            reach_stream(address)


class DeclaredRows:
    """The columns that ``extract.columns`` names; their types are not known before messages come."""

    files: Mapping[str, Sequence[str]] = {}

    def __init__(self, uri: str, columns: Sequence[str]) -> None:
        self.uri, self.schema = uri, pa.schema([(name, pa.null()) for name in columns])

    def chunks(self) -> Iterator[Chunk]:
        raise Misconfigured(f"{self.uri} does not end", fix="consume it with `loom stream PIPELINE`")

    def close(self) -> None:
        """Nothing is open."""
