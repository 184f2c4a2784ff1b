"""The limits of a run that several workers keep: of what the run holds, each worker has a part.

To the other runs they are one member (see ``shares``), so that many workers crowd nobody out, and the ledger's table has a
row a run. A worker's part is divided as a run's is: what it holds is another's only once it says that it holds less.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from loom_dagster.clock import Clock
from loom_dagster.ledger.shares import LimitShares, divide, within

__all__ = ["Division"]

_BEAT, _SOON = 1.0, 0.2  # seconds between two signs of life; the latter while something changes


class _Demand(NamedTuple):
    most: int
    held: int
    wanted: int


@dataclass(slots=True)
class _Limit:
    """``slots`` are the run's, of ``of`` (0: not heard of yet). ``inherited``: what the run held before the till began anew, which counts until
    all workers of that time have said what they hold."""

    slots: int = 0
    of: int = 0
    inherited: int = 0
    members: dict[str, _Demand] = field(default_factory=dict)
    fair: dict[str, int] | None = None

    def demand(self) -> _Demand:
        told = list(self.members.values())
        return _Demand(
            max((member.most for member in told), default=1),
            max(self.slots, self.inherited, sum([member.held for member in told])),
            sum([member.wanted for member in told]),
        )

    def grant(self, worker: str) -> int:
        """The slots that ``worker`` may use from now on."""
        if self.fair is None:
            told = self.members.values()
            parts = divide(self.slots, [(member.most, member.wanted) for member in told])
            self.fair = dict(zip(self.members, parts, strict=True))
        mine = self.members[worker]
        taken = max(sum([member.held for member in self.members.values()]), self.inherited) - mine.held
        slots = within(self.fair[worker], mine.held, self.slots - taken)
        self.members[worker] = mine._replace(held=max(mine.held, slots))
        return slots


class Division:
    """One thread at a time. ``begin`` first."""

    def __init__(self, shares: LimitShares, clock: Clock) -> None:
        self._shares, self._clock = shares, clock
        self._limits: dict[str, _Limit] = {}
        self._unheard: set[str] = set()
        self._beat_at = float("-inf")
        self._settled = False

    def begin(self, workers: Iterable[str]) -> None:
        """Take over what the run held (blocks). ``workers`` may hold some of it."""
        self._unheard = set(workers)
        for name, held in self._shares.held().items() if self._unheard else ():
            self._limits[name] = _Limit(inherited=held)

    def take(self, worker: str, demands: Iterable[tuple[str, int, int, int]]) -> None:
        """What ``worker`` says of each limit: its most, what it holds, what it could use."""
        for name, *demand in demands:
            limit = self._limits.setdefault(name, _Limit())
            limit.members[worker] = _Demand(*demand)
            limit.fair = None
        self._heard(worker)

    @property
    def is_due(self) -> bool:
        """Whether it is time for ``beat``."""
        if any(limit.members and not limit.of for limit in self._limits.values()):
            return True
        since = self._clock.monotonic() - self._beat_at
        return bool(self._limits) and since >= (_BEAT if self._settled else _SOON)

    def beat(self) -> None:
        """Say to the other runs what this one could use, and hear what it may (blocks). Raises Misconfigured."""
        demands = {name: limit.demand() for name, limit in self._limits.items() if limit.members}
        for name, grant in self._shares.beat(demands).items():
            limit = self._limits[name]
            limit.slots, limit.of, limit.fair = grant.slots, grant.of, None
        self._settled = all(self._limits[name].slots == demand.held for name, demand in demands.items())
        self._beat_at = self._clock.monotonic()

    def grants(self, worker: str, names: Iterable[str]) -> tuple[tuple[str, int, int], ...]:
        """What ``worker`` may use of each limit, and of how many."""
        told = [(name, self._limits[name]) for name in names]
        return tuple((name, limit.grant(worker), max(limit.of, 1)) for name, limit in told)

    def lost(self, worker: str) -> None:
        """What it held is free."""
        for limit in self._limits.values():
            if limit.members.pop(worker, None) is not None:
                limit.fair = None
        self._heard(worker)

    def leave(self) -> None:
        """What the run held is free for others (blocks)."""
        self._shares.leave()

    def _heard(self, worker: str) -> None:
        self._unheard.discard(worker)
        if not self._unheard:
            for limit in self._limits.values():
                limit.inherited = 0
