"""The alerts of a project: what is wrong, and what people say to it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, select, update

from loom_dagster.clock import Clock
from loom_dagster.ledger import alerts
from loom_dagster.ledger.alert_rows import AlertRow, Delivery, Findings, MuteRow
from loom_dagster.ledger.alert_tables import alert_channels, alert_deliveries, alert_feeds
from loom_dagster.ledger.audit import Deed, keep
from loom_dagster.ledger.database import Database
from loom_dagster.ledger.deliveries import Deliveries

__all__ = ["Outbox"]


class Outbox:
    """The alerts of a project. Every method is one transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self.deliveries = Deliveries(database, clock)

    # --- what is wrong

    def tell(
        self,
        pipeline: str,
        partition: str,
        findings: Findings,
        *,
        run_id: str,
        dagster_run_id: str | None = None,
        recovered: str = "passed",
        at: datetime | None = None,
    ) -> list[str]:
        """For what is not the end of a run; ``at``: when it happened, if not now. Gives the ids of the alerts that
        are new."""
        now, slot = at or self._clock.now(), (pipeline, partition)
        return self._database.write(
            lambda c: alerts.tell(
                c,
                slot,
                findings,
                run_id=run_id,
                dagster_run_id=dagster_run_id,
                recovered=recovered,
                now=now,
                past=at is not None,
            )
        )

    def explained(self, pipeline: str, dagster_run_id: str, checks: Collection[str] = ()) -> bool:
        return self._database.read(lambda c: alerts.explained(c, pipeline, dagster_run_id, checks))

    def position(self, feed: str) -> Any:
        """How far a feed of events was read; None before the first time."""
        query = select(alert_feeds.c.position).where(alert_feeds.c.feed == feed)
        return self._database.read(lambda c: c.scalar(query))

    def advance(self, feed: str, position: Any) -> None:
        """To be called when everything before ``position`` is told."""

        def work(connection: Connection) -> None:
            mine = update(alert_feeds).where(alert_feeds.c.feed == feed).values(position=position)
            if not connection.execute(mine).rowcount:
                connection.execute(insert(alert_feeds).values(feed=feed, position=position))

        self._database.write(work)

    # --- what people see and say

    def list(
        self, *, pipeline: str | None = None, only_open: bool = False, limit: int | None = None
    ) -> list[tuple[AlertRow, list[Delivery]]]:
        """Newest first, each with its deliveries."""

        def work(connection: Connection) -> list[tuple[AlertRow, list[Delivery]]]:
            rows = alerts.list_alerts(connection, pipeline=pipeline, only_open=only_open, limit=limit)
            sent = alerts.deliveries_of(connection, [row.alert_id for row in rows])
            return [(row, sent[row.alert_id]) for row in rows]

        return self._database.read(work)

    def find(self, beginning: str) -> Sequence[AlertRow]:
        """The alerts whose id begins so, two at most."""
        return self._database.read(lambda c: alerts.find(c, beginning))

    def acknowledge(self, alert_id: str, *, who: str, why: str) -> None:
        now = self._clock.now()

        def work(connection: Connection) -> None:
            alerts.acknowledge(connection, alert_id, who=who, why=why, now=now)
            for row in alerts.find(connection, alert_id):
                of = {"pipeline": row.pipeline, "partition": row.partition}
                detail = {"check": row.check_name}
                deed = Deed(action="alert_ack", who=who, why=why, subject=alert_id, detail=detail, **of)
                keep(connection, deed, now)

        self._database.write(work)

    def mute(self, pipeline: str, check: str, *, until: datetime, why: str, who: str) -> None:
        """What goes wrong until then is recorded, and not delivered."""
        row = MuteRow(
            pipeline=pipeline, check_name=check, until=until, why=why, who=who, muted_at=self._clock.now()
        )
        until_when = {"until": until.isoformat()}
        deed = Deed(
            action="alert_mute", who=who, why=why, pipeline=pipeline, subject=check, detail=until_when
        )

        def work(connection: Connection) -> None:
            alerts.mute(connection, row)
            keep(connection, deed, row.muted_at)

        self._database.write(work)

    def unmute(self, pipeline: str, check: str, *, who: str, why: str = "") -> bool:
        now = self._clock.now()
        deed = Deed(action="alert_unmute", who=who, why=why, pipeline=pipeline, subject=check)

        def work(connection: Connection) -> bool:
            was = alerts.unmute(connection, pipeline, check)
            if was:
                keep(connection, deed, now)
            return was

        return self._database.write(work)

    def mutes(self) -> Sequence[MuteRow]:
        now = self._clock.now()
        return self._database.read(lambda c: alerts.list_mutes(c, now))

    def resend(self, *, alert_id: str | None = None, channel: str | None = None) -> int:
        """Queue an alert again for its channels, or what a channel has refused; it is asked at once. Gives how many."""
        now = self._clock.now()
        where: list[ColumnElement[bool]] = []
        if alert_id is not None:
            where.append(alert_deliveries.c.alert_id == alert_id)
        else:
            where.append(alert_deliveries.c.state.in_(("refused", "waiting")))
        if channel is not None:
            where.append(alert_deliveries.c.channel == channel)

        def work(connection: Connection) -> int:
            again = {"state": "waiting", "attempts": 0, "delivered_at": None, "last_error": None}
            names = set(connection.scalars(select(alert_deliveries.c.channel).where(*where).distinct()))
            if names:
                soon = update(alert_channels).where(alert_channels.c.channel.in_(names))
                connection.execute(soon.values(next_try_at=now))
            return connection.execute(update(alert_deliveries).where(*where).values(again)).rowcount

        return self._database.write(work)
