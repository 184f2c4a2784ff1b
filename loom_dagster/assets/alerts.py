"""The sensor that sees to alerts: it writes what Dagster alone knows into the outbox, then delivers what waits.

How far it has read is kept in the ledger, where the alerts are, and moves after they are written; a tick that
fails loses nothing. It fails, so that someone sees it, as long as a channel does not work.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from loom_dagster.assets.told import KINDS, Teller
from loom_dagster.clock import SystemClock
from loom_dagster.records import digest

if TYPE_CHECKING:
    from loom_dagster.assets.graph import Graph
    from loom_dagster.assets.runs import Runs
    from loom_dagster.assets.translator import LoomTranslator

__all__ = ["SENSOR", "alert_sensor"]

SENSOR = "loom_alerts"
_EVERY = 30  # seconds
_FIRST_LOOK = timedelta(days=1)
_OVERLAP = 30.0  # seconds: a run may be written later than its time says
_RUNS, _EVENTS, _PAGE = 50, 500, 1000  # a tick; the page is of one run's events
_OVER = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def alert_sensor(graph: Graph, runs: Runs, translator: LoomTranslator) -> dg.SensorDefinition:
    """On as soon as there is a daemon."""
    part = _part(graph, runs)

    @dg.sensor(
        name=SENSOR,
        minimum_interval_seconds=_EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells people of checks and runs that failed. A tick fails while a channel does not work; "
        "`loom alerts` shows which.",
    )
    def loom_alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        unread = None
        try:
            _read(context.instance, Teller.of(graph, runs, translator), runs, part)
        except Exception as error:  # noqa: BLE001 - what is in the outbox already is delivered all the same
            unread = error
        done = runs.deliver_alerts()
        if unread is not None:
            raise unread
        if done.failing:
            said = [
                f"{c.channel}: {c.last_error or 'refused some'} ({c.waiting} waiting, {c.refused} refused)"
                for c in done.failing
            ]
            raise dg.Failure("alerts are not delivered; nothing is lost. " + "; ".join(said))
        return dg.SkipReason(f"{done.sent} alerts sent")

    return loom_alerts


def _part(graph: Graph, runs: Runs) -> str:
    """Nothing for a whole project. Several code locations may each have a part of it: one tells nothing of the others'
    pipelines, so each keeps how far it has read."""
    names = sorted({*(lane.name for lane in graph.lanes), *(node.pipeline or "" for node in graph.broken)})
    return "" if {*names} >= {*runs.project.names} else f" of {digest(names).hex()[:12]}"


def _read(instance: dg.DagsterInstance, teller: Teller, runs: Runs, part: str) -> None:
    """As many runs and events as a tick has time for; the next one goes on."""
    outbox = runs.ledger.outbox
    storage: Any = instance.run_storage
    feed = f"dagster {storage.get_run_storage_id()}{part}"  # several instances may share a ledger
    since = (SystemClock().now() - _FIRST_LOOK).timestamp()
    position = outbox.position(feed) or {"updated": since, "seen": [], "events": [None, None]}
    position = _runs(instance, teller, position)
    position = _runless(instance, teller, position, since)
    outbox.advance(feed, position)


def _runs(instance: dg.DagsterInstance, teller: Teller, position: dict[str, Any]) -> dict[str, Any]:
    """Runs that are over, by when they were last updated; a few seconds overlap, and what was seen in them is kept."""
    seen, updated = dict.fromkeys(position["seen"]), float(position["updated"])
    after = datetime.fromtimestamp(updated - _OVERLAP, UTC)
    records = instance.get_run_records(
        dg.RunsFilter(statuses=_OVER, updated_after=after),
        limit=len(seen) + _RUNS,
        order_by="update_timestamp",
        ascending=True,
    )
    times = {}
    for record in records:
        times[record.dagster_run.run_id] = _timestamp(record.update_timestamp)
        if record.dagster_run.run_id not in seen:
            teller.run(record, list(_entries(instance, record.dagster_run.run_id)))
    newest = max([updated, *times.values()])
    return {**position, "updated": newest, "seen": [i for i, at in times.items() if at > newest - _OVERLAP]}


def _entries(instance: dg.DagsterInstance, run_id: str) -> Iterator[dg.EventLogEntry]:
    cursor = None
    while True:
        page = instance.get_records_for_run(run_id, cursor=cursor, of_type=KINDS, limit=_PAGE)
        yield from (record.event_log_entry for record in page.records)
        if not page.has_more or not page.records:
            return
        cursor = page.cursor


def _runless(
    instance: dg.DagsterInstance, teller: Teller, position: dict[str, Any], since: float
) -> dict[str, Any]:
    """Checks that were reported without a run. Each page is read twice: one that was written
    while the first was read may come before it."""
    before, reached = position["events"]
    page = instance.get_records_for_run(
        "", cursor=before, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION, limit=_EVENTS
    )
    for record in page.records:
        entry = record.event_log_entry
        event = entry.dagster_event
        if entry.timestamp >= since and event is not None:
            data = event.event_specific_data
            if isinstance(data, dg.AssetCheckEvaluation):
                teller.check(data, datetime.fromtimestamp(entry.timestamp, UTC), None)
    return {**position, "events": [reached, page.cursor if page.records else reached]}


def _timestamp(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
