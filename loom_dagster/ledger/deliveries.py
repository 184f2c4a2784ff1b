"""Alerts on their way: each channel is served by one process at a time, in order.

So nobody is told twice because two daemons are up, a recovery never overtakes its alert, and a channel
that is down is asked once in a while however many alerts wait for it. A claim of a process that
was killed is free at once; of a machine that went silent, after a minute.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from loom_dagster.clock import Clock
from loom_dagster.ledger.alert_rows import AlertRow, ChannelRow, Delivery
from loom_dagster.ledger.alert_tables import alert_channels, alert_deliveries, alerts
from loom_dagster.ledger.database import Database
from loom_dagster.ledger.process import Process, is_gone, this_process

__all__ = ["Claim", "Deliveries"]

_LIFE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to serve a channel. ``failures``: how often in a row it has failed."""

    channel: str
    token: str
    failures: int


class Deliveries:
    """What waits for channels. Every method is one transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    def channels(self) -> Sequence[ChannelRow]:
        """Every channel for which something waits or was refused, or that is failing; healthy ones first."""
        return self._database.read(_channels)

    def claim(self, channel: str) -> Claim | None:
        """The right to serve a channel; None while another process has it, or before the next try."""
        now, me, token = self._clock.now(), this_process(), uuid.uuid4().hex

        def work(connection: Connection) -> Claim | None:
            row = connection.execute(
                select(alert_channels).where(alert_channels.c.channel == channel)
            ).first()
            if row is not None and (
                _taken(row, now) or (row.next_try_at is not None and row.next_try_at > now)
            ):
                return None
            mine = {"token": token, "host": me.host, "pid": me.pid, "process_start": me.start, "beat_at": now}
            if row is None:
                connection.execute(insert(alert_channels).values(channel=channel, failures=0, **mine))
            else:
                connection.execute(
                    update(alert_channels).where(alert_channels.c.channel == channel).values(**mine)
                )
            return Claim(channel=channel, token=token, failures=0 if row is None else row.failures)

        return self._database.write(work)

    def let_go(self, claim: Claim) -> None:
        free = update(alert_channels).where(alert_channels.c.token == claim.token).values(token=None)
        self._database.write(lambda c: c.execute(free))

    def waiting(self, channel: str, limit: int) -> Sequence[tuple[AlertRow, Delivery]]:
        """What is to be delivered next, oldest first."""
        query = (
            select(alerts, *(c.label(f"d_{c.name}") for c in alert_deliveries.c))
            .join(alert_deliveries, alert_deliveries.c.alert_id == alerts.c.alert_id)
            .where(alert_deliveries.c.channel == channel, alert_deliveries.c.state == "waiting")
            .order_by(alert_deliveries.c.queued_at, alert_deliveries.c.alert_id)
            .limit(limit)
        )
        rows = self._database.read(lambda c: c.execute(query).mappings().all())
        return [
            (
                AlertRow(**{c.name: row[c.name] for c in alerts.c}),
                Delivery(**{c.name: row[f"d_{c.name}"] for c in alert_deliveries.c}),
            )
            for row in rows
        ]

    def keep(self, claim: Claim) -> bool:
        """Say that the channel is still being served; False when the claim is lost: stop."""
        beat = update(alert_channels).where(alert_channels.c.token == claim.token)
        return self._database.write(lambda c: c.execute(beat.values(beat_at=self._clock.now())).rowcount) > 0

    def delivered(self, claim: Claim, alert_id: str) -> bool:
        """The channel took it. False when the claim was lost meanwhile: stop."""
        now = self._clock.now()

        def work(connection: Connection) -> bool:
            sent = {"state": "delivered", "delivered_at": now, "last_error": None}
            connection.execute(
                update(alert_deliveries)
                .where(*_one(alert_id, claim.channel))
                .values(attempts=alert_deliveries.c.attempts + 1, **sent)
            )
            well = {
                "failures": 0,
                "failing_since": None,
                "next_try_at": None,
                "last_error": None,
                "beat_at": now,
            }
            mine = update(alert_channels).where(alert_channels.c.token == claim.token)
            return connection.execute(mine.values(**well)).rowcount > 0

        return self._database.write(work)

    def failed(
        self, claim: Claim, alert_id: str, error: str, *, next_try_at: datetime, refused: bool = False
    ) -> None:
        """The channel did not take it; ``refused``: it will not be offered again by itself. Gives the claim back."""
        now = self._clock.now()

        def work(connection: Connection) -> None:
            connection.execute(
                update(alert_deliveries)
                .where(*_one(alert_id, claim.channel))
                .values(
                    state="refused" if refused else "waiting",
                    attempts=alert_deliveries.c.attempts + 1,
                    last_error=error,
                )
            )
            connection.execute(
                update(alert_channels)
                .where(alert_channels.c.token == claim.token)
                .values(
                    failures=alert_channels.c.failures + 1,
                    failing_since=func.coalesce(alert_channels.c.failing_since, now),
                    next_try_at=next_try_at,
                    last_error=error,
                    token=None,
                )
            )

        self._database.write(work)


def _one(alert_id: str, channel: str) -> tuple[ColumnElement[bool], ...]:
    return alert_deliveries.c.alert_id == alert_id, alert_deliveries.c.channel == channel


def _taken(row: Any, now: datetime) -> bool:
    if row.token is None:
        return False
    owner = Process(host=row.host, pid=row.pid, start=row.process_start)
    silent = now - row.beat_at > _LIFE
    return not silent and not is_gone(owner, silent=silent)


def _channels(connection: Connection) -> list[ChannelRow]:
    counted = select(alert_deliveries.c.channel, alert_deliveries.c.state, func.count().label("n")).where(
        alert_deliveries.c.state.in_(("waiting", "refused"))
    )
    grouped = counted.group_by(alert_deliveries.c.channel, alert_deliveries.c.state)
    numbers = {(row.channel, row.state): row.n for row in connection.execute(grouped)}
    known = {row.channel: row for row in connection.execute(select(alert_channels))}
    names = {channel for channel, _ in numbers} | {n for n, row in known.items() if row.failures}
    found = []
    for name in names:
        row = known.get(name)
        kept = {"failures": row.failures, "failing_since": row.failing_since} if row else {}
        kept |= {"next_try_at": row.next_try_at, "last_error": row.last_error} if row else {}
        waiting, refused = numbers.get((name, "waiting"), 0), numbers.get((name, "refused"), 0)
        found.append(ChannelRow(channel=name, waiting=waiting, refused=refused, **kept))
    return sorted(found, key=lambda c: (c.failures, c.channel))
