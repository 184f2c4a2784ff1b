"""Tells a request that nobody could make from a record that is refused.

As long as nothing has ever succeeded, a 400 may mean that model, parameters or schema are wrong.
The first few calls that get one therefore wait for each other: one success and each is its record's
own failure; several with one and the same message and the run is misconfigured.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from loom_dagster.errors import Misconfigured, Permanent

__all__ = ["Probation"]

_SAME = 4  # as many calls with the same complaint, and none that succeeded, are no accident


class Probation:
    """For one endpoint and one event loop."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._over = False
        self._seen: Counter[str] = Counter()
        self._waiting: dict[str, list[asyncio.Future[Misconfigured | None]]] = {}

    def succeeded(self) -> None:
        """Something got through: from now on a 400 is about the record."""
        if not self._over:
            self._over = True
            self._seen.clear()
            self.settle()

    async def rejected(self, error: Permanent, *, others_in_flight: bool) -> Permanent | Misconfigured:
        """What ``error``, a 400, turns out to be. Waits only while other calls are in flight."""
        if self._over:
            return error
        complaint = error.sentence()
        waiting = self._waiting.setdefault(complaint, [])
        self._seen[complaint] += 1
        if self._seen[complaint] >= _SAME:
            verdict = Misconfigured(
                f"{self._name} rejected each of the first {_SAME} requests alike",
                why=error.why,
                fix="check the model's parameters, the output schema and `api_base`",
                kind="bad_request",
            )
            self._decide(waiting, verdict)
            return verdict
        if not others_in_flight:
            self.settle()
            return error
        decision: asyncio.Future[Misconfigured | None] = asyncio.get_running_loop().create_future()
        waiting.append(decision)
        return await decision or error

    def settle(self) -> None:
        """No more evidence is to come: what waits is about its records."""
        for waiting in list(self._waiting.values()):
            self._decide(waiting, None)

    @staticmethod
    def _decide(waiting: list[asyncio.Future[Misconfigured | None]], verdict: Misconfigured | None) -> None:
        for decision in waiting:
            if not decision.done():
                decision.set_result(verdict)
        waiting.clear()
