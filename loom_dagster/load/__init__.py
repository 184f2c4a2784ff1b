"""The last stage: a released snapshot goes to its destination, whole, and as often as one likes."""

from loom_dagster.load.snapshot import check_destination, load_snapshot

__all__ = ["check_destination", "load_snapshot"]
