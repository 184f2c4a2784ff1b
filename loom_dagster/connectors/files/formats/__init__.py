"""The file formats, and which one a file has."""

from __future__ import annotations

from loom_dagster.connectors.files.formats.contract import (
    CHUNK_BYTES,
    Chunk,
    Format,
    Reading,
    Unreadable,
    Writer,
)
from loom_dagster.connectors.files.formats.csv import Csv
from loom_dagster.connectors.files.formats.json import Json
from loom_dagster.connectors.files.formats.jsonl import JsonLines
from loom_dagster.connectors.files.formats.parquet import Parquet

__all__ = [
    "CHUNK_BYTES",
    "FORMATS",
    "Chunk",
    "Csv",
    "Format",
    "Json",
    "JsonLines",
    "Parquet",
    "Reading",
    "Unreadable",
    "Writer",
    "format_of",
]

FORMATS: dict[str, Format] = {f.name: f for f in (Csv(), Json(), JsonLines(), Parquet())}


def format_of(path: str) -> Format | None:
    """The format a path's extension says; ``.gz`` after it counts for nothing."""
    bare = path.lower().removesuffix(".gz")
    return next((f for f in FORMATS.values() if bare.endswith(f.extensions)), None)
