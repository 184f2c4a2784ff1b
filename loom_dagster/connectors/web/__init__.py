"""The web: one file as any other, or an API that gives its rows page by page."""

from loom_dagster.connectors.contract import Connector
from loom_dagster.connectors.web.source import WebSource

__all__ = ["connector"]

connector = Connector(name="web", source=WebSource())
