"""What a stream's URI means: a named connection, and a stream or a topic there."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from loom_dagster.connections import Connection, connection_of
from loom_dagster.connectors.contract import Place
from loom_dagster.errors import Misconfigured

__all__ = ["StreamAddress", "stream_at"]

_SCHEMES = {"redis": ("redis", "rediss", "unix"), "kafka": ("kafka",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamAddress:
    """``uri`` is for messages; ``name`` is the stream's key, or the topic."""

    connection: Connection
    uri: str
    scheme: str
    name: str


def stream_at(place: Place) -> StreamAddress:
    """``redis://CONNECTION/STREAM``, ``kafka://CONNECTION/TOPIC``. Raises Misconfigured."""
    rest = place.uri.partition("://")[2]
    what = "TOPIC" if place.scheme == "kafka" else "STREAM"
    if "@" in rest.partition("/")[0]:  # not shown: it may hold a password
        raise Misconfigured(
            f"a `{place.scheme}://` URI names a connection, not a user and a host",
            fix=f"declare the server as a connection; then write {place.scheme}://CONNECTION/{what}",
        )
    name, _, stream = rest.partition("/")
    if not name or not stream:
        raise Misconfigured(
            f"{place.uri} names no {what.lower()}", fix=f"write {place.scheme}://CONNECTION/{what}"
        )
    connection = connection_of(unquote(name), place.connections)
    scheme = connection.url.partition("://")[0].lower()
    if scheme not in _SCHEMES[place.scheme]:
        raise Misconfigured(
            f"connection `{connection.name}` is a {scheme}:// server, and {place.uri} wants a {place.scheme}:// one"
        )
    return StreamAddress(connection=connection, uri=place.uri, scheme=place.scheme, name=unquote(stream))
