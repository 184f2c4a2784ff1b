"""Tables as destinations."""

from __future__ import annotations

from loom_dagster.connectors.contract import Loaded, Place, Shipment
from loom_dagster.errors import Misconfigured
from loom_dagster.spec.models import Load

__all__ = ["SqlDestination"]


class SqlDestination:
    def load(self, place: Place, load: Load, shipment: Shipment) -> Loaded:
        raise Misconfigured(f"{place.uri} cannot be written yet")

    def check(self, place: Place, load: Load, *, reach: bool) -> None:
        raise Misconfigured(f"{place.uri} cannot be written yet")
