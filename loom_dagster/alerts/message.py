"""What an alert says, as plain lines. Whatever a record's id or a check's name holds, it stays text: no line of its
own, no markup, no mention."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from loom_dagster.ledger import AlertRow
from loom_dagster.records import dollars

__all__ = ["Message", "message_of", "plain"]

_LONGEST = 300  # characters of a summary; a channel shows no more of it at once
_ID = 80
_COUNTS = ("extracted", "passed", "quarantined", "deferred")
# controls, line ends, lone surrogates, invisible signs, and what turns the direction of text around
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """``title`` in one line, ``lines`` below it, ``link`` to the run where it is known. ``facts`` are the same for
    machines; ``row`` is the alert itself."""

    row: AlertRow
    sent_at: datetime
    title: str
    lines: tuple[str, ...]
    link: str | None
    facts: Mapping[str, Any]

    @property
    def text(self) -> str:
        """Everything, for people."""
        return "\n".join([self.title, *self.lines, *([self.link] if self.link else [])])


def plain(text: object, longest: int = _LONGEST) -> str:
    """One line without control characters, cut where it gets too long."""
    clean = _UNSAFE.sub(" ", str(text)).strip()
    return clean if len(clean) <= longest else clean[: longest - 1].rstrip() + "…"


def message_of(row: AlertRow, ui_url: str | None, now: datetime) -> Message:
    """The alert in words."""
    facts = row.facts
    of = plain(row.pipeline, _ID) + (f" ({plain(row.partition, _ID)})" if row.partition else "")
    check = plain(row.check_name, _ID)
    title = f"{of}: {check} {'recovered' if row.event == 'recovered' else 'failed'}"
    lines = [plain(facts.get("summary", ""))]
    if facts.get("value") is not None and facts.get("threshold") is not None:
        lines.append(f"{_number(facts['value'])} against a threshold of {_number(facts['threshold'])}")
    if worst := _worst(facts):
        lines.append("Worst records: " + "; ".join(f"{w['id']} ({w['reason']})" for w in worst))
    if counts := facts.get("counts"):
        lines.append(", ".join(f"{int(counts[name]):,} {name}" for name in _COUNTS if name in counts))
    if facts.get("cost") is not None:
        simulated = " (simulated)" if facts.get("simulated") else ""
        lines.append(f"Cost of the run: {dollars(float(facts['cost']))}{simulated}")
    if row.run_id:
        lines.append(f"Run: {plain(row.run_id, _ID)}")
    return Message(
        row=row,
        sent_at=now,
        title=title,
        lines=tuple(line for line in lines if line),
        link=_link(row, ui_url),
        facts={**_document(row), "worst": worst, "link": _link(row, ui_url)},
    )


def _document(row: AlertRow) -> dict[str, Any]:
    facts = row.facts
    return {
        "id": row.alert_id,
        "incident": row.incident,
        "event": row.event,
        "pipeline": row.pipeline,
        "partition": row.partition,
        "check": row.check_name,
        "run_id": row.run_id,
        "dagster_run_id": row.dagster_run_id,
        "at": row.created_at.isoformat(),
        "summary": plain(facts.get("summary", "")),
        "value": facts.get("value"),
        "threshold": facts.get("threshold"),
        "cost": facts.get("cost"),
        "counts": facts.get("counts"),
        "simulated": bool(facts.get("simulated")),
    }


def _worst(facts: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"id": plain(w["id"], _ID), "reason": plain(w["reason"], 200)} for w in facts.get("worst") or ()]


def _number(value: float) -> str:
    return f"{value:,.4g}"


def _link(row: AlertRow, ui_url: str | None) -> str | None:
    if not ui_url or not row.dagster_run_id:
        return None
    return f"{ui_url.rstrip('/')}/runs/{quote(row.dagster_run_id, safe='')}"
