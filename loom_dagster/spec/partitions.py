"""The ``extract.partitions`` block: a source that is read piece by piece."""

from __future__ import annotations

from typing import Literal

from loom_dagster.spec.blocks import Block, Text

__all__ = ["Partitions"]


class Partitions(Block):
    every: Literal["hourly", "daily", "weekly", "monthly"]
    start: Text
    end: Text | None = None
    column: str | None = None
    timezone: str | None = None
