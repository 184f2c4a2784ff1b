"""What the driver's side knows of workers, wherever they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from loom_dagster.cluster.blocks import Block, Made
from loom_dagster.cluster.news import News
from loom_dagster.errors import Misconfigured

__all__ = ["Crew", "Gone", "Hand"]


class Gone(Exception):
    """A worker's process is no more. ``why`` in the words of those who know."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Hand(Protocol):
    """One worker. Everything raises Gone once it has died, and what it raised itself otherwise."""

    name: str

    async def settle(self, block: Block) -> Made | None:
        """What became of the records; None when it was stopped before it came to them."""

    async def news(self) -> News:
        """What it has to tell since the last time."""

    async def halt(self, error: Misconfigured) -> None:
        """Defer what comes now."""

    async def stop(self) -> None:
        """Take in no more; returns when what was in flight is settled."""

    async def leave(self) -> None:
        """There will be no more blocks."""

    def kill(self) -> None:
        """End its process, if it is there."""


class Crew(Protocol):
    """Workers of one run, and what they have in common."""

    wanted: int

    async def hire(self) -> Hand:
        """One more, ready to settle. Waits until there is a place for it. Raises Gone when it died before that, and
        LoomError for what will be no better with another one."""

    async def lost(self, hand: Hand) -> None:
        """It died: what it had in flight is settled before others ask the same."""

    async def watch(self, note: Callable[[str], None]) -> None:
        """Returns never; raises LoomError when there can be no workers any more."""
