"""A run beside the released one before it: what changed, and whether that is more than chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loom_dagster.records import dollars, seconds, share
from loom_dagster.reports.difference import Difference, of_means, of_shares

__all__ = ["Compared", "Numbers", "compared"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """What is kept of a run: its metrics, and the summary of each evaluator."""

    run_id: str
    metrics: Mapping[str, float]
    scores: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One number of two runs, as people read it. ``tone``: better, worse, or nothing to say."""

    label: str
    now: str
    before: str
    change: str
    note: str = ""
    tone: str = ""


def compared(now: Numbers, before: Numbers) -> list[Compared]:
    return [
        *_counts(now.metrics, before.metrics),
        *_pass_rate(now.metrics, before.metrics),
        *_scores(now.scores, before.scores),
        *_amounts(now.metrics, before.metrics),
    ]


def _counts(now: Mapping[str, float], before: Mapping[str, float]) -> Iterator[Compared]:
    for name, label in (
        ("extracted", "records"),
        ("passed", "passed"),
        ("quarantined", "quarantined"),
        ("deferred", "deferred"),
    ):
        a, b = int(now.get(name, 0)), int(before.get(name, 0))
        if a or b:
            yield Compared(
                label=label, now=f"{a:,}", before=f"{b:,}", change=f"{a - b:+,}" if a != b else "="
            )


def _pass_rate(now: Mapping[str, float], before: Mapping[str, float]) -> Iterator[Compared]:
    (part, whole), (other_part, other_whole) = _judged(now), _judged(before)
    found = of_shares(part, whole, other_part, other_whole)
    if found is not None:
        yield Compared(
            label="pass rate",
            now=share(part, whole),
            before=share(other_part, other_whole),
            change=f"{found.value * 100:+.1f} points",
            note=_note(found, 100, " points", 1),
            tone=_tone(found),
        )


def _judged(metrics: Mapping[str, float]) -> tuple[int, int]:
    """How many passed on their own merit, of how many: as the batch gate counts."""
    count = {
        n: int(metrics.get(n, 0)) for n in ("extracted", "deferred", "source_errors", "passed", "fallbacks")
    }
    whole = count["extracted"] - count["deferred"] - count["source_errors"]
    return min(count["passed"] - count["fallbacks"], whole), whole


def _scores(now: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]) -> Iterator[Compared]:
    earlier = {score["name"]: score for score in before}
    for score in now:
        other = earlier.get(score["name"])
        if other is None or score["mean"] is None or other["mean"] is None:
            continue
        n, other_n = score["passed"] + score["failed"], other["passed"] + other["failed"]
        found = of_means(score["mean"], score["std"] or 0.0, n, other["mean"], other["std"] or 0.0, other_n)
        yield Compared(
            label=f"{score['name']}, mean",
            now=f"{score['mean']:.3f}",
            before=f"{other['mean']:.3f}",
            change=_signed(score["mean"] - other["mean"]),
            note="too few scores to say more" if found is None else _note(found, 1, "", 3),
            tone="" if found is None else _tone(found),
        )


def _amounts(now: Mapping[str, float], before: Mapping[str, float]) -> Iterator[Compared]:
    for name, label in (("cost", "cost"), ("per_record", "cost per paid record")):
        a, b = _cost(now, name), _cost(before, name)
        if a is not None and b is not None:
            yield Compared(label=label, now=dollars(a), before=dollars(b), change=_times(a, b))
    for p in ("p50", "p95", "p99"):
        a, b = now.get(f"latency_{p}"), before.get(f"latency_{p}")
        if a is not None and b is not None:
            yield Compared(label=f"latency {p}", now=seconds(a), before=seconds(b), change=_times(a, b))


def _cost(metrics: Mapping[str, float], name: str) -> float | None:
    if name == "cost":
        return metrics.get("cost")
    paid = metrics.get("paid_records", 0.0)
    return metrics.get("paid_cost", 0.0) / paid if paid else None


def _times(now: float, before: float) -> str:
    if now == before or not before:
        return "=" if now == before else "-"
    change = (now - before) / before
    return f"{change:+.0%}" if abs(change) >= 0.005 else "<1%"


def _signed(value: float) -> str:
    if value == 0:
        return "="
    return f"{value:+.3f}" if abs(value) >= 0.0005 else "<0.001"


def _note(found: Difference, times: float, unit: str, digits: int) -> str:
    interval = f"95% interval {found.low * times:+.{digits}f} to {found.high * times:+.{digits}f}{unit}"
    return f"{'more than chance' if found.real else 'within chance'}: {interval}"


def _tone(found: Difference) -> str:
    if not found.real:
        return ""
    return "better" if found.value > 0 else "worse"
