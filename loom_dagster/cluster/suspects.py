"""What is done with records whose worker died: given to another one, alone, in ever smaller parts, until the one that
kills is found. A record that its worker died with, alone, twice, is guilty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from loom_dagster.cluster.blocks import Block

__all__ = ["OpenBlock", "Part", "after_death"]

_SMALL = 16  # records: one worker's death tells which of so many parts of a block it was
_DEATHS = 2


@dataclass(slots=True, eq=False)
class OpenBlock:
    """A block that is not written yet. ``made``: the tables of its parts that are done, by their first record."""

    whole: Block
    made: dict[int, Mapping[str, bytes]] = field(default_factory=dict)
    left: int = 1

    def take(self, part: Part, tables: Mapping[str, bytes]) -> bool:
        """True when this was the last part."""
        self.made[part.first] = tables
        self.left -= 1
        return self.left == 0

    @property
    def parts(self) -> Sequence[Mapping[str, bytes]]:
        """In the source's order."""
        return [self.made[first] for first in sorted(self.made)]


@dataclass(slots=True, eq=False)
class Part:
    """Records ``first`` to ``end`` of a block. ``suspect``: a worker died with it, so that it is settled alone; and
    ``deaths`` is how often it was alone when that happened."""

    of: OpenBlock
    first: int
    end: int
    suspect: bool = False
    deaths: int = 0

    @property
    def block(self) -> Block:
        whole = self.of.whole
        return whole if self.end - self.first == len(whole.ids) else whole.part(self.first, self.end)


def after_death(part: Part) -> list[Part]:
    """What is tried now that a worker died with ``part``: nothing where it is one record, and guilty."""
    if not part.suspect:
        part.suspect = True
        return [part]
    part.deaths += 1
    records = part.end - part.first
    if records <= 1:
        return [part] if part.deaths < _DEATHS else []
    size = _SMALL if records > _SMALL else 1
    parts = [
        Part(part.of, first, min(first + size, part.end), suspect=True)
        for first in range(part.first, part.end, size)
    ]
    part.of.left += len(parts) - 1
    return parts
