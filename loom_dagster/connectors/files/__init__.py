"""Files wherever they are, in the formats we know, for reading and for writing."""

from loom_dagster.connectors.contract import Connector
from loom_dagster.connectors.files.load import FileDestination
from loom_dagster.connectors.files.locations import (
    File,
    Location,
    accessing,
    expand,
    locate,
    normalise_location,
)
from loom_dagster.connectors.files.replacing import replacing
from loom_dagster.connectors.files.source import FileSource

__all__ = [
    "File",
    "Location",
    "accessing",
    "connector",
    "expand",
    "locate",
    "normalise_location",
    "replacing",
]

connector = Connector(name="files", source=FileSource(), destination=FileDestination())
