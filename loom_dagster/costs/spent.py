"""What was spent, added up by what people ask for: a day, a stage, a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import date, timedelta

from loom_dagster.ledger.books import BookRow
from loom_dagster.ledger.spend import UNIT, Entry

__all__ = ["BY", "NOT_KNOWN", "Spent", "fields_for", "spent_by"]

BY = ("day", "week", "month", "pipeline", "stage", "model", "prompt", "run")
NOT_KNOWN = "not known"  # what was spent before the books said what for
_IN_TIME = ("day", "week", "month")
_FIELD = {"week": "day", "month": "day", "stage": "purpose", "run": "run_id"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """``by``: the values of what was asked for, in that order. ``cost`` and ``unconfirmed`` in USD: paid for, and the most
    that calls nobody knows the outcome of (``lost``) can have cost. ``unpriced`` of ``calls`` had no known price."""

    by: tuple[str, ...]
    cost: float
    unconfirmed: float
    calls: int
    unpriced: int
    lost: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int


def fields_for(by: Sequence[str]) -> list[str]:
    """What the books have to be asked by; the purpose of a judge's call stands in for its prompt."""
    asked = {_FIELD.get(name, name) for name in by}
    return sorted(asked | ({"purpose"} if "prompt" in by else set()))


def spent_by(rows: Sequence[BookRow], by: Sequence[str]) -> list[Spent]:
    """One for each combination that there is: by time in its order, else what cost most first."""
    sums: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        numbers = sums.setdefault(tuple(_value(row, name) for name in by), [0] * len(astuple(Entry())))
        for i, number in enumerate(astuple(row.entry)):
            numbers[i] += number
    found = [_spent(key, Entry(*numbers)) for key, numbers in sums.items()]
    times = [i for i, name in enumerate(by) if name in _IN_TIME]
    return sorted(found, key=lambda s: ([s.by[i] for i in times], -s.cost - s.unconfirmed, s.by))


def _spent(key: tuple[str, ...], entry: Entry) -> Spent:
    return Spent(
        by=key,
        cost=entry.spent * UNIT,
        unconfirmed=entry.unconfirmed * UNIT,
        calls=entry.calls,
        unpriced=entry.unpriced,
        lost=entry.lost,
        input_tokens=entry.input_tokens,
        cached_tokens=entry.cached_tokens,
        output_tokens=entry.output_tokens,
    )


def _value(row: BookRow, name: str) -> str:
    match name:
        case "week":
            day = date.fromisoformat(row.day)
            return (day - timedelta(days=day.weekday())).isoformat()  # its Monday
        case "month":
            return row.day[:7]
        case "stage":
            return _stage(row.purpose)
        case "prompt":
            return row.prompt or row.purpose.removesuffix(":repair") or NOT_KNOWN
        case "run":
            return row.run_id
        case _:
            return str(getattr(row, name)) or NOT_KNOWN


def _stage(purpose: str) -> str:
    if not purpose:
        return NOT_KNOWN
    return "evaluate" if purpose.startswith("evaluate") else "transform"
