"""One record's story: from its row in the source to its row in the destination, with everything in between.

Nothing is asked and nothing is written: the snapshot's files, the ledger and the answer store are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from loom_dagster.assembly.known import as_text, check_pipeline, chosen_run, snapshot_folder, unknown_record
from loom_dagster.assembly.past import Used, used_by
from loom_dagster.assembly.proving import question_again
from loom_dagster.connectors.keys import key_text
from loom_dagster.ledger import QuarantineEntry, SnapshotPlace, SnapshotRow
from loom_dagster.lineage import score_documents
from loom_dagster.release.columns import score_columns
from loom_dagster.release.finding import Found, find_record, has_record

if TYPE_CHECKING:
    from loom_dagster.assembly.state import State

__all__ = ["trace"]

_ALSO = 20  # other snapshots that are looked into
_FIELDS = frozenset({"source", "scores", "output", "versions"})  # JSON in the quarantine


def trace(
    loom: State, name: str, record_id: str, *, run: str | None = None, partition: str | None = None
) -> dict[str, Any]:
    """Everything that is known of a record, in the newest snapshot that has it, or in that of ``run``.

    Raises Misconfigured for a pipeline, run or record that is not known.
    """
    name, record_id = as_text(name), as_text(record_id)
    partition = None if partition is None else as_text(partition)
    if run is None:
        check_pipeline(loom, name)
    else:
        partition = chosen_run(loom, name, run).partition
    places = loom.ledger.kept.places(name, partition, run_id=run)
    for number, place in enumerate(places):
        folder = snapshot_folder(loom, name, place)
        found = find_record(folder, record_id)
        if found is not None:
            also = _also(loom, name, record_id, places[number + 1 : number + 1 + _ALSO])
            return {**_told(loom, name, record_id, place, found), "also_in": also}
    entries = loom.ledger.quarantine(name, partition, ids=[record_id])
    if run is not None:
        entries = [entry for entry in entries if entry.run_id == run]
    if not entries:
        raise unknown_record(loom, name, record_id, places, run=run, partition=partition)
    return _of_index(loom, name, record_id, entries[0])


def _told(loom: State, name: str, record_id: str, place: SnapshotPlace, found: Found) -> dict[str, Any]:
    row = {k: _parsed(k, v) for k, v in found.row.items()} if found.table == "quarantine" else found.row
    made_by = row.get("_loom_run_id") or row.get("run_id") or place.run_id
    made = loom.ledger.run(made_by) or chosen_run(loom, name, place.run_id)
    snapshot = loom.ledger.snapshot(name, place.run_id)
    entry = next(iter(loom.ledger.quarantine(name, place.partition, ids=[record_id])), None)
    used = used_by(loom.ledger, made)
    source = row.get("source")
    if found.kept is not None:
        source = {k: v for k, v in found.kept.items() if k not in used.outputs}
    attempts = row.get("_loom_attempts", row.get("attempts")) or 0
    prompt, answers = question_again(loom, used, record_id, row, source)
    cost = row.get("_loom_cost_usd", row.get("cost_usd"))
    return {
        "pipeline": name,
        "record_id": record_id,
        "run": place.run_id,
        "made_by_run": made.run_id,
        "partition": place.partition,
        "state": _state(found, row, entry, place),
        "source": {"uri": _source_uri(used), "columns": source, "exact": found.kept is not None},
        "parents": _parents(loom, name, record_id, source),
        "prompt": prompt,
        "versions": {**used.versions, "model": row.get("_loom_model") or row.get("model")},
        "answers": answers,
        "attempts": attempts,
        "cost_usd": cost,
        "scores": _scores(loom, used, row, answers, found.table),
        "verdict": _verdict(found, row, entry),
        "output": {k: row[k] for k in used.outputs if k in row}
        if found.table == "transformed"
        else row.get("output"),
        "destination": _destination(used, row, snapshot, entry) if found.table == "transformed" else None,
    }


def _scores(
    loom: State,
    used: Used,
    row: Mapping[str, Any],
    answers: Sequence[Mapping[str, Any]],
    table: str,
) -> list[dict[str, Any]]:
    if table != "transformed":
        return list(row.get("scores") or ())
    kept = loom.ledger.evaluations(used.run.run_id)
    columns = score_columns(used.evaluators or [e["name"] for e in kept])
    values = {name: row[column] for name, column in columns.items() if column in row}
    return score_documents(values, {e["name"]: e["threshold"] for e in kept}, answers)


def _state(found: Found, row: Mapping[str, Any], entry: QuarantineEntry | None, place: SnapshotPlace) -> str:
    """passed, refused, quarantined, skipped, rejected or deferred."""
    if found.table == "transformed":
        mine = entry is not None and entry.run_id == place.run_id and entry.stage == "load"
        return "refused" if mine and entry is not None and entry.resolved_at is None else "passed"
    if found.table == "deferred":
        return "deferred"
    if row.get("stage") == "extract":
        return "rejected"
    return "skipped" if row.get("resolution") == "skipped" else "quarantined"


def _verdict(found: Found, row: Mapping[str, Any], entry: QuarantineEntry | None) -> dict[str, Any]:
    if found.table == "transformed":
        return {"passed": True, "reason": "", "fallback": row.get("_loom_fallback")}
    verdict = {
        "passed": False,
        "reason": row.get("reason") or "",
        "stage": row.get("stage"),
        "kind": row.get("kind"),
    }
    if entry is not None:
        verdict |= {
            "resolution": entry.resolution,
            "resolved_at": entry.resolved_at,
            "resolved_by": entry.resolved_by,
        }
    if row.get("raw_answer"):
        verdict["raw_answer"] = row["raw_answer"]
    return verdict


def _destination(
    used: Used,
    row: Mapping[str, Any],
    snapshot: SnapshotRow | None,
    entry: QuarantineEntry | None,
) -> dict[str, Any]:
    load, key = used.recipe.get("load", {}), used.recipe.get("extract", {}).get("key", [])
    wanted = load.get("columns")
    names = [n for n in row if not n.startswith("_loom_")]
    chosen = names if wanted == "all" else [*(wanted or [*key, *used.outputs])]
    refused = entry is not None and entry.stage == "load" and entry.resolved_at is None
    loaded_at = None if snapshot is None else snapshot.loaded_at
    return {
        "uri": load.get("destination"),
        "mode": load.get("mode"),
        "key": {k: row.get(k) for k in key},
        "columns": {k: row[k] for k in chosen if k in row},
        "released_at": None if snapshot is None else snapshot.released_at,
        "released_by": None if snapshot is None else snapshot.released_by,
        "loaded": loaded_at is not None and not refused,
        "loaded_at": loaded_at,
        "refused": entry.reason if refused and entry is not None else None,
    }


def _parents(
    loom: State, name: str, record_id: str, source: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """The record of another pipeline that this one was made of, where its id can be known."""
    found: list[dict[str, Any]] = []
    if name not in loom.project.files:
        return found
    own = loom.spec(name).extract.key
    for above in loom.project.upstream(name):
        key = loom.spec(above).extract.key if above in loom.project.files else ()
        parent: str | None = None
        if key and source is not None and all(k in source for k in key):
            parent = key_text([source[k] for k in key])
        elif not own:
            parent = record_id
        found.append({"pipeline": above, "record_id": parent})
    return found


def _of_index(loom: State, name: str, record_id: str, entry: QuarantineEntry) -> dict[str, Any]:
    """What the ledger's index says of a record whose snapshot is not there any more."""
    run = loom.ledger.run(entry.run_id)
    return {
        "pipeline": name,
        "record_id": record_id,
        "run": entry.run_id,
        "made_by_run": entry.run_id,
        "partition": entry.partition,
        "state": "refused" if entry.stage == "load" else "quarantined",
        "files": "gone",
        "versions": dict((run.outcome or {}).get("versions") or {}) if run else {},
        "attempts": entry.sample,
        "verdict": {
            "passed": False,
            "reason": entry.reason,
            "stage": entry.stage,
            "kind": entry.kind,
            "resolution": entry.resolution,
            "resolved_at": entry.resolved_at,
            "resolved_by": entry.resolved_by,
        },
    }


def _also(loom: State, name: str, record_id: str, places: Sequence[SnapshotPlace]) -> list[dict[str, Any]]:
    """Other runs that have the record, as far as an index says so."""
    found = [(place, has_record(snapshot_folder(loom, name, place), record_id)) for place in places]
    return [
        {"run": place.run_id, "partition": place.partition, "table": table}
        for place, table in found
        if table is not None
    ]


def _source_uri(used: Used) -> str | None:
    uri: str | None = used.recipe.get("extract", {}).get("source")
    return uri


def _parsed(name: str, value: Any) -> Any:
    return orjson.loads(value) if name in _FIELDS and isinstance(value, str) else value
