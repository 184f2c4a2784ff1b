"""Results in words: a line for each thing that was tested, and why it failed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from loom_dagster.prompt_tests.items import Result, RunResult, SampleResult
from loom_dagster.prompt_tests.running import CaseResult
from loom_dagster.prompt_tests.verdicts import Finding, Sampled, Verdict
from loom_dagster.records import dollars

__all__ = ["Line", "Said", "badness", "lines_of", "reasons_of", "remarks_of"]

Said = Literal["passed", "failed", "undecided"]


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was tested."""

    said: Said
    text: str


def lines_of(result: Result) -> list[Line]:
    """A case and a whole run have one, a sample one an assertion."""
    if isinstance(result, SampleResult):
        if result.sampled is None:
            return [Line("failed", result.item.name)]
        return [_found(finding) for finding in result.sampled.findings]
    said: Said = "passed" if result.passed else "failed"
    if isinstance(result, RunResult):
        return [Line(said, result.item.name)]
    return [Line(said, f"{result.case.name}{_measured(result)}")]


def reasons_of(result: Result) -> list[str]:
    """Why it failed; empty when it passed."""
    if result.passed:
        return []
    if isinstance(result, CaseResult):
        return result.reasons
    if isinstance(result, RunResult):
        return list(result.failures)
    if result.sampled is None:
        return [result.not_asked or "it was not asked"]
    open_ = (f for f in result.sampled.findings if f.verdict is not Verdict.PASSED)
    return [f"{_found(finding).text}" for finding in open_]


def remarks_of(result: Result) -> list[str]:
    """What else there is to know."""
    if isinstance(result, SampleResult):
        return [] if result.sampled is None else list(_of_sample(result.sampled))
    return list(result.notes) if isinstance(result, RunResult) else []


def badness(result: Result) -> tuple[float, float]:
    """To sort by, the worst first: the share of right answers, then the score."""
    if not isinstance(result, CaseResult):
        return (0.0, 0.0)
    return (result.right / result.case.repeat, result.score or 0.0)


def _measured(result: CaseResult) -> str:
    case, parts = result.case, []
    if result.not_asked is not None:
        return ""
    if result.score is not None:
        parts.append(f"score: {result.score:.2f}")
    if case.repeat > 1:
        parts.append(f"{result.right} of {case.repeat} passed")
        if result.flickers:
            parts.append("flickers")
    return f" ({', '.join(parts)})" if parts else ""


def _found(finding: Finding) -> Line:
    said: Said = "passed" if finding.verdict is Verdict.PASSED else "failed"
    if finding.verdict is Verdict.UNDECIDED:
        said = "undecided"
    parts = _parts(finding)
    return Line(said, f"{finding.text} ({parts})" if parts else finding.text)


def _parts(finding: Finding) -> str:
    """What is known of it; of an assertion with and, or, not what is known of each part."""
    if finding.parts:
        return "; ".join(
            f"{part.text}: {_parts(part)}" if part.text else _parts(part) for part in finding.parts
        )
    parts = []
    if finding.value is not None:
        parts.append(f"actual: {finding.value:.4g}")
    if finding.interval is not None:
        low, high, level = finding.interval.low, finding.interval.high, finding.interval.level
        parts.append(f"{level:.0%} interval {low:.4g} to {high:.4g}")
    if finding.verdict is Verdict.UNDECIDED:
        need = f"need about {finding.needed:,}" if finding.needed is not None else finding.reason
        parts.append(f"not enough samples: {need}" if need else "not enough samples")
    return ", ".join(parts)


def _of_sample(sampled: Sampled) -> Iterator[str]:
    if sampled.certain:
        saved = f", which saved {dollars(sampled.saved)}" if sampled.saved else ""
        yield f"{sampled.name}: certain after {sampled.seen:,} of {sampled.planned:,} records{saved}"
    if sampled.reason:
        yield f"{sampled.name}: {sampled.reason}"
    if sampled.unanswered:
        yield f"{sampled.name}: {sampled.unanswered:,} of {sampled.seen:,} records had no output"
    for warning in sampled.warnings:
        yield f"{sampled.name}: {warning}"
