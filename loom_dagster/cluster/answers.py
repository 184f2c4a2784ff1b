"""The answers, at a worker's end of its line to the till."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from loom_dagster.errors import LoomError
from loom_dagster.gateway import Origin
from loom_dagster.ledger.answers import answer_of, row_of
from loom_dagster.ledger.exchange import Reply, raised
from loom_dagster.records import Answer

__all__ = ["Answers", "end"]


class Answers:
    """A store that is elsewhere: ``FarStore``. At most one ``find`` for a key at a time."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._error: LoomError | None = None
        self._finding: dict[bytes, tuple[float | None, asyncio.Future[Answer | None]]] = {}
        self._finds: dict[bytes, float | None] = {}  # not told yet
        self._claimed: set[bytes] = set()
        self._asked: dict[bytes, None] = {}  # claims, or hopes of one, that are given up
        self._puts: list[tuple[tuple[Any, ...], asyncio.Future[None]]] = []
        self._put: list[asyncio.Future[None]] = []  # told, and not acknowledged
        self._again = False

    async def find(self, key: bytes, *, not_before: float | None = None) -> Answer | None:
        """The stored answer. None: there is none, and nobody else asks for it until it is ``asked``."""
        self._check()
        found: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self._finding[key] = (not_before, found)
        self._finds[key] = not_before
        self._wake()
        try:
            return await found
        except asyncio.CancelledError:
            if self._finding.get(key, (None, None))[1] is found:
                del self._finding[key]
                if key in self._finds:
                    del self._finds[key]
                else:
                    self._asked[key] = None
                    self._wake()
            else:
                self.asked(key)  # it may have become ours just before we were cancelled
            raise

    def asked(self, key: bytes) -> None:
        """Its answer is stored, or will not come: the claim is given up."""
        if key in self._claimed:
            self._claimed.discard(key)
            self._asked[key] = None
            self._wake()

    async def put(self, answer: Answer, origin: Origin) -> None:
        """Return once it is on disk."""
        self._check()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._puts.append((row_of(answer, origin, 0.0), done))
        self._wake()
        await done

    @property
    def waits(self) -> bool:
        return bool(self._finding)

    def gather(self) -> dict[str, Any]:
        fields = {
            "finds": tuple(self._finds.items()),
            "asked": tuple(self._asked),
            "claimed": tuple(self._claimed) if self._again else (),
            "puts": tuple(row for row, _ in self._puts),
        }
        self._put = [done for _, done in self._puts]
        self._puts, self._finds, self._asked, self._again = [], {}, {}, False
        return fields

    def hear(self, reply: Reply) -> bool:
        error = None if reply.answers is None else raised(reply.answers)
        for done in self._put:
            end(done, None, error)
        self._put = []
        for row in reply.found:
            if row[0] in self._finding:
                end(self._finding.pop(row[0])[1], answer_of(row))
                self._finds.pop(row[0], None)
        for key in reply.claimed:
            self._claimed.add(key)
            if key in self._finding:
                self._finds.pop(key, None)
                self._asked.pop(key, None)
                end(self._finding.pop(key)[1], None)
            else:
                self.asked(key)  # who wanted it was cancelled
        if error is not None:
            for key in [key for key in self._finding if key not in self._finds]:
                end(self._finding.pop(key)[1], None, error)
        return bool(reply.found or reply.claimed)

    def repeat(self) -> None:
        """The till knows nothing of what waits."""
        self._finds = {key: not_before for key, (not_before, _) in self._finding.items()}
        self._again = bool(self._claimed)
        if self._finds or self._again:
            self._wake()

    def fail(self, error: LoomError) -> None:
        self._error = error
        for done in (*self._put, *(done for _, done in self._puts)):
            end(done, None, error)
        for _, found in self._finding.values():
            end(found, None, error)
        self._put, self._puts, self._finding, self._finds = [], [], {}, {}

    def _check(self) -> None:
        if self._error is not None:
            raise self._error


def end(done: asyncio.Future[Any], value: object, error: LoomError | None = None) -> None:
    """Tell who waits, if anybody still does."""
    if done.done():
        return
    if error is None:
        done.set_result(value)
    else:
        done.set_exception(error)
