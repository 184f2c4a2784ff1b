"""The limits, at a worker's end of its line to the till."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from loom_dagster.errors import LoomError
from loom_dagster.gateway.sharing import Demand
from loom_dagster.ledger.exchange import Reply

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class _Grant:
    slots: int
    of: int

    @property
    def share(self) -> float:
        return self.slots / self.of


class Limits:
    """``Shares``: a part of what the till holds of each limit. Its methods block, from any thread but the line's."""

    def __init__(self, wake: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        self._wake, self._loop = wake, loop
        self._left = self._failed = False
        self._known: set[str] = set()
        self._beats: list[tuple[tuple[tuple[str, int, int, int], ...], Future[dict[str, _Grant]]]] = []
        self._told: list[Future[dict[str, _Grant]]] = []

    def beat(self, demands: Mapping[str, Demand]) -> Mapping[str, _Grant]:
        """A sign of life and demands; what may be used from now on. Raises Misconfigured."""
        rows = tuple((name, each.most, each.held, each.wanted) for name, each in demands.items())
        return self._ask(rows) if not self._left else {}

    def leave(self) -> None:
        """Give everything back; what beats after that is told nothing."""
        self._left = True
        self._ask(tuple((name, 0, 0, 0) for name in self._known))

    @property
    def waits(self) -> bool:
        return False

    def gather(self) -> dict[str, Any]:
        demands: dict[str, tuple[str, int, int, int]] = {}
        for rows, _ in self._beats:
            demands |= {row[0]: row for row in rows}
        self._told = [done for _, done in self._beats]
        self._beats = []
        self._known |= demands.keys()
        return {"demands": tuple(demands.values())}

    def hear(self, reply: Reply) -> bool:
        grants = {name: _Grant(slots, of) for name, slots, of in reply.grants}
        for done in self._told:
            done.set_result(grants)
        self._told = []
        return False

    def repeat(self) -> None:
        """The next beat says everything."""

    def fail(self, error: LoomError) -> None:
        self._left = self._failed = True
        for done in (*self._told, *(done for _, done in self._beats)):
            done.set_exception(error)
        self._told, self._beats = [], []

    def _ask(self, rows: tuple[tuple[str, int, int, int], ...]) -> dict[str, _Grant]:
        done: Future[dict[str, _Grant]] = Future()
        self._loop.call_soon_threadsafe(self._add, rows, done)
        return done.result()

    def _add(self, rows: tuple[tuple[str, int, int, int], ...], done: Future[dict[str, _Grant]]) -> None:
        if self._failed:
            done.set_result({})
            return
        self._beats.append((rows, done))
        self._wake()
