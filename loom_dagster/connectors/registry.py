"""Which connector serves a place, by the scheme of its URI. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import re
from collections.abc import Mapping
from pathlib import Path

from loom_dagster.connections import Connection
from loom_dagster.connectors.contract import Connector, Destination, Place, Source
from loom_dagster.errors import Misconfigured

__all__ = ["GROUP", "connector_of", "destination_at", "place_of", "source_at"]

GROUP = "loom_dagster.connectors"

_URL = re.compile(r"^([A-Za-z][A-Za-z0-9+.\-]*)://")
_FILES = "loom_dagster.connectors.files:connector"
_SQL = "loom_dagster.connectors.sql:connector"
_OURS = {
    **dict.fromkeys(("file", "s3", "s3a", "s3n", "gs", "gcs", "az", "abfs", "abfss", "adl"), _FILES),
    **dict.fromkeys(("http", "https"), "loom_dagster.connectors.web:connector"),
    **dict.fromkeys(("postgres", "postgresql", "mysql", "mariadb", "sqlite"), _SQL),
    "duckdb": "loom_dagster.connectors.duckdb:connector",
    **dict.fromkeys(("redis", "kafka"), "loom_dagster.connectors.streams:connector"),
}


def place_of(
    uri: str, root: Path, *, table: str = "", connections: Mapping[str, Connection] | None = None
) -> Place:
    """The place ``uri`` means."""
    match = _URL.match(uri)
    return Place(
        uri=uri,
        scheme="file" if match is None else match[1].lower(),
        root=root,
        table=table,
        connections=connections or {},
    )


def source_at(place: Place) -> Source:
    """Raises Misconfigured when nothing can be read from there."""
    source = connector_of(place.scheme).source
    if source is None:
        raise Misconfigured(f"`{place.scheme}://` can be written, not read")
    return source


def destination_at(place: Place) -> Destination:
    """Raises Misconfigured when nothing can be written there."""
    destination = connector_of(place.scheme).destination
    if destination is None:
        raise Misconfigured(f"`{place.scheme}://` can be read, not written")
    return destination


def connector_of(scheme: str) -> Connector:
    """The connector for ``scheme``: one of ours, else one that an installed package brings, else files,
    whose drivers (fsspec's) know further schemes. Raises Misconfigured when it cannot be loaded."""
    if scheme not in _OURS:
        for point in importlib.metadata.entry_points(group=GROUP, name=scheme):
            return _brought(point)
    return _ours(_OURS.get(scheme, _FILES))


@functools.cache
def _ours(path: str) -> Connector:
    module, _, name = path.partition(":")
    found: Connector = getattr(importlib.import_module(module), name)
    return found


def _brought(point: importlib.metadata.EntryPoint) -> Connector:
    try:
        found = point.load()
    except Exception as error:
        raise Misconfigured(
            f"the connector for `{point.name}://` cannot be loaded",
            where=point.value,
            why=f"{type(error).__name__}: {error}",
        ) from error
    if not isinstance(found, Connector):
        raise Misconfigured(
            f"the connector for `{point.name}://` is a {type(found).__name__}, not a Connector",
            where=point.value,
        )
    return found
