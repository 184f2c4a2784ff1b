"""The places a pipeline names, with the connections of its project."""

from __future__ import annotations

from loom_dagster.connectors import Place, place_of
from loom_dagster.settings import Settings
from loom_dagster.spec import in_partition
from loom_dagster.spec.models import Pipeline

__all__ = ["destination_place", "place_at", "source_place"]


def place_at(uri: str, spec: Pipeline, settings: Settings) -> Place:
    """``uri`` as ``spec`` means it: where it names a connection only, the table is called like the pipeline."""
    return place_of(uri, settings.root, table=spec.name, connections=settings.connections)


def source_place(spec: Pipeline, settings: Settings, partition: str = "") -> Place:
    return place_at(in_partition(spec.extract.source, partition), spec, settings)


def destination_place(spec: Pipeline, settings: Settings) -> Place:
    return place_at(spec.load.destination, spec, settings)
