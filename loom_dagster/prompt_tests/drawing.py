"""A sample of records that stays the same: by their ids and a seed, whatever their order."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Drawn", "Row", "draw"]


@dataclass(frozen=True, slots=True)
class Row:
    """A record of the source. ``columns`` are its input."""

    id: str
    columns: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """``rows`` in random order, of ``available`` that there were."""

    rows: Sequence[Row]
    available: int


def draw(rows: Iterable[Row], size: int, seed: int) -> Drawn:
    """``size`` of ``rows``, all of them where there are fewer. Those whose hashes are the smallest (bottom-k sampling:
    Cohen and Kaplan, Summarizing data using bottom-k sketches, PODC 2007): a smaller sample is the beginning of a larger
    one, and rows that come or go change little, so that answers that were paid for are used again."""
    smallest: list[tuple[int, int, Row]] = []
    count = 0
    for row in rows:
        item = (-_hash(row.id, seed), count, row)  # the heap's first is the largest hash
        count += 1
        if len(smallest) < size:
            heapq.heappush(smallest, item)
        elif item > smallest[0]:
            heapq.heapreplace(smallest, item)
    smallest.sort(key=lambda item: (-item[0], item[1]))
    return Drawn(rows=[row for _, _, row in smallest], available=count)


def _hash(name: str, seed: int) -> int:
    text = f"{seed}:{name}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
