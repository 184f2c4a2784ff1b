"""How many calls at once a provider takes, found by trying: up a step at a time, down when it refuses (429).

What a 429 means depends on the level it comes at. At a level that has held, a few are noise: only a
share that lasts lowers it, by a tenth or by half. At a level that is new, one is the answer (more,
where the provider was seen to refuse some at any level): back to the last level that held, and this
one is the ceiling. The ceiling is tried again now and then, the more rarely the more refusals a try
costs; once it holds, the way up is free.
"""

from __future__ import annotations

import math

__all__ = ["Level"]

_STEP = 10  # successes that earn one step up, below the ceiling
_TRY_AFTER = 200  # successes at the least, and four rounds, before the ceiling is tried again
_PRICE = 75  # successes that earn each call that a try gets refused: together less than 2%
_MEMORY = 128  # answers that the share of 429 is taken over
_MANY, _SOME = 0.15, 0.06  # shares that halve the level, and that take off a tenth
_FEW = 5  # refusals; fewer prove nothing at a level that has held


class Level:
    """Starts at ``most`` and stays between 1 and it (0 if that is 0); ``now`` is how many calls may be in flight.

    A call gets a ticket when it is sent and shows it at its end: calls that were sent before the
    level last fell do not lower it again.
    """

    def __init__(self, most: int) -> None:
        self.most = self.now = most
        self._good = most  # the last level that held for a round of calls
        self._ceiling = math.inf  # the level that failed last
        self._tickets = self._fell_at = 0
        # the level on trial, the last ticket before it began, what came of the calls since
        self._tried, self._tried_at, self._held, self._failed = most, 0, 0, 0
        self._earned = self._cost = 0
        self._share, self._answers, self._refusals = 0.0, 0, 0  # of 429, since the level last fell
        self._noise = 0.0  # the share of 429 while the most was sent

    def ticket(self) -> int:
        """For a call that is sent now."""
        self._tickets += 1
        return self._tickets

    def resize(self, most: int) -> None:
        """Another ``most``; a level that only the old one held down rises to it at once."""
        free = self.now == self.most and self._ceiling == math.inf
        self.most = most
        self.now = most if free else max(min(self.now, most), min(1, most))
        self._good = self.now if free else min(self._good, self.now)

    def succeeded(self, ticket: int, *, full: bool) -> None:
        """A call was answered. ``full``: no more were allowed in flight, so that it proves something."""
        if ticket <= self._fell_at:
            return
        self._count(0)
        if self._answers % _MEMORY == 0 and not self._reviewed():
            return
        if full and self._good < self.most:
            self._rise(ticket)

    def refused(self, ticket: int) -> bool:
        """A 429 came. Whether far too much is being sent, so that everybody had better wait."""
        if ticket <= self._fell_at:
            if self._cost:
                self._cost = min(self._cost + 1, self.now)
            return False
        self._count(1)
        if self.now > self._good and ticket > self._tried_at:
            self._failed += 1
            if self._failed > 2 * self._noise * self.now:
                self._fall(self._good)
                self._cost = 1  # and what else was sent at that level and is refused
                return False
        if self._refusals < _FEW or self._share <= _MANY:
            return False
        self._fall(self.now // 2)
        return True

    def _rise(self, ticket: int) -> None:
        if self.now > self._good and ticket > self._tried_at:
            self._held += 1
            if self._held >= self._tried:
                self._good = self._tried
                if self._good >= self._ceiling:
                    self._ceiling = math.inf
                self._try()
        self._earned += 1
        free = self.now + 1 < self._ceiling
        due = min(_STEP, self.now) if free else max(_TRY_AFTER, 4 * self.now, _PRICE * self._cost)
        if self._earned >= due and self.now < self.most:
            self._earned = 0
            self.now += 1
            if self._tried <= self._good:
                self._try()

    def _try(self) -> None:
        self._tried, self._tried_at, self._held, self._failed = self.now, self._tickets, 0, 0

    def _fall(self, level: int) -> None:
        self._ceiling = self.now
        self.now = self._good = self._tried = max(min(1, self.most), level)
        self._fell_at = self._tickets
        self._earned = self._cost = 0
        self._share, self._answers, self._refusals = 0.0, 0, 0

    def _reviewed(self) -> bool:
        """Whether the level stands after a look at the share of 429."""
        if self._share > _SOME:
            self._fall(self.now - max(1, self.now // 10))
            return False
        if self._good == self.most:
            self._noise += (self._share - self._noise) / 4
        return True

    def _count(self, refused: int) -> None:
        self._answers += 1
        self._refusals += refused
        # refusals come faster than answers: the first are measured against what was sent with them
        self._share += (refused - self._share) / min(max(self._answers, 2 * self.now), _MEMORY)
