"""Sends batches, looks after them and brings their answers home.

Whoever does so may be killed at any point: what was meant is in the ledger before it is done, and what is in the
ledger as meant is looked for at the provider before it is done again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from loom_dagster.batches.collect import collect
from loom_dagster.clock import Clock
from loom_dagster.errors import Misconfigured, Permanent, Transient
from loom_dagster.gateway.batch_api import BatchApi, BatchSeen
from loom_dagster.gateway.batching import open_batch_api
from loom_dagster.gateway.lane import Closes
from loom_dagster.gateway.prices import PriceBook
from loom_dagster.gateway.question import AnswerStore
from loom_dagster.gateway.retry import Effort, pause
from loom_dagster.ledger import Batches, BatchRow, Spool

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Clerk"]

T = TypeVar("T")

_TRIES = 4  # of one request, before it is left to the next time


class Clerk:
    """For one event loop; entered for as long as it works. ``note`` hears what people should know."""

    def __init__(
        self,
        book: Batches,
        spool: Spool,
        store: AnswerStore,
        *,
        prices: PriceBook,
        clock: Clock,
        environ: Mapping[str, str],
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._book, self._spool, self._store = book, spool, store
        self._prices, self._clock, self._environ, self._note = prices, clock, environ, note
        self._session: aiohttp.ClientSession | None = None
        self._lanes: list[Closes] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        for lane in self._lanes:
            await lane.close()
        if self._session is not None:
            await self._session.close()

    async def attend(self, row: BatchRow, *, wanted: bool = True) -> None:
        """One step of everything that there is to do for a batch; one that is not ``wanted`` is not sent any more.
        Raises Misconfigured when somebody has to change something first, Transient when the provider cannot be asked
        now."""
        seen = await self.look(row, wanted=wanted)
        asked = self._spool.asked(row.batch_id)
        if seen is None or not seen.ended or asked is None:
            return
        api = self._api(asked)
        await self._tried(
            lambda: collect(row, seen, api, asked, self._book, self._spool, self._store, self._prices)
        )

    async def look(self, row: BatchRow, *, wanted: bool = True) -> BatchSeen | None:
        """The same, without the answers of one that has ended. None for one that is not there (any more)."""
        asked = self._spool.asked(row.batch_id)
        if asked is None:  # it was gathered elsewhere, and is looked after from there
            if wanted:
                self._note(
                    f"batch {row.batch_id} was sent from another .loom folder, and only there its answers can be read; "
                    f"if that is gone: loom batches forget {row.batch_id}"
                )
            return None
        if row.state == "submitting":
            await self.submit(row, wanted=wanted)
            return None
        api = self._api(asked)
        seen = await self._tried(lambda: api.look(str(row.provider_id)))
        if seen is None:
            self._lost(row)
        elif seen.refused:
            self._refused(row, seen.said or "the provider does not say why")
        else:
            self._saw(row, seen)
        return seen

    async def submit(self, row: BatchRow, *, first: bool = False, wanted: bool = True) -> None:
        """Send a batch that is meant to be. ``first``: it cannot be there yet, so it need not be looked for. One that
        is not ``wanted`` any more is only looked for: it is paid for if it is there."""
        asked = self._spool.asked(row.batch_id)
        if asked is None or not self._book.claim(row.batch_id):
            return  # somebody else is about it
        self._spool.send(row.batch_id)
        api, effort = self._api(asked), Effort(_TRIES)
        while True:
            try:
                seen = None if first else await self._found(api, row)
                if seen is None and not wanted:
                    self._dropped(row)
                    return
                if seen is None:
                    seen = await self._made(api, row)
                break
            except Transient as error:
                effort.count(error)
                if effort.used_up:
                    raise
                first = False  # it may be there all the same
                await self._clock.sleep(pause(effort, error, self._clock))
            except Permanent as error:
                self._refused(row, error.sentence())
        self._book.sent(row.batch_id, seen.id)
        self._saw(row, seen)

    async def cancel(self, row: BatchRow, who: str) -> None:
        """Ask the provider to end a batch. What it has answered by then is collected as usual."""
        asked = self._spool.asked(row.batch_id)
        if asked is None or row.provider_id is None:
            raise Misconfigured(
                f"batch {row.batch_id} cannot be cancelled from here",
                why="it was sent from another folder" if asked is None else "it is not known to be sent",
                fix=f"loom run {row.pipeline}" if asked is not None else None,
            )
        self._book.cancelled(row.batch_id, who)
        api = self._api(asked)
        await self._tried(lambda: api.cancel(str(row.provider_id)))

    async def forget(self, row: BatchRow, who: str) -> None:
        """Count a batch whose questions are gone at the most it can have cost. Raises Misconfigured for another."""
        if self._spool.asked(row.batch_id) is not None:
            raise Misconfigured(
                f"batch {row.batch_id} can be read from here",
                fix=f"loom run {row.pipeline}, or loom batches cancel {row.batch_id}",
            )
        self._book.settle(row.batch_id, "lost", note=f"written off by {who}")

    async def _made(self, api: BatchApi, row: BatchRow) -> BatchSeen:
        path, tag = self._spool.file(row.batch_id), row.batch_id
        file_id = row.file_id
        if not path.exists():
            self._refused(row, "its file is gone")
        if file_id is None:
            file_id = await api.upload(path, tag)
            self._book.uploaded(row.batch_id, file_id)
        return await api.create(path, tag, file_id)

    async def _found(self, api: BatchApi, row: BatchRow) -> BatchSeen | None:
        others = frozenset(other.provider_id for other in self._book.rows() if other.provider_id is not None)
        since = row.submitted_at or row.created_at
        return await api.find(row.batch_id, since=since, requests=row.requests, known=others)

    def _saw(self, row: BatchRow, seen: BatchSeen) -> None:
        self._book.saw(row.batch_id, seen.state, done=seen.done, failed=seen.failed, ended=seen.ended)

    def _refused(self, row: BatchRow, why: str) -> None:
        """Nothing of it was worked on. Raises Misconfigured."""
        self._book.settle(row.batch_id, "refused", note=why)
        self._spool.settled(row.batch_id, tried=False)
        raise Misconfigured(
            f"the provider refused batch {row.batch_id} of {row.requests:,} questions; nothing was paid",
            why=why,
            fix=f"change what it complains of, then: loom run {row.pipeline}",
            kind="batch_refused",
        )

    def _dropped(self, row: BatchRow) -> None:
        """It was never sent, and nobody waits for it."""
        self._book.settle(row.batch_id, "dropped", note="it was not sent, and its run does not go on")
        self._spool.settled(row.batch_id, tried=False)

    def _lost(self, row: BatchRow) -> None:
        """Nobody knows what became of it."""
        self._book.settle(row.batch_id, "lost", note="the provider knows of it no more")
        self._spool.settled(row.batch_id, tried=True)
        self._note(
            f"batch {row.batch_id} ({row.provider_id}) is not known to {row.provider} any more: it counts at the most "
            "it can have cost, and its questions are asked again"
        )

    async def _tried(self, ask: Callable[[], Awaitable[T]]) -> T:
        effort = Effort(_TRIES)
        while True:
            try:
                return await ask()
            except Transient as error:
                effort.count(error)
                if effort.used_up:
                    raise
                await self._clock.sleep(pause(effort, error, self._clock))
            except Permanent as error:  # of a batch as a whole
                raise Misconfigured(error.what, why=error.why, fix=error.fix, kind=error.kind) from error

    def _api(self, asked: Mapping[str, Any]) -> BatchApi:
        api, lane = open_batch_api(asked, self._prices, self._environ, self._http)
        if isinstance(lane, Closes):
            self._lanes.append(lane)
        return api

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            from loom_dagster.gateway.connection import make_session

            self._session = make_session()
        return self._session
