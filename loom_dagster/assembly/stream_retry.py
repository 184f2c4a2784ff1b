"""Records of a stream's quarantine, tried again. They lie in the snapshots of many small batches; together they
are one more batch, which is loaded like any other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from loom_dagster.assembly.plan import Materials, make_plan
from loom_dagster.assembly.prepared import Prepared
from loom_dagster.errors import Misconfigured
from loom_dagster.events import Listener
from loom_dagster.extract import redacted_table
from loom_dagster.ledger import Ledger
from loom_dagster.pipeline import Outcome, Stop, run
from loom_dagster.release import Replay, rows_for_retry

__all__ = ["hidden", "replay_stream", "waiting_rows"]


def replay_stream(
    ready: Prepared,
    materials: Materials,
    ledger: Ledger,
    ids: Sequence[str] | None,
    *,
    listen: Listener,
    stop: Stop | None,
) -> Outcome:
    """Like ``replay``, over the quarantine of all batches. Raises Misconfigured when there is nothing to try."""
    rows = hidden(ready, waiting_rows(ready.spec.name, materials, ledger, ids))
    size = ready.spec.transform.batch_size
    plan = make_plan(
        ready,
        replace(
            materials,
            batches=lambda: rows.batches(size),
            samples=ledger.samples(ready.spec.name, "", rows.ids),
            source_schema=rows.table.schema,
        ),
    )
    plan = replace(plan, whole=False)
    return run(plan, ledger, fresh=True, listen=listen, stop=stop or Stop(), clock=materials.clock)


def hidden(ready: Prepared, rows: Replay) -> Replay:
    """With what is redacted by now, also where it was not when they were read."""
    if ready.redactor is None:
        return rows
    return replace(rows, table=redacted_table(rows.table, ready.spec.extract.redact, ready.redactor))


def waiting_rows(name: str, materials: Materials, ledger: Ledger, ids: Sequence[str] | None) -> Replay:
    """The rows of ``ids`` (None: all that asked a model) that are in quarantine, from the snapshots they failed in.

    Raises Misconfigured for ids that are not there, and when there is nothing to try.
    """
    by_run: defaultdict[str, list[str]] = defaultdict(list)
    entries = ledger.quarantine(name, "", ids=ids, unresolved=True)
    for entry in reversed(entries):  # oldest first
        if ids is not None or entry.stage in ("transform", "evaluate"):  # the others asked no model
            by_run[entry.run_id].append(entry.record_id)
    missing = sorted({*(ids or ())} - {entry.record_id for entry in entries})
    if missing or not by_run:
        raise Misconfigured(
            f"not in the quarantine of `{name}`: {', '.join(missing[:5])}"
            if missing
            else f"nothing in the quarantine of `{name}` can be tried again",
            fix=f"`loom quarantine list {name}` shows what is",
        )
    found: list[Replay] = []
    for run_id, wanted in by_run.items():
        snapshot = materials.releases.snapshot(name, run_id)
        if snapshot is None:
            raise Misconfigured(f"snapshot {run_id} of `{name}` is gone", kind="snapshot_gone")
        found.append(rows_for_retry(snapshot, wanted))
    try:
        table = pa.concat_tables([one.table for one in found], promote_options="permissive")
    except pa.ArrowException as error:
        raise Misconfigured(
            f"records of `{name}` cannot be tried again at once",
            why=str(error).partition("\n")[0],
            fix="name them one by one",
        ) from error
    together = [record_id for one in found for record_id in one.ids]
    return Replay(table=table, ids=together, positions=range(len(together)))
