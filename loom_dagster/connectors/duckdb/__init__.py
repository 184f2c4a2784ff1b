"""DuckDB files: read and written as Arrow, without a server."""

from loom_dagster.connectors.contract import Connector
from loom_dagster.connectors.duckdb.destination import DuckDbDestination
from loom_dagster.connectors.duckdb.source import DuckDbSource

__all__ = ["connector"]

connector = Connector(name="duckdb", source=DuckDbSource(), destination=DuckDbDestination())
