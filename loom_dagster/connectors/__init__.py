"""Where rows come from and where they go: one folder a connector, one contract for all."""

from loom_dagster.connectors.contract import (
    CHUNK_BYTES,
    Chunk,
    Connector,
    Destination,
    Incoming,
    Loaded,
    Mode,
    Place,
    Refused,
    Rows,
    Scalar,
    Shipment,
    Source,
    Unreadable,
    Wanted,
    Window,
)
from loom_dagster.connectors.registry import connector_of, destination_at, place_of, source_at

__all__ = [
    "CHUNK_BYTES",
    "Chunk",
    "Connector",
    "Destination",
    "Incoming",
    "Loaded",
    "Mode",
    "Place",
    "Refused",
    "Rows",
    "Scalar",
    "Shipment",
    "Source",
    "Unreadable",
    "Wanted",
    "Window",
    "connector_of",
    "destination_at",
    "place_of",
    "source_at",
]
