"""The answer store on Postgres: runs in several containers, or on several machines, share what was paid for.

What waits to be stored goes in one statement, committed before anybody is told; so do lookups that wait. A statement
that was done though its reply was lost is done again, and comes to the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from loom_dagster.clock import Clock, SystemClock
from loom_dagster.errors import Misconfigured
from loom_dagster.ledger.answer_server import AnswerServer, marked
from loom_dagster.ledger.answers import COLUMNS, FOUND, answer_of, row_of
from loom_dagster.ledger.grouped import Grouped
from loom_dagster.records import Answer

if TYPE_CHECKING:
    from loom_dagster.ledger.answers import Origin

__all__ = ["AnswerTable"]

_MOST = 4096  # lookups or answers at once
_BYTES = 16_000_000  # of a statement
_TYPES = {
    **dict.fromkeys(("input_tokens", "output_tokens", "cached_tokens"), "integer"),
    **dict.fromkeys(("cost", "latency", "created_at"), "double precision"),
    "simulated": "boolean",
}
_NAMES = ", ".join(COLUMNS)
_VALUES = ", ".join("decode(given.key, 'hex')" if name == "key" else f"given.{name}" for name in COLUMNS)
_GIVEN = ", ".join(f"{name} {_TYPES.get(name, 'text')}" for name in COLUMNS)
_AGAIN = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
_PUT = (
    f"INSERT INTO {{table}} ({_NAMES}) SELECT {_VALUES} FROM json_to_recordset(?::json) AS given ({_GIVEN})"  # noqa: S608
    f" ON CONFLICT (key) DO UPDATE SET {_AGAIN}"
)
_FIND = f"SELECT {', '.join(FOUND)} FROM {{table}} WHERE key = ANY (?::bytea[])"  # noqa: S608 - fixed names


class AnswerTable:
    """The answers on ``server``, whose tables are made when missing. Any thread, any event loop, several processes.

    Raises Misconfigured when it cannot be reached or used; one that goes away is waited for, half a minute.
    """

    def __init__(self, server: AnswerServer, *, clock: Clock | None = None) -> None:
        self._server, self._clock = server, clock or SystemClock()
        server.prepare()
        self._put, self._find = _PUT.format(table=server.table), _FIND.format(table=server.table)
        self._if_newer = f" WHERE {server.table}.created_at < excluded.created_at"
        self._puts = Grouped(self._store, name="answers-put", most=_MOST, closed=self._late)
        self._finds = Grouped(self._look_up, name="answers-find", most=_MOST, closed=self._late)

    def get(self, key: bytes, *, not_before: float | None = None) -> Answer | None:
        """The stored answer with ``reused`` set; None if there is none or it is older than ``not_before`` (UNIX seconds).
        The caller waits for the server."""
        [row] = self._look_up([key])
        return None if row is None else answer_of(row, not_before)

    async def find(self, key: bytes, *, not_before: float | None = None) -> Answer | None:
        """As ``get``; the event loop goes on."""
        row = await self._finds.do(key)
        return None if row is None else answer_of(row, not_before)

    def asked(self, key: bytes) -> None:
        """Who did not find it has asked: nobody waits for that here."""

    async def put(self, answer: Answer, origin: Origin) -> None:
        """Return once the answer is committed; one for a key that exists replaces it."""
        row = row_of(answer, origin, self._clock.now().timestamp())
        await self._puts.do((answer.key, _text(row)))

    async def put_many(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Return once all are committed. ``rows`` as ``row_of`` makes them; stored now, whenever they say."""
        now = self._clock.now().timestamp()
        await self._puts.do_all([(row[0], _text(row, created_at=now)) for row in rows])

    async def get_many(self, keys: Iterable[bytes]) -> dict[bytes, Sequence[object]]:
        """What is stored of ``keys``, as ``answer_of`` takes it."""
        wanted = list(keys)
        found = zip(wanted, await self._finds.do_all(wanted), strict=True)
        return {key: row for key, row in found if row is not None}

    def take(self, rows: Sequence[tuple[Any, ...]]) -> int:
        """Store ``rows``, as ``COLUMNS``, of another store; how many were not there, or older."""
        texts = [_text(row) for row in sorted(rows)]
        return sum(self._server.change(self._put + self._if_newer, [part]) for part in _parts(texts))

    def count(self) -> int:
        """How many answers there are."""
        [(number,)] = self._server.rows(f"SELECT count(*) FROM {self._server.table}")  # noqa: S608 - a plain name
        return int(number)

    def close(self) -> None:
        """Write what is queued and leave the server. Closing twice is fine."""
        self._puts.close()
        self._finds.close()
        self._server.close()

    def _store(self, answers: list[tuple[bytes, bytes]]) -> Sequence[None]:
        """Of two for one key the last. In one order, so that no two processes wait for each other."""
        for statement in _parts([text for _, text in sorted(dict(answers).items())]):
            self._server.change(self._put, [statement])
        return [None] * len(answers)

    def _look_up(self, keys: list[bytes]) -> Sequence[Sequence[object] | None]:
        wanted = "{" + ",".join(f'"\\\\x{key.hex()}"' for key in dict.fromkeys(keys)) + "}"
        found = {row[0]: row for row in self._server.rows(self._find, [wanted])}
        return [found.get(key) for key in keys]

    def _late(self) -> Misconfigured:
        return Misconfigured("the answer store is closed", where=self._server.name)


def _text(row: Sequence[Any], **instead: float) -> bytes:
    """As JSON, which the server makes a row of again; ``instead`` of what it has in some columns."""
    values = dict(zip(COLUMNS, row, strict=True))
    given = {name: marked(value) if isinstance(value, str) else value for name, value in values.items()}
    return orjson.dumps({**given, "key": row[0].hex(), "simulated": bool(given["simulated"]), **instead})


def _parts(texts: Sequence[bytes]) -> Iterator[str]:
    """JSON arrays of about so many bytes at most."""
    part: list[bytes] = []
    size = 0
    for text in texts:
        if part and size + len(text) > _BYTES:
            yield f"[{b','.join(part).decode()}]"
            part, size = [], 0
        part.append(text)
        size += len(text)
    yield f"[{b','.join(part).decode()}]"
