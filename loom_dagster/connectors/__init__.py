"""Files wherever they are, in the formats we know, for reading and for writing."""

from loom_dagster.connectors.locations import File, Location, accessing, expand, locate, normalise_location
from loom_dagster.connectors.replacing import replacing

__all__ = ["File", "Location", "accessing", "expand", "locate", "normalise_location", "replacing"]
