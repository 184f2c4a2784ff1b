"""Alerts as they are written: once for each thing that is wrong, beside whatever made it known.

The functions work within a transaction of the caller, so that a run and its alerts are kept together or not at all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, false, func, insert, or_, select, update

from loom_dagster.ledger.alert_rows import (
    AlertRow,
    Delivery,
    Event,
    Fault,
    Findings,
    MuteRow,
    alert_id_of,
    incident_of,
)
from loom_dagster.ledger.alert_tables import alert_deliveries, alert_mutes, alerts
from loom_dagster.ledger.tables import runs

__all__ = [
    "acknowledge",
    "deliveries_of",
    "explained",
    "find",
    "list_alerts",
    "list_mutes",
    "mute",
    "tell",
    "tell_of_load",
    "tell_of_run",
    "unmute",
]

_TICK = timedelta(microseconds=1)
_AT_ONCE = 500  # ids in a query


def tell(
    connection: Connection,
    slot: tuple[str, str],
    findings: Findings,
    *,
    run_id: str,
    dagster_run_id: str | None,
    recovered: str,
    now: datetime,
    past: bool = False,
) -> list[str]:
    """Write what is said of the checks of a pipeline and partition (``slot``); ``recovered``: why those that
    passed did. ``past``: what passed then says nothing of what failed since. Gives the ids of the alerts that are new."""
    told = [_fail(connection, slot, fault, now, past=past) for fault in findings.failed]
    for check in sorted(set(findings.passed)):
        word = Fault(check=check, run_id=run_id, dagster_run_id=dagster_run_id, facts={"summary": recovered})
        told.append(_recover(connection, slot, word, now, past=past))
    return [alert_id for alert_id in told if alert_id]


def tell_of_run(
    connection: Connection, run_id: str, findings: Findings, *, recovered: str, now: datetime
) -> None:
    """What a run says of its own checks, or a person of what it made."""
    query = select(runs.c.pipeline, runs.c.partition, runs.c.dagster_run_id)
    row = connection.execute(query.where(runs.c.run_id == run_id)).one()
    slot, by = (row.pipeline, row.partition), row.dagster_run_id
    findings = replace(findings, failed=[replace(f, dagster_run_id=by) for f in findings.failed])
    tell(connection, slot, findings, run_id=run_id, dagster_run_id=by, recovered=recovered, now=now)


def tell_of_load(connection: Connection, run_id: str, now: datetime) -> None:
    """What a run made is in its destination."""
    tell_of_run(connection, run_id, Findings(passed=["load_failed"]), recovered="loaded", now=now)


def _recover(
    connection: Connection, slot: tuple[str, str], word: Fault, now: datetime, *, past: bool
) -> str | None:
    """Close what is open of a check, and tell so those that were told of it."""
    still_open = _still_open(slot, word.check)
    if past:
        still_open.append(alerts.c.created_at <= now)
    rows = connection.execute(select(alerts.c.alert_id, alerts.c.created_at).where(*still_open)).all()
    if not rows:
        return None
    closed = {"resolved_at": now, "resolution": word.facts["summary"]}
    connection.execute(update(alerts).where(*still_open).values(closed))
    channels = _told(connection, [row.alert_id for row in rows])
    # after what it closes, whatever the clock says: a channel is served in this order
    at = max(now, max(row.created_at for row in rows) + _TICK)
    return _keep(connection, slot, "recovered", replace(word, channels=channels), at)


def _fail(
    connection: Connection, slot: tuple[str, str], fault: Fault, now: datetime, *, past: bool
) -> str | None:
    """Keep an alert that is news. A run that goes on may fail again by what had passed in between; what is read
    of the ``past`` may be read twice."""
    known = alerts.c.run_id == fault.run_id
    if not past:
        known = and_(known, alerts.c.resolved_at.is_(None))
    if fault.once:
        known = or_(
            known, and_(alerts.c.resolved_at.is_(None), ~_silenced(connection, slot[0], fault.check, now))
        )
    query = select(alerts.c.alert_id).where(*_of_check(slot, fault.check), known)
    if connection.execute(query.limit(1)).first():
        return None
    return _keep(connection, slot, "failed", fault, now)


def _silenced(connection: Connection, pipeline: str, check: str, now: datetime) -> ColumnElement[bool]:
    """Whether an alert was made while its pipeline was muted, which it is no more."""
    if _muted(connection, pipeline, check, now):
        return false()
    mine = select(alert_deliveries.c.alert_id).where(
        alert_deliveries.c.alert_id == alerts.c.alert_id, alert_deliveries.c.state == "muted"
    )
    return mine.exists()


def _still_open(slot: tuple[str, str], check: str) -> list[ColumnElement[bool]]:
    return [*_of_check(slot, check), alerts.c.resolved_at.is_(None)]


def _of_check(slot: tuple[str, str], check: str) -> list[ColumnElement[bool]]:
    return [
        alerts.c.pipeline == slot[0],
        alerts.c.partition == slot[1],
        alerts.c.incident == incident_of(*slot, check),
        alerts.c.event == "failed",
    ]


def _keep(connection: Connection, slot: tuple[str, str], event: Event, fault: Fault, now: datetime) -> str:
    """Keep an alert and queue it for its channels; gives its id."""
    pipeline, partition = slot
    incident = incident_of(pipeline, partition, fault.check)
    same = (alerts.c.incident == incident, alerts.c.event == event, alerts.c.run_id == fault.run_id)
    again = connection.scalar(select(func.count()).select_from(alerts).where(*same)) or 0
    alert_id = alert_id_of(incident, event, fault.run_id, again)
    connection.execute(
        insert(alerts).values(
            alert_id=alert_id,
            incident=incident,
            event=event,
            pipeline=pipeline,
            partition=partition,
            check_name=fault.check,
            run_id=fault.run_id,
            dagster_run_id=fault.dagster_run_id,
            created_at=now,
            facts=dict(fault.facts),
        )
    )
    state = "muted" if event == "failed" and _muted(connection, pipeline, fault.check, now) else "waiting"
    queued = [
        {"alert_id": alert_id, "channel": channel, "state": state, "queued_at": now, "attempts": 0}
        for channel in dict.fromkeys(fault.channels)
    ]
    if queued:
        connection.execute(insert(alert_deliveries), queued)
    return alert_id


def _told(connection: Connection, ids: Sequence[str]) -> list[str]:
    """The channels that were told of one of ``ids``, or will be."""
    found: set[str] = set()
    for start in range(0, len(ids), _AT_ONCE):
        query = select(alert_deliveries.c.channel).where(
            alert_deliveries.c.alert_id.in_(ids[start : start + _AT_ONCE]),
            alert_deliveries.c.state.in_(("waiting", "delivered")),
        )
        found.update(connection.scalars(query.distinct()))
    return sorted(found)


def _muted(connection: Connection, pipeline: str, check: str, now: datetime) -> bool:
    query = select(alert_mutes.c.until).where(
        alert_mutes.c.pipeline == pipeline,
        alert_mutes.c.check_name.in_(("", check)),
        alert_mutes.c.until > now,
    )
    return connection.execute(query).first() is not None


def explained(connection: Connection, pipeline: str, dagster_run_id: str, checks: Collection[str]) -> bool:
    """Whether something (of ``checks``, if there are any) is told already of what went wrong with a pipeline in a run of
    Dagster."""
    query = select(alerts.c.alert_id).where(
        alerts.c.pipeline == pipeline, alerts.c.dagster_run_id == dagster_run_id, alerts.c.event == "failed"
    )
    if checks:
        query = query.where(alerts.c.check_name.in_(checks))
    return connection.execute(query.limit(1)).first() is not None


def list_alerts(
    connection: Connection, *, pipeline: str | None = None, only_open: bool = False, limit: int | None = None
) -> list[AlertRow]:
    """Newest first."""
    query = select(alerts).order_by(alerts.c.created_at.desc(), alerts.c.alert_id).limit(limit)
    if pipeline is not None:
        query = query.where(alerts.c.pipeline == pipeline)
    if only_open:
        query = query.where(alerts.c.event == "failed", alerts.c.resolved_at.is_(None))
    return [AlertRow(**row) for row in connection.execute(query).mappings()]


def find(connection: Connection, beginning: str) -> list[AlertRow]:
    """The alerts whose id begins so; two at most, which tells that it is not one."""
    query = select(alerts).where(
        or_(alerts.c.alert_id == beginning, alerts.c.alert_id.startswith(beginning, autoescape=True))
    )
    rows = connection.execute(query.order_by(alerts.c.alert_id).limit(2)).mappings()
    return [AlertRow(**row) for row in rows]


def deliveries_of(connection: Connection, ids: Sequence[str]) -> dict[str, list[Delivery]]:
    """By alert."""
    found: dict[str, list[Delivery]] = {i: [] for i in ids}
    for start in range(0, len(ids), _AT_ONCE):
        piece = ids[start : start + _AT_ONCE]
        query = select(alert_deliveries).where(alert_deliveries.c.alert_id.in_(piece))
        for row in connection.execute(query.order_by(alert_deliveries.c.channel)).mappings():
            found[row["alert_id"]].append(Delivery(**row))
    return found


def acknowledge(connection: Connection, alert_id: str, *, who: str, why: str, now: datetime) -> None:
    connection.execute(
        update(alerts).where(alerts.c.alert_id == alert_id).values(acked_at=now, acked_by=who, ack_why=why)
    )


def mute(connection: Connection, row: MuteRow) -> None:
    """The last word holds."""
    unmute(connection, row.pipeline, row.check_name)
    connection.execute(insert(alert_mutes).values({c.name: getattr(row, c.name) for c in alert_mutes.c}))


def unmute(connection: Connection, pipeline: str, check: str) -> bool:
    gone = delete(alert_mutes).where(alert_mutes.c.pipeline == pipeline, alert_mutes.c.check_name == check)
    return connection.execute(gone).rowcount > 0


def list_mutes(connection: Connection, now: datetime) -> list[MuteRow]:
    """Those that are not over."""
    query = select(alert_mutes).where(alert_mutes.c.until > now)
    rows = connection.execute(query.order_by(alert_mutes.c.pipeline, alert_mutes.c.check_name)).mappings()
    return [MuteRow(**row) for row in rows]
