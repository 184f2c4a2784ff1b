"""Tables and queries as sources."""

from __future__ import annotations

from loom_dagster.connectors.contract import Place, Rows, Wanted
from loom_dagster.errors import Misconfigured
from loom_dagster.spec.models import Extract

__all__ = ["SqlSource"]


class SqlSource:
    def open(self, place: Place, wanted: Wanted) -> Rows:
        raise Misconfigured(f"{place.uri} cannot be read yet")

    def check(self, place: Place, extract: Extract, *, reach: bool) -> None:
        raise Misconfigured(f"{place.uri} cannot be read yet")
