"""Limits that several runs share: each is a member with a row per limit, and what all rows hold is
never more than the limit.

A member that is to have less is told so, and its row keeps what it held until it says that it holds
less; only what no row holds is given away. A member that has died is removed, on another host one that is silent for too long.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import Connection, delete, insert, select, update

from loom_dagster.clock import Clock
from loom_dagster.ledger.database import Database
from loom_dagster.ledger.process import Process, is_gone, this_process
from loom_dagster.ledger.tables import limit_shares as table

__all__ = ["Grant", "LimitShares", "divide", "within"]

_LIFE = timedelta(seconds=30)  # of silence; a beat comes every second


class Demand(Protocol):
    """What a member says of one limit: the limit as it knows it, what it holds, what it could use."""

    @property
    def most(self) -> int: ...

    @property
    def held(self) -> int: ...

    @property
    def wanted(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """``slots`` of the ``of`` that all have together."""

    slots: int
    of: int

    @property
    def share(self) -> float:
        return self.slots / self.of


class LimitShares:
    """One member, in this process or for the process ``owner``; with a ``token`` it is the one who had it before. Its
    methods block, and raise Misconfigured (kind ``ledger``) like all of the ledger's."""

    def __init__(
        self, database: Database, clock: Clock, *, owner: Process | None = None, token: str | None = None
    ) -> None:
        self._database, self._clock = database, clock
        self._owner, self._token = owner, token or uuid.uuid4().hex
        self._left = False
        self._turn = threading.Lock()

    def beat(self, demands: Mapping[str, Demand]) -> dict[str, Grant]:
        """A sign of life; what may be used of each limit from now on."""
        with self._turn:
            if self._left:
                return {}
            now = self._clock.now()
            return self._database.write(
                lambda connection: {
                    name: self._grant(connection, name, demand, now) for name, demand in demands.items()
                }
            )

    def held(self) -> dict[str, int]:
        """What the books say that it holds, by the limit's name."""
        mine = select(table.c.name, table.c.held).where(table.c.token == self._token)
        return self._database.read(lambda c: {row.name: row.held for row in c.execute(mine)})

    def leave(self) -> None:
        """What was held is free at once. Leaving twice is fine."""
        with self._turn:
            self._left = True
            self._database.write(
                lambda connection: connection.execute(delete(table).where(table.c.token == self._token))
            )

    def _grant(self, connection: Connection, name: str, demand: Demand, now: datetime) -> Grant:
        known, others = False, []
        for row in connection.execute(select(table).where(table.c.name == name).order_by(table.c.token)):
            if row.token == self._token:
                known = True
            elif is_gone(
                Process(host=row.host, pid=row.pid, start=row.process_start), silent=now - row.beat_at > _LIFE
            ):
                connection.execute(delete(table).where(table.c.name == name, table.c.token == row.token))
            else:
                others.append(row)
        limit = max(demand.most, *(row.most for row in others), 1)
        place = sum(row.token < self._token for row in others)
        held, wanted = demand.held, max(1, demand.wanted)  # one is always ready, for the first call
        bounds = [(row.most, row.wanted) for row in others]
        bounds.insert(place, (demand.most, wanted))
        fair = divide(limit, bounds)[place]
        slots = within(fair, held, limit - sum(row.held for row in others))
        values = {"most": demand.most, "wanted": wanted, "held": max(held, slots), "beat_at": now}
        if known:
            mine = (table.c.name == name, table.c.token == self._token)
            connection.execute(update(table).where(*mine).values(values))
        else:
            me = self._owner or this_process()
            owner = {"token": self._token, "host": me.host, "pid": me.pid, "process_start": me.start}
            connection.execute(insert(table).values({"name": name, **owner, **values}))
        return Grant(slots=slots, of=limit)


def within(fair: int, held: int, free: int) -> int:
    """How many slots one may use whose share is ``fair`` and who holds ``held``, when ``free`` are held by no other."""
    return fair if fair <= held else max(held, min(fair, free))


def divide(limit: int, bounds: Sequence[tuple[int, int]]) -> list[int]:
    """Max-min fair shares of ``limit`` for members with (most, wanted): nobody gets more than it wants while
    another wants more than it gets. What nobody wants is divided as well, up to each one's most."""
    shares = [0] * len(bounds)
    for needs in ([min(most, wanted) for most, wanted in bounds], [most for most, _ in bounds]):
        left = limit - sum(shares)
        missing = sorted((need - share, i) for i, (need, share) in enumerate(zip(needs, shares, strict=True)))
        for n, (more, i) in enumerate(missing):
            part = min(more, left // (len(missing) - n))
            shares[i] += part
            left -= part
    return shares
