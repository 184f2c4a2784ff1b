"""Databases that speak SQL: PostgreSQL, MySQL and MariaDB, SQLite."""

from loom_dagster.connectors.contract import Connector
from loom_dagster.connectors.sql.destination import SqlDestination
from loom_dagster.connectors.sql.source import SqlSource

__all__ = ["connector"]

connector = Connector(name="sql", source=SqlSource(), destination=SqlDestination())
