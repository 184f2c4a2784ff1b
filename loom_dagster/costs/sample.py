"""A uniform sample of records whose number is not known before, in one pass and in bounded memory."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["Sample"]

T = TypeVar("T")


class Sample(Generic[T]):
    """Keeps what belongs to the ``size`` smallest hashes of all identities (all, when there are fewer): whoever has the
    same seed and the same records gets the same sample.

    Source: Cohen and Kaplan, "Summarizing data using bottom-k sketches", PODC 2007.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        self._size, self._key = size, seed.to_bytes(8, "big", signed=True)
        self._kept: list[tuple[int, int, T]] = []  # largest hash first
        self.seen = 0

    def place(self, identity: str) -> int | None:
        """Count one more; where it would stand, or None when there is no room for it (any more)."""
        self.seen += 1
        raw = hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=8, key=self._key)
        place = int.from_bytes(raw.digest(), "big")
        return None if len(self._kept) == self._size and place >= -self._kept[0][0] else place

    def put(self, place: int, value: T) -> None:
        """Keep ``value`` there; what is beyond the size goes."""
        item = (-place, self.seen, value)
        if len(self._kept) < self._size:
            heapq.heappush(self._kept, item)
        else:
            heapq.heappushpop(self._kept, item)

    @property
    def whole(self) -> bool:
        """Whether everything that was seen is in it."""
        return len(self._kept) == self.seen

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[T]:
        return (value for _, _, value in self._kept)
