"""Records of the quarantine, tried again: `loom quarantine retry`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from loom_dagster.assembly.plan import Materials, make_plan
from loom_dagster.assembly.prepared import Prepared
from loom_dagster.assembly.stream_retry import hidden, replay_stream, waiting_rows
from loom_dagster.assembly.telemetry import watched
from loom_dagster.errors import Misconfigured
from loom_dagster.events import Listener
from loom_dagster.ledger import Ledger
from loom_dagster.pipeline import Base, Outcome, Stop
from loom_dagster.release import Releases, Snapshot, check_replay, merge_retry, rows_for_retry
from loom_dagster.spec import is_stream

__all__ = ["replay"]


def replay(
    ready: Prepared,
    materials: Materials,
    ledger: Ledger,
    ids: Sequence[str] | None,
    *,
    listen: Listener,
    stop: Stop | None,
) -> Outcome:
    """Try ``ids`` of the newest snapshot's quarantine again (None: all that can be), and make the
    snapshot that is the newest one plus what passes now.

    Each is asked as a new sample, so that the store cannot give the same bad answer back. Raises
    Misconfigured when there is nothing to try.
    """
    name, partition = ready.spec.name, ready.partition
    if is_stream(ready.spec.extract.source):
        return replay_stream(ready, materials, ledger, ids, listen=listen, stop=stop)
    incremental = ready.spec.extract.incremental is not None
    snapshot = _newest(name, partition, materials.releases, ledger)
    _refuse_refused(name, partition, ledger, ids or ())
    rows = waiting_rows(name, materials, ledger, ids) if incremental else rows_for_retry(snapshot, ids)
    rows = hidden(ready, rows)
    if not rows.ids:
        raise Misconfigured(
            f"nothing in the quarantine of `{name}` can be tried again",
            why="it is empty, or its rows never became records",
        )
    size = ready.spec.transform.batch_size
    plan = make_plan(
        ready,
        replace(
            materials,
            batches=lambda: rows.batches(size),
            samples=ledger.samples(name, partition, rows.ids),
            source_schema=rows.table.schema,
            increment=incremental,
        ),
    )
    check_replay(snapshot, plan.source_schema, plan.output_schema, [e for e, _, _ in plan.evaluators])
    base = (
        None
        if incremental
        else Base(
            counts=snapshot.counts,
            tried=len(rows.ids),
            merge=lambda retried, folder: merge_retry(snapshot, retried, folder),
            monitors=snapshot.outcome.get("monitors", ()),
        )
    )
    return watched(materials.settings)(
        replace(plan, base=base),
        ledger,
        fresh=True,
        listen=listen,
        stop=stop or Stop(),
        clock=materials.clock,
    )


def _newest(name: str, partition: str, releases: Releases, ledger: Ledger) -> Snapshot:
    """The snapshot whose quarantine it is. Raises Misconfigured without one, and for a run that goes first."""
    again = f"loom run {name}" + (f" --partition {partition}" if partition else "")
    snapshot = releases.latest(name, partition)
    if snapshot is None:
        raise Misconfigured(f"`{name}` has no quarantine", why="it has not been run", fix=again)
    unfinished = ledger.open_run(name, partition)
    if unfinished is not None:
        raise Misconfigured(
            f"a run of `{name}` has not ended ({unfinished.status} since {unfinished.started_at:%Y-%m-%d %H:%M} UTC)",
            why="records that are deferred come before records that failed",
            fix=f"finish it first: {again}",
        )
    return snapshot


def _refuse_refused(name: str, partition: str, ledger: Ledger, ids: Sequence[str]) -> None:
    """Rows that a destination refused passed every judge: asking the model again would change nothing."""
    entries = ledger.quarantine(name, partition, ids=ids, unresolved=True) if ids else []
    refused = [entry for entry in entries if entry.stage == "load"]
    if refused:
        raise Misconfigured(
            f"refused by the destination, not by a judge: {', '.join(e.record_id for e in refused[:5])}",
            why=refused[0].reason,
            fix=f"change the table so that it takes them, then: loom load {name}",
        )
