"""An Outcome as Dagster metadata: numbers that can be plotted, tables that can be read.

The same key always has the same type, so that Dagster can draw its history.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from loom_dagster.assets.graph import Node

if TYPE_CHECKING:
    from loom_dagster.pipeline.outcome import LoadResult, Outcome
    from loom_dagster.release import Snapshot

__all__ = [
    "RELEASED_BY_GATE",
    "code_reference",
    "histogram",
    "load_metadata",
    "quarantine_metadata",
    "table",
    "transformed_metadata",
]

RELEASED_BY_GATE = "gate"  # who released what passed; anybody else did it by hand
_SECTION = {"source": "extract", "transformed": "transform", "quarantine": "evaluate", "loaded": "load"}
_CELL = 300
_ROWS = 20
_BAR = 30


def transformed_metadata(outcome: Outcome) -> dict[str, Any]:
    """What a run came to; of a trial as well."""
    counts, spending = outcome.counts, outcome.spending
    found: dict[str, Any] = {
        "dagster/row_count": counts.passed,
        "extracted": counts.extracted,
        "passed": counts.passed,
        "quarantined": counts.quarantined,
        "deferred": counts.deferred,
        "skipped": counts.skipped,
        "source_errors": counts.source_errors,
        "fallbacks": counts.fallbacks,
        "pass_rate": outcome.verdict.pass_rate,
        "verdict": outcome.verdict.reason,
        "status": outcome.status,
        "released": outcome.released,
        "trial": outcome.trial,
        "simulated": outcome.simulated,
        "cost_usd": float(spending.total),
        **{f"cost_usd/{stage}": float(cost) for stage, cost in spending.cost.items()},
        "calls": spending.calls,
        "cache_hits": spending.reused,
        "unpriced_calls": spending.unpriced,
        **{f"budget_used_usd/{b.name}": b.used for b in spending.budgets},
        **{f"budget_unconfirmed_usd/{b.name}": b.unconfirmed for b in spending.budgets},
        "input_tokens": spending.input_tokens,
        "output_tokens": spending.output_tokens,
        "latency_p50_s": spending.p50,
        "latency_p95_s": spending.p95,
        "latency_p99_s": spending.p99,
        "seconds": outcome.seconds.get("total", max(outcome.seconds.values(), default=None)),
        "loom/run_id": outcome.run_id,
        "report": f"loom report {outcome.run_id}",  # the command
        "resumed": outcome.resumed,
        "versions": dg.MetadataValue.json(_plain(outcome.versions)),
    }
    if outcome.transformed_path:
        found["path"] = dg.MetadataValue.path(outcome.transformed_path)
    if outcome.columns:
        columns = [dg.TableColumn(name=name, type=kind) for name, kind in outcome.columns]
        found["dagster/column_schema"] = dg.TableSchema(columns=columns)
    if outcome.sample:
        found["sample"] = table(outcome.sample)
    if outcome.scores:
        found["scores"] = dg.MetadataValue.md(
            "\n\n".join(
                f"**{s.name}** (threshold {s.threshold:g})\n\n{histogram(s.histogram)}"
                for s in outcome.scores
            )
        )
    if outcome.notes:
        found["notes"] = dg.MetadataValue.md("\n".join(f"- {note}" for note in outcome.notes))
    return {key: value for key, value in found.items() if value is not None}


def quarantine_metadata(outcome: Outcome) -> dict[str, Any]:
    """How many, why, and a few of them with their reasons."""
    found: dict[str, Any] = {
        "dagster/row_count": outcome.counts.quarantined,
        "skipped": outcome.counts.skipped,
        "source_errors": outcome.counts.source_errors,
        "simulated": outcome.simulated,
        "loom/run_id": outcome.run_id,
        "report": f"loom report {outcome.run_id}",  # the command
    }
    if outcome.quarantine_path:
        found["path"] = dg.MetadataValue.path(outcome.quarantine_path)
    if outcome.reasons:
        counted = sorted(outcome.reasons.items(), key=lambda item: (-item[1], item[0]))
        found["reasons"] = table([{"reason": reason, "records": count} for reason, count in counted])
    if outcome.quarantine_sample:
        found["sample"] = table(outcome.quarantine_sample)
    return found


def load_metadata(result: LoadResult, snapshot: Snapshot | None, newest: Snapshot | None) -> dict[str, Any]:
    """What was loaded, who released it, and whether a newer batch is being held."""
    found: dict[str, Any] = {
        "dagster/row_count": result.rows,
        "destination": result.destination,
        "mode": result.mode,
        "seconds": float(result.seconds),
        "snapshot": result.snapshot or "",
    }
    if result.reason:
        found["reason"] = result.reason
    if snapshot is not None and snapshot.released_by not in {None, RELEASED_BY_GATE}:
        found["released_by_hand"] = f"{snapshot.released_by}: {snapshot.why}"
    if newest is not None and newest.released_at is None and not newest.verdict_passed:
        found["held_batch"] = (
            f"the newest batch ({newest.id}) is held: {newest.verdict_reason};"
            " what was released before it was loaded"
        )
    return found


def histogram(bins: Sequence[int]) -> str:
    """Ten bins over 0..1 as bars, in markdown."""
    if not bins or not any(bins):
        return "no scores"
    width = 1.0 / len(bins)
    lines = []
    for number, count in enumerate(bins):
        bar = "█" * round(_BAR * count / max(bins)) or ("▏" if count else "")
        lines.append(f"{number * width:.1f}-{(number + 1) * width:.1f} {bar:<{_BAR}} {count}")
    return "```\n" + "\n".join(lines) + "\n```"


def table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """A few rows for the eye: long values are cut, nested ones written as text."""
    rows = rows[:_ROWS]
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    records = [dg.TableRecord({name: _cell(row.get(name)) for name in names}) for row in rows]
    columns = [dg.TableColumn(name=name, type="string") for name in names]
    return dg.MetadataValue.table(records=records, schema=dg.TableSchema(columns=columns))


def code_reference(node: Node) -> dict[str, Any]:
    """The line of the YAML that an asset comes from, then its prompt and contexts; of a text its own file.
    Nothing for a node without one."""
    found: list[tuple[Path, int]] = []
    if node.file is not None:
        found.append((node.file.path, node.file.line(_SECTION.get(node.role, "name"))))
    found += [(path, 1) for path in (node.text, *node.texts) if path is not None]
    if not found:
        return {}
    with warnings.catch_warnings():
        # the class is marked beta, and there is no other way to a link to the code
        warnings.simplefilter("ignore", dg.BetaWarning)
        references: list[dg.LocalFileCodeReference | dg.UrlCodeReference] = [
            dg.LocalFileCodeReference(file_path=str(path), line_number=line, label=path.name)
            for path, line in found
        ]
        return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=references)}


def _cell(value: object) -> str | int | float | bool:
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else str(_plain(value))
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
