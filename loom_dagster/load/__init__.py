"""The last stage: a released snapshot goes to its destination, whole, and as often as one likes."""

from loom_dagster.load.destination import check_destination
from loom_dagster.load.snapshot import load_snapshot

__all__ = ["check_destination", "load_snapshot"]
